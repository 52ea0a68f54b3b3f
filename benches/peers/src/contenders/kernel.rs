//! The kernel's generator: by its system call, through the vDSO, and through libc.

use super::vdso::Vdso;
use super::{Field, Kind, dynamic, filling, name};

pub(super) fn enter(field: &mut Field) {
    match Vdso::find() {
        Ok(vdso) => field.add(Kind::Peer, name::VDSO, move |size| {
            let mut state = vdso.state().ok()?;
            Some(filling(move |out| state.fill(out), size))
        }),
        Err(why) => field.misses(name::VDSO, why),
    }
    field.add(Kind::Peer, "getrandom(2)", |size| Some(filling(system_call, size)));
    match arc4random_buf() {
        Ok(fill) => field.add(Kind::Peer, "libc arc4random_buf", move |size| {
            Some(filling(
                // SAFETY: pointer and length are those of a slice that may be written.
                move |out| unsafe { fill(out.as_mut_ptr(), out.len()) },
                size,
            ))
        }),
        Err(why) => field.misses("libc arc4random_buf", why),
    }
}

/// The system call itself, past libc.
pub(crate) fn system_call(out: &mut [u8]) {
    // SAFETY: pointer and length are those of a slice that may be written.
    let got = unsafe { libc::syscall(libc::SYS_getrandom, out.as_mut_ptr(), out.len(), 0) };
    assert_eq!(got, out.len() as i64, "getrandom was interrupted");
}

type Arc4RandomBuf = unsafe extern "C" fn(*mut u8, usize);

fn arc4random_buf() -> Result<Arc4RandomBuf, String> {
    let found = dynamic::Library::of_this_process()
        .symbol(c"arc4random_buf")
        .map_err(|_| "this libc has none (glibc has it from 2.36 on)")?;
    // SAFETY: libc documents the function under this name with these types.
    Ok(unsafe { std::mem::transmute::<*mut std::ffi::c_void, Arc4RandomBuf>(found) })
}
