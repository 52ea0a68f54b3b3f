//! Faults of the kernel's randomness that begin and end when a test says so.
//!
//! A filter traps the system calls by which randomness is had, and the handler of the trap answers
//! in the kernel's place: what the kernel gives, less of it, nothing, or an error, after as many
//! interruptions as are asked for. Children inherit the filter, and the fault that is on.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicUsize, Ordering};

use super::seccomp::{answer, genuinely, on_trapped_call, trap_all_but_genuine, trapped};

/// The calls that may be answered falsely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    GetRandom,
    /// Of any file: the devices, as long as the fault is on.
    Open,
    Poll,
    Read,
}

/// How one of them is answered, in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Honest,
    /// This many bytes at most, and no lie about it.
    Short(u16),
    /// No bytes, and no error.
    Nothing,
    Fail(i32),
}

/// What goes wrong at the same time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    pub(crate) replies: &'static [(Call, Reply)],
    /// So often each of these calls is interrupted (`EINTR`) before it is answered.
    pub(crate) interruptions: u32,
    /// The error number that a request must give, if the fault is one that it cannot get round.
    pub(crate) error: Option<i32>,
}

const CALLS: usize = 4;

/// The fault that is on: an encoded reply for each call, and how often each is interrupted.
static REPLIES: [AtomicI64; CALLS] = [const { AtomicI64::new(HONEST) }; CALLS];
static INTERRUPTIONS: AtomicU32 = AtomicU32::new(0);
const HONEST: i64 = i64::MAX;

/// Interruptions that are still to come before each call is answered.
static TO_COME: [AtomicU32; CALLS] = [const { AtomicU32::new(0) }; CALLS];

/// Calls that were answered, and those of them that asked for the rest of a short answer at another
/// place than behind it.
static ANSWERED: [AtomicUsize; CALLS] = [const { AtomicUsize::new(0) }; CALLS];
static ASTRAY: AtomicUsize = AtomicUsize::new(0);

/// Where the last short answer ended, and where the buffer it is for does.
static NEXT: AtomicUsize = AtomicUsize::new(0);
static END: AtomicUsize = AtomicUsize::new(0);

/// Answers in the kernel's place from now on, honestly at first.
pub(crate) fn interpose() {
    on_trapped_call(on_call);
    let calls = [libc::SYS_getrandom, libc::SYS_openat, libc::SYS_ppoll, libc::SYS_read];
    trap_all_but_genuine(&calls);
    #[cfg(target_arch = "x86_64")]
    trap_all_but_genuine(&[libc::SYS_poll]);
}

impl Fault {
    pub(crate) fn begin(&self) {
        INTERRUPTIONS.store(self.interruptions, Ordering::SeqCst);
        for (index, to_come) in TO_COME.iter().enumerate() {
            to_come.store(self.interruptions, Ordering::SeqCst);
            ANSWERED[index].store(0, Ordering::SeqCst);
        }
        for (call, reply) in self.replies {
            let encoded = match *reply {
                Reply::Honest => HONEST,
                Reply::Short(bytes) => bytes.into(),
                Reply::Nothing => 0,
                Reply::Fail(errno) => -i64::from(errno),
            };
            REPLIES[*call as usize].store(encoded, Ordering::SeqCst);
        }
    }

    pub(crate) fn end() {
        INTERRUPTIONS.store(0, Ordering::SeqCst);
        TO_COME.iter().for_each(|to_come| to_come.store(0, Ordering::SeqCst));
        REPLIES.iter().for_each(|reply| reply.store(HONEST, Ordering::SeqCst));
    }
}

/// How often this call was answered since the fault began, not counting interruptions.
pub(crate) fn answered(call: Call) -> usize {
    ANSWERED[call as usize].load(Ordering::SeqCst)
}

/// Calls that went on elsewhere than where a short answer ended.
pub(crate) fn astray() -> usize {
    ASTRAY.load(Ordering::SeqCst)
}

extern "C" fn on_call(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let (number, arguments) = trapped(context);
    let call = match number {
        libc::SYS_getrandom => Call::GetRandom,
        libc::SYS_openat => Call::Open,
        libc::SYS_read => Call::Read,
        _ => Call::Poll,
    };
    answer(context, reply_to(call, number, arguments));
}

fn reply_to(call: Call, number: libc::c_long, mut arguments: [usize; 5]) -> i32 {
    let to_come = &TO_COME[call as usize];
    if to_come.load(Ordering::SeqCst) > 0 {
        to_come.fetch_sub(1, Ordering::SeqCst);
        return -libc::EINTR;
    }
    to_come.store(INTERRUPTIONS.load(Ordering::SeqCst), Ordering::SeqCst);
    ANSWERED[call as usize].fetch_add(1, Ordering::SeqCst);
    // Where buffer and length are: getrandom(buffer, length, …), read(file, buffer, length).
    let at = usize::from(call == Call::Read);
    match REPLIES[call as usize].load(Ordering::SeqCst) {
        HONEST => {}
        reply if reply <= 0 => return i32::try_from(reply).expect("an error number"),
        most => {
            let most = usize::try_from(most).expect("a small number");
            let (buffer, length) = (arguments[at], arguments[at + 1]);
            // The rest of the same buffer must be asked for from where the answer ended.
            if buffer + length == END.load(Ordering::SeqCst) {
                let strays = buffer != NEXT.load(Ordering::SeqCst);
                ASTRAY.fetch_add(strays.into(), Ordering::SeqCst);
            }
            arguments[at + 1] = length.min(most);
            let is_over = length <= most;
            NEXT.store(buffer + most, Ordering::SeqCst);
            END.store(if is_over { 0 } else { buffer + length }, Ordering::SeqCst);
        }
    }
    // SAFETY: the call that the library made, or one for fewer bytes.
    unsafe { genuinely(number, arguments) }
}
