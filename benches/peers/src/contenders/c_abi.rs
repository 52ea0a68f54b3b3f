//! snaprng as a C program has it: from the shared library, through the functions of its header.
//!
//! The library that is loaded here is a second snaprng in this process, with its own configuration,
//! which must be put in force and settled like the first.

use std::ffi::{CString, c_char, c_int, c_void};
use std::hint::black_box;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use super::{Field, Kind, dynamic, filling, name};
use crate::measure::Batch;
use crate::world::Standing;

const OK: c_int = 0;
const VMCLOCK_FD: u32 = 4;
const IS_STAND_IN: u32 = 1;
const IS_SETTLED: u32 = 2;

/// `snaprng_config` of include/snaprng.h.
#[repr(C)]
struct Config {
    size: usize,
    policy: u32,
    flags: u32,
    vmclock_path: *const c_char,
    sysgenid_path: *const c_char,
    agent_page_path: *const c_char,
    personalization: *const c_void,
    personalization_len: usize,
    vmclock_fd: c_int,
    rounds: u32,
}

/// `snaprng_protection_t` of include/snaprng.h.
#[repr(C)]
#[derive(Default)]
struct Protection {
    size: usize,
    level: u32,
    flags: u32,
    error: c_int,
    witnesses: u32,
    rekeys: u64,
    absorbs: u64,
    epoch_changes: u64,
}

/// The functions, under their names in the header.
#[derive(Clone, Copy)]
pub(crate) struct Library {
    init: unsafe extern "C" fn(*const Config) -> c_int,
    protection: unsafe extern "C" fn(*mut Protection) -> c_int,
    reseed: unsafe extern "C" fn(*mut c_void, *const c_void, usize) -> c_int,
    fill: unsafe extern "C" fn(*mut c_void, usize) -> c_int,
    u32: unsafe extern "C" fn() -> u32,
    u64: unsafe extern "C" fn() -> u64,
}

impl Library {
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let path = CString::new(path.as_os_str().as_bytes()).map_err(|e| e.to_string())?;
        let library = dynamic::Library::open(&path)?;
        macro_rules! function {
            ($name:literal, $type:ty) => {{
                let found = library.symbol($name)?;
                // SAFETY: include/snaprng.h declares the function with this type.
                unsafe { std::mem::transmute::<*mut c_void, $type>(found) }
            }};
        }
        Ok(Self {
            init: function!(c"snaprng_init", unsafe extern "C" fn(*const Config) -> c_int),
            protection: function!(
                c"snaprng_protection",
                unsafe extern "C" fn(*mut Protection) -> c_int
            ),
            reseed: function!(
                c"snaprng_reseed",
                unsafe extern "C" fn(*mut c_void, *const c_void, usize) -> c_int
            ),
            fill: function!(c"snaprng_fill", unsafe extern "C" fn(*mut c_void, usize) -> c_int),
            u32: function!(c"snaprng_u32", unsafe extern "C" fn() -> u32),
            u64: function!(c"snaprng_u64", unsafe extern "C" fn() -> u64),
        })
    }

    /// Puts a configuration in force with this vmclock page and so many rounds.
    pub(crate) fn install(&self, vmclock: OwnedFd, rounds: u32) -> Result<(), String> {
        let config = Config {
            size: size_of::<Config>(),
            policy: 0,
            flags: VMCLOCK_FD,
            vmclock_path: ptr::null(),
            sysgenid_path: ptr::null(),
            agent_page_path: ptr::null(),
            personalization: ptr::null(),
            personalization_len: 0,
            vmclock_fd: vmclock.into_raw_fd(),
            rounds,
        };
        // SAFETY: a configuration as the header describes it; the descriptor is given away.
        match unsafe { (self.init)(&raw const config) } {
            OK => Ok(()),
            code => Err(format!("snaprng_init answered {code}")),
        }
    }

    /// What it reports of this thread's generator, rekeyed if `rekey` says so.
    pub(crate) fn standing(&self, rekey: bool) -> Result<Standing, String> {
        // SAFETY: a null handle is this thread's generator; there is no additional input.
        if rekey && unsafe { (self.reseed)(ptr::null_mut(), ptr::null(), 0) } != OK {
            return Err("snaprng_reseed failed".into());
        }
        let mut report = Protection { size: size_of::<Protection>(), ..Protection::default() };
        // SAFETY: a structure of the size that it says it has.
        match unsafe { (self.protection)(&raw mut report) } {
            OK => Ok(Standing {
                level: level(report.level).into(),
                stand_in: report.flags & IS_STAND_IN != 0,
                settled: report.flags & IS_SETTLED != 0,
                cipher: None,
            }),
            code => Err(format!("snaprng_protection answered {code}")),
        }
    }

    pub(super) fn enter(self, field: &mut Field) {
        field.add(Kind::Ours, name::C_ABI, move |size| Some(self.batch(size)));
    }

    fn batch(self, size: usize) -> Batch {
        let Self { u32, u64, fill, .. } = self;
        match size {
            4 => Box::new(move |calls| {
                for _ in 0..calls {
                    // SAFETY: the function has no conditions.
                    black_box(unsafe { u32() });
                }
            }),
            8 => Box::new(move |calls| {
                for _ in 0..calls {
                    // SAFETY: the function has no conditions.
                    black_box(unsafe { u64() });
                }
            }),
            _ => filling(
                move |out| {
                    // SAFETY: pointer and length are those of a slice that may be written.
                    let outcome = unsafe { fill(out.as_mut_ptr().cast(), out.len()) };
                    assert_eq!(outcome, OK, "snaprng_fill failed");
                },
                size,
            ),
        }
    }
}

fn level(code: u32) -> &'static str {
    match code {
        0 => "per-call",
        1 => "accepted",
        2 => "process-only",
        3 => "synchronous",
        _ => "unknown",
    }
}
