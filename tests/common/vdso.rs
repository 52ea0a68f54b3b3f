//! Fresh processes that have no vDSO, as far as they are told: a tracer takes the address of it off
//! the auxiliary vector before their first instruction. What a kernel started with `vdso=0` does.
//!
//! The image stays mapped, and `/proc/self/auxv` still names it: only who asks the auxiliary vector,
//! as libc and the library do, finds none.
//!
//! References: ptrace(2), getauxval(3), proc_pid_stat(5); `create_elf_tables` of Linux's
//! `fs/binfmt_elf.c` for what is on the stack.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::ptr::null_mut;

use super::{VARIANT, check, command, skip, test_name};

/// Bytes of a word of the stack.
const WORD: u64 = size_of::<usize>() as u64;

/// Runs `scenario` in one fresh process for each variant, which it is told. Skips, loudly, where
/// nobody may trace.
pub(crate) fn in_fresh_processes_without_a_vdso<F: FnOnce(&str)>(variants: &[&str], scenario: F) {
    let test = test_name::<F>();
    if let Ok(variant) = std::env::var(VARIANT) {
        // SAFETY: getauxval only reads a static of libc.
        let image = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) };
        assert_eq!(image, 0, "this process was told where its vDSO is");
        return scenario(&variant);
    }
    let itself = std::env::current_exe().expect("the test binary has a path");
    for variant in variants {
        match start(command(&itself, &test, variant, &[])) {
            Ok(process) => {
                let output = process.wait_with_output().expect("its output");
                check(&test, variant, &output);
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return skip(&test, &format!("ptrace is refused: {error}"));
            }
            Err(error) => panic!("no process: {error}"),
        }
    }
}

/// Starts the program, and lets it go when its auxiliary vector names no vDSO.
fn start(mut command: Command) -> io::Result<Child> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: the closure makes one system call, and allocates nothing.
    unsafe { command.pre_exec(be_traced) };
    let process = command.spawn()?;
    let pid = libc::pid_t::try_from(process.id()).expect("a process id");
    let mut status = 0;
    // SAFETY: the status is written to a local.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    // A tracee stops with this signal when its exec has been done.
    assert!(libc::WIFSTOPPED(status) && libc::WSTOPSIG(status) == libc::SIGTRAP, "{status:#x}");
    hide_the_vdso(pid)?;
    // SAFETY: takes no pointers.
    let answer = unsafe { libc::ptrace(libc::PTRACE_DETACH, pid, null_mut::<libc::c_void>(), 0) };
    assert_eq!(answer, 0, "ptrace: {}", io::Error::last_os_error());
    Ok(process)
}

fn be_traced() -> io::Result<()> {
    // SAFETY: takes no pointers.
    match unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, null_mut::<libc::c_void>(), 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The stack of a new program: a count and so many arguments, null, the environment, null, and pairs
/// of a type and a value.
fn hide_the_vdso(pid: libc::pid_t) -> io::Result<()> {
    let memory = File::options().read(true).write(true).open(format!("/proc/{pid}/mem"))?;
    let read = |at: u64| {
        let mut word = [0; WORD as usize];
        memory.read_exact_at(&mut word, at).map(|()| usize::from_ne_bytes(word))
    };
    let mut at = beginning_of_the_stack(pid)? + WORD;
    for _ in ["arguments", "environment"] {
        while read(at)? != 0 {
            at += WORD;
        }
        at += WORD;
    }
    loop {
        match read(at)? as libc::c_ulong {
            libc::AT_NULL => return Ok(()),
            libc::AT_SYSINFO_EHDR => {
                memory.write_all_at(&(libc::AT_IGNORE as usize).to_ne_bytes(), at)?;
            }
            _ => {}
        }
        at += 2 * WORD;
    }
}

/// The 28th field of the process's status. The second is a name in parentheses, of any characters.
fn beginning_of_the_stack(pid: libc::pid_t) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let field = status.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(28 - 3));
    let field = field.expect("a field for the stack");
    Ok(field.parse().expect("an address"))
}
