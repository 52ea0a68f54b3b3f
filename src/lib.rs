//! A CSPRNG that cannot repeat itself when its virtual machine is cloned.
//!
//! A VM is snapshotted and restored many times: for fast starts, for sandboxes, from backups. Every
//! generator in user space then exists twice with one state, and gives both clones the same keys,
//! nonces and ids. The kernel's own generator recovers a little later; programs are told nothing.
//! This library looks at words that change when the world was copied, before and after every
//! output, and rekeys when they did: after a VM clone, a fork, or the restore of a process.
//!
//! # Quick start
//! ```
//! // Bytes from this thread's generator:
//! let key: [u8; 32] = snaprng::bytes();
//!
//! // The traits of rand_core 0.10, and so all of rand 0.10:
//! use rand::RngExt;
//! let dice = snaprng::rng().random_range(1..=6);
//!
//! // Errors instead of panics:
//! let mut nonce = [0; 12];
//! snaprng::fill(&mut nonce)?;
//!
//! // A generator of one's own:
//! let mut rng = snaprng::SnapRng::new()?;
//! # use snaprng::rand_core::Rng;
//! let id = rng.next_u64();
//!
//! // What protects all this, and what to do for more:
//! println!("{}", snaprng::protection());
//! # let _ = (key, dice, id);
//! # Ok::<(), snaprng::Error>(())
//! ```
//! A program that wants more than the defaults installs a [`Config`] early in `main`, before
//! threads, sandboxes, and drops of privileges: everything is opened and mapped there.
//!
//! # What it promises
//! 1. **No shared output.** If two copies of a process exist (VM clone, fork, raw `clone`, CRIU
//!    restore), no output whose last look came after the copy was made is shared by the copies,
//!    provided that (a) a synchronous witness is in use, or the request began after the copy at
//!    level `PerCall`; and (b) the rekey took at least one source that differs between the copies:
//!    CPU randomness, injected bytes, or a kernel that has reseeded. Both conditions are reported
//!    ([`protection`]), never assumed.
//! 2. **Backtracking resistance.** The state tells nothing about bytes already handed out: each
//!    refill of ChaCha20 makes the next key first and forgets the old one, bytes are wiped as they
//!    are copied out, state is wiped on drop and at a thread's end. And recovery: fresh entropy at
//!    the first refill after 1 MiB of output or 60 s, so that whoever holds a snapshot file loses
//!    sight of the original.
//! 3. **Fail closed.** Where entropy cannot be had there is an [`Error`] (or a panic, where the
//!    trait has no errors), and the caller's buffer is wiped. Never a weak output, never a silent
//!    downgrade, and the next request starts from fresh entropy again.
//! 4. **No system call, lock or allocation between rekeys and absorbs** at level
//!    [`Synchronous`](Level::Synchronous).
//!
//! # What it does not promise
//! * Anything about bytes returned *before* a snapshot: both clones have them. Fence operations
//!   with a [`Generation`]: take it before, ask it just before the result leaves the machine.
//! * Secrecy of the outputs until the next rekey against whoever holds the snapshot file.
//! * Where there is no witness at all, that a request which a snapshot cuts in half is made again.
//!   If the CPU has no randomness either, also later ones may repeat until the kernel has reseeded
//!   (measured: for 0.3 s, and 1.7 s where a real-time process kept it from that), and a process
//!   that had settled before may go on to say so: it cannot know.
//! * FIPS 140. Protection from an attacker who reads live memory. The stack is not
//!   wiped; key material is, wherever it was stored, and vector registers are after each keystream.
//! * Threads made by a bare `CLONE_VM` without `CLONE_SETTLS`: they share one thread's state.
//! * A generator that is abandoned in the middle of a request (a `longjmp` out of a signal
//!   handler): that thread's requests are then served without state, slowly, for ever.
//!
//! # Protection levels
//! | level | when | what a request does |
//! |---|---|---|
//! | [`Synchronous`](Level::Synchronous) | `vmclock` with a VM generation counter | served from a buffer: nanoseconds |
//! | [`Accepted`](Level::Accepted) | the embedder accepted a weaker witness by name ([`accept_marker`](Config::accept_marker), [`accept_late`](Config::accept_late)) | served from a buffer |
//! | [`PerCall`](Level::PerCall) | everything else on a virtual machine, or an unknown platform | draws 32 bytes from the kernel (its vDSO, from Linux 6.11 on) and 16 from the CPU; nothing is buffered |
//! | [`ProcessOnly`](Level::ProcessOnly) | positively identified bare metal, or [`AssumeNeverCloned`](Policy::AssumeNeverCloned) | served from a buffer; forks and restores are watched for |
//!
//! [`Policy::Require`] refuses what is below `Synchronous` (bare metal passes). An operator can ask
//! for it with `SNAPRNG_POLICY=require` in the environment, which strengthens any program's
//! policy, never weakens it, and is ignored in set-user-id programs.
//!
//! # Witnesses
//! | witness | what it is | when it changes |
//! |---|---|---|
//! | `vmclock` | `/dev/vmclock0`: VM generation counter and disruption marker | before any vCPU of the clone runs |
//! | `sysgenid` | `/dev/sysgenid` of Amazon's kernels | late |
//! | agent page | `/run/snapsafe/generation`, written by an agent in the machine | late |
//! | `process` | a page that the kernel clears in a child and that no checkpoint contains | at the fork or restore |
//!
//! A *late* witness changes some time after the machine runs again. It can only add reasons to
//! rekey; it never replaces the fresh entropy of each request, unless accepted by name. A source
//! that is there but cannot be used (no permission, malformed, not trustworthy) counts as no
//! protection, and the report names the cause.
//!
//! A new counter value is the *same* in all siblings, and does not mean that the kernel's generator
//! has diverged yet: in real clones it gave thousands of identical outputs for 9 to 40 ms after
//! the counter had changed, and longer under load. So a rekey mixes CPU randomness and the old key
//! with what the kernel gives, and a generator stays *unsettled* for about a minute after a
//! restore, absorbing fresh bytes again and again, until the kernel must have reseeded. On
//! machines without CPU randomness, hand in unique bytes ([`notify_restored`]); otherwise `Require`
//! refuses for that minute, and `Prefer` reports `diversity: none`. With `CAP_SYS_ADMIN` the kernel
//! is made to reseed first, which tells clones apart unless their clocks run exactly alike:
//! measured, in an emulator that counts instructions, and therefore not enough for `Require`.
//!
//! # Giving a process access to `/dev/vmclock0`
//! The device belongs to root and nobody else may read it. It tells a time and a counter, nothing
//! secret. Any of these will do:
//! * a udev rule, `/etc/udev/rules.d/60-snaprng-vmclock.rules` (in `dist/udev`):
//!   `KERNEL=="vmclock0", MODE="0444"`;
//! * start as root, call [`Config::install`], then drop privileges;
//! * hand an open descriptor to the process, and to [`VmClock::Fd`];
//! * in a container, pass the device too: `docker run --device=/dev/vmclock0:/dev/vmclock0:r`.
//!
//! `snaprng status` says whether it worked and, if not, why.
//!
//! A process that maps the device cannot be dumped by CRIU, which refuses it and leaves it running:
//! set [`Config::vmclock`] to [`VmClock::Off`] where processes are checkpointed. On a virtual machine
//! every request then draws fresh entropy, and the copies of a dump share nothing, whatever restores
//! them. A *stand-in* is dumped with the process. From CRIU 4.2 on the copies share nothing either.
//! Before that, they are told by a stand-in in a file, if its counter is moved before they are
//! restored; sealed memory is restored as it was dumped, and tells them nothing.
//!
//! # Platforms
//! | platform | level | forks | process restores |
//! |---|---|---|---|
//! | Linux on Firecracker ≥ 1.15 (guest Linux ≥ 6.13; arm64 ≥ 7.0) | `Synchronous` | yes | CRIU ≥ 4.2, Linux ≥ 6.11 |
//! | Linux on QEMU ≥ 10 with `-device vmclock` | `PerCall` (no counter), or `Accepted` by the marker | yes | same |
//! | Linux on any other hypervisor | `PerCall` | yes | same |
//! | Linux on bare metal (x86-64) | `ProcessOnly` | yes | same |
//! | gVisor, old qemu-user | `PerCall` | by the process id, at every request | no: call [`notify_restored`] |
//! | macOS, Windows, BSDs | `PerCall`, through the `getrandom` crate | nothing is kept | nothing is kept |
//!
//! # Where it may be called
//! First use and every request may happen in a signal handler (also one that interrupted the
//! generator), in the child of a threaded process, and in a thread that is ending: bytes or an
//! error, never a deadlock, never a shared byte. [`protection`], [`Config::install`] and owned
//! generators allocate and are not for signal handlers. Neither requests nor installations are
//! cancellation points (`pthread_cancel`); none may be made while cancelability is asynchronous.
//!
//! # Files as witnesses
//! The agent page, and a stand-in for `vmclock` or `sysgenid`, is a file that is mapped for as long as
//! the process lives. Whoever can truncate it, or punch a hole into it, **kills the process with
//! SIGBUS** at its next request; whoever can replace it has the process look at a file that nobody
//! writes any more. So only a file that nobody but root or this user can touch is mapped (the rules
//! are at [`VmClock::Path`]), and any other is refused with its cause. What remains:
//! * its trusted owner, who truncates it, or lets others write it while it is in use;
//! * whoever could write it earlier and kept it open.
//!
//! So write a witness in place: make it complete under another name ([`host`] does that), never
//! truncate it, never replace it by `rename`, and keep it over restarts of its writer. A descriptor of
//! a memfd sealed with `F_SEAL_SHRINK` ([`VmClock::Fd`]) can be truncated by nobody.
//!
//! # Features
//! `rand_core_06` and `rand_core_09` implement the traits of those versions on the same types (rand
//! 0.8 and 0.9, ed25519-dalek 2, and their generations); `rustls` gives rustls 0.23 a
//! `SecureRandom`. `capi` is the C ABI, for C libraries: see `include/snaprng.h` and
//! `dist/install-c`. `initial_exec` is for other shared libraries that contain this one and may be
//! loaded late: a thread's first use then asks the loader for nothing.
//!
//! # The cipher
//! ChaCha20, in one documented stream whichever implementation makes it: assembly for AVX-512 and
//! AVX2, chosen at run time, and portable code everywhere else, against which the others are tested.
//! None branches on or indexes by a secret. [`Config::rounds`] chooses [`Rounds::Twelve`] or
//! [`Rounds::Eight`] for the output; keys are always made with twenty. `SNAPRNG_KERNEL=portable` (or
//! `avx2`, `avx512`) in the environment forces an implementation, for tests and for tools that know
//! no newer instructions; what the CPU does not have is an error.
//!
//! # Design
//! ChaCha with fast key erasure, rekeyed by BLAKE2s over every source; the generator is a pure
//! state machine over two seams, the world and its entropy, so that tests copy it between any two
//! steps. Each witness is mapped over a static page and costs one load per look.
#![deny(unsafe_code)]
#![deny(clippy::disallowed_methods)]

#[cfg(not(feature = "std"))]
compile_error!("snaprng needs its `std` feature for now");

mod bridges;
#[cfg(target_os = "linux")]
mod cancellation;
#[cfg(feature = "capi")]
pub mod capi;
mod cipher;
mod config;
mod entropy;
mod environment;
#[cfg(target_os = "linux")]
mod errno;
mod error;
#[cfg(target_arch = "x86_64")]
mod features;
#[cfg(all(fuzzing, target_os = "linux"))]
#[doc(hidden)]
pub mod fuzzing;
mod generator;
#[cfg(target_os = "linux")]
pub mod host;
mod level;
mod local;
mod point;
mod policy;
mod protection;
mod rng;
mod sync;
#[cfg(target_os = "linux")]
mod syscall;
mod unique;
mod wipe;
mod world;

#[cfg(feature = "rustls")]
pub use bridges::rustls::SecureRandom;
pub use cipher::Rounds;
pub use config::{Config, Source, VmClock};
pub use entropy::Diversity;
pub use error::Error;
pub use level::{Level, UnknownLevel};
pub use local::{
    ThreadRng, bytes, fill, fill_uninit, notify_restored, protection, rediscover, reseed, rng,
};
pub use policy::Policy;
pub use protection::{ForkSafety, Protection, RestoreSafety, Witness};
pub use rand_core;
pub use rng::{SnapRng, TrySnapRng};
pub use unique::{Generation, generation};
pub use world::{Cause, WitnessState};
