//! Filters on system calls, for the thread that installs them and its children. They cannot be
//! taken back: only in fresh processes and children.
//!
//! References: seccomp(2), `include/uapi/linux/{seccomp,filter,bpf_common}.h`.

use libc::{sock_filter, sock_fprog};

/// `LD|W|ABS`, `JMP|JEQ|K`, `ALU|AND|K`, `RET|K`.
const LOAD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;

/// `struct seccomp_data`: the number, and the low half of each 64-bit argument.
const NUMBER: u32 = 0;
fn argument(index: u32) -> u32 {
    16 + 8 * index + if cfg!(target_endian = "big") { 4 } else { 0 }
}

/// What a filter answers.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    Allow,
    Fail(i32),
    /// SIGSYS, whose handler says what the call returns.
    Trap,
    Kill,
}

impl Answer {
    fn code(self) -> u32 {
        match self {
            Self::Allow => libc::SECCOMP_RET_ALLOW,
            Self::Fail(errno) => libc::SECCOMP_RET_ERRNO | errno.cast_unsigned(),
            Self::Trap => libc::SECCOMP_RET_TRAP,
            Self::Kill => libc::SECCOMP_RET_KILL_PROCESS,
        }
    }
}

/// Gives these calls their answers, and `otherwise` to all others.
pub(crate) fn install(rules: &[(libc::c_long, Answer)], otherwise: Answer) {
    let mut program = vec![load(NUMBER)];
    for (call, answer) in rules {
        program.push(unless_equal_skip(*call as u32, 1));
        program.push(ret(*answer));
    }
    program.push(ret(otherwise));
    load_program(&program);
}

/// Answers `EINVAL` to one call, where `argument & mask` has this value.
fn refuse(call: libc::c_long, index: u32, mask: u32, value: u32) {
    load_program(&[
        load(NUMBER),
        unless_equal_skip(call as u32, 4),
        load(argument(index)),
        sock_filter { code: AND, jt: 0, jf: 0, k: mask },
        unless_equal_skip(value, 1),
        ret(Answer::Fail(libc::EINVAL)),
        ret(Answer::Allow),
    ]);
}

/// The kernel before 6.11: no `MAP_DROPPABLE` (mapping type 8).
pub(crate) fn refuse_droppable_pages() {
    refuse(libc::SYS_mmap, 3, 0xf, 0x8);
}

/// A kernel that knows no `MADV_WIPEONFORK`, like gVisor.
pub(crate) fn refuse_wipe_on_fork() {
    refuse(libc::SYS_madvise, 2, u32::MAX, libc::MADV_WIPEONFORK.cast_unsigned());
}

/// What marks a call that [`genuinely`] makes: its sixth argument, which the kernel does not look at
/// where a call has five or fewer.
const GENUINE: u32 = 0x6e75_1e6e;

/// Traps these calls, unless [`genuinely`] makes them: so that the handler can make the very call
/// that it answers.
pub(crate) fn trap_all_but_genuine(calls: &[libc::c_long]) {
    let mut program =
        vec![load(argument(5)), unless_equal_skip(GENUINE, 1), ret(Answer::Allow), load(NUMBER)];
    for call in calls {
        program.push(unless_equal_skip(*call as u32, 1));
        program.push(ret(Answer::Trap));
    }
    program.push(ret(Answer::Allow));
    load_program(&program);
}

/// Makes a call that a filter traps; a negative result is an error number, as the kernel gives it.
///
/// # Safety
/// As the call with these arguments.
pub(crate) unsafe fn genuinely(call: libc::c_long, arguments: [usize; 5]) -> i32 {
    let [a, b, c, d, e] = arguments;
    // SAFETY: the caller's promise.
    let answer = unsafe { libc::syscall(call, a, b, c, d, e, GENUINE as usize) };
    match i32::try_from(answer).expect("calls that give small numbers") {
        -1 => -std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO),
        answer => answer,
    }
}

fn load(offset: u32) -> sock_filter {
    sock_filter { code: LOAD, jt: 0, jf: 0, k: offset }
}

fn unless_equal_skip(value: u32, instructions: u8) -> sock_filter {
    sock_filter { code: JUMP_IF_EQUAL, jt: 0, jf: instructions, k: value }
}

fn ret(answer: Answer) -> sock_filter {
    sock_filter { code: RETURN, jt: 0, jf: 0, k: answer.code() }
}

fn load_program(program: &[sock_filter]) {
    let fprog = sock_fprog {
        len: program.len().try_into().expect("a short program"),
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: takes no pointers.
    let answer = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(answer, 0, "no_new_privs");
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: the program outlives the call, which copies it.
    let answer = unsafe { libc::syscall(libc::SYS_seccomp, mode, 0, &raw const fprog) };
    assert_eq!(answer, 0, "seccomp: {}", std::io::Error::last_os_error());
}

/// Handles the SIGSYS of [`Answer::Trap`]; the handler answers with [`answer`].
pub(crate) fn on_trapped_call(
    handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void),
) {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all zeros is a valid sigaction.
    let action = unsafe { action.assume_init_mut() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
    // SAFETY: the handler is a function of this type.
    let installed = unsafe { libc::sigaction(libc::SIGSYS, action, std::ptr::null_mut()) };
    assert_eq!(installed, 0);
}

/// Lets the trapped call return this.
pub(crate) fn answer(context: *mut libc::c_void, value: i32) {
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: the kernel gives a valid context to a handler with SA_SIGINFO.
    let registers = unsafe { &mut (*context).uc_mcontext };
    #[cfg(target_arch = "x86_64")]
    {
        registers.gregs[libc::REG_RAX as usize] = value.into();
    }
    #[cfg(target_arch = "aarch64")]
    {
        registers.regs[0] = i64::from(value).cast_unsigned();
    }
}

/// The number and the first five arguments of the trapped call.
pub(crate) fn trapped(context: *mut libc::c_void) -> (libc::c_long, [usize; 5]) {
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: the kernel gives a valid context to a handler with SA_SIGINFO.
    let registers = unsafe { &(*context).uc_mcontext };
    #[cfg(target_arch = "x86_64")]
    {
        let register = |name: i32| registers.gregs[name as usize] as usize;
        let arguments = [libc::REG_RDI, libc::REG_RSI, libc::REG_RDX, libc::REG_R10, libc::REG_R8];
        (register(libc::REG_RAX) as libc::c_long, arguments.map(register))
    }
    #[cfg(target_arch = "aarch64")]
    {
        let arguments = [0, 1, 2, 3, 4].map(|index| registers.regs[index] as usize);
        (registers.regs[8] as libc::c_long, arguments)
    }
}
