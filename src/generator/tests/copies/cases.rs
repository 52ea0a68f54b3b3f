//! What is attacked: every entry, in every state in which it does something else; failures; and what
//! a handler interrupts.

use super::*;

fn per_call() -> Rc<Script> {
    Script::with(PER_CALL)
}

fn per_call_with_late_witness() -> Rc<Script> {
    Script::with(Facts { late: true, ..PER_CALL })
}

fn qemu() -> Rc<Script> {
    Script::with(Facts { vmclock: true, ..PER_CALL })
}

pub(super) fn bare_metal() -> Rc<Script> {
    Script::with(Facts { bare_metal: true, ..PER_CALL })
}

fn bare_metal_by_process_id() -> Rc<Script> {
    Script::with(Facts { bare_metal: true, pid_only: true, ..PER_CALL })
}

fn unsettled() -> Rc<Script> {
    Script::synchronous().unsettled()
}

fn without_cpu(script: Rc<Script>) -> Rc<Script> {
    script.cpu_seed.set(None);
    script
}

fn settled_without_cpu() -> Rc<Script> {
    without_cpu(Script::synchronous())
}

fn unsettled_without_cpu() -> Rc<Script> {
    without_cpu(unsettled())
}

fn process_without_cpu() -> Rc<Script> {
    without_cpu(bare_metal())
}

const SEEN: &[Copying] = &[Vm, VmByMarker, Fork, Restore];
const OF_A_PROCESS: &[Copying] = &[Fork, Restore];
const AT_PER_CALL: &[Copying] = &[Unseen, SeenLate(0), SeenLate(1), SeenLate(3), Fork, Restore];
const BY_THE_KERNEL: &[Copying] =
    &[VmOfLateKernel(0), VmOfLateKernel(1), VmOfLateKernel(3), Fork, Restore];

/// A keyed generator with a full buffer.
pub(super) const USED: &[Ask] = &[U64];
/// One whose next request refills, but for a few bytes.
const USED_UP: &[Ask] = &[U64, AllBut(24)];

const HISTORY: &[Ask] = &[
    U64,
    Bytes16,
    U32,
    Fill(100),
    OneShot(511),
    Fill(511),
    Fill(512),
    Bytes16,
    Fill(2000),
    OneShot(3),
    Fill(32),
    Reseed,
    Fill(511),
    Other(511),
    Bytes16,
    U64,
];

pub(super) fn case(
    name: &'static str,
    machine: fn() -> Rc<Script>,
    before: &'static [Ask],
    attacked: &'static [Ask],
    ways: &'static [Copying],
    points: usize,
) -> Case {
    Case { name, machine, terms: Terms::default(), before, attacked, ways, points }
}

impl Case {
    fn on(self, terms: Terms) -> Self {
        Self { terms, ..self }
    }
}

/// Every entry, in every state in which it does something else.
#[rustfmt::skip]
pub(super) fn entries() -> Vec<Case> {
    let large = CHUNK + 700;
    assert_eq!(large, 4796, "the size in the lists");
    let synchronous = Script::synchronous;
    let marker = Terms { accept_marker: true, ..Terms::default() };
    let agent = Terms { accept_late: true, ..Terms::default() };
    let never = Terms { policy: Policy::AssumeNeverCloned, ..Terms::default() };
    vec![
        case("u32", synchronous, USED, &[U32], SEEN, 5),
        case("u64", synchronous, USED, &[U64], SEEN, 5),
        case("16 bytes by value", synchronous, USED, &[Bytes16], SEEN, 5),
        case("small, buffered", synchronous, USED, &[Fill(40)], SEEN, 6),
        case("small, across a refill", synchronous, USED_UP, &[Fill(100)], SEEN, 12),
        case("u64, across a refill", synchronous, &[U64, AllBut(4)], &[U64], SEEN, 12),
        case("large, two keys", synchronous, USED, &[Fill(4796)], SEEN, 18),
        case("large, with a refill", synchronous, USED_UP, &[Fill(4796)], SEEN, 22),
        case("reseed", synchronous, USED, &[Reseed, U64], SEEN, 18),
        case("notify_restored, seen", synchronous, USED, &[NotifyRestored, Fill(40)], SEEN, 22),
        case("notify_restored alone", synchronous, USED, &[NotifyRestored, Fill(40)], &[Told], 22),
        case("notify_restored alone, no CPU", process_without_cpu, USED, &[NotifyRestored, Fill(40)], &[Told], 20)
            .on(never),
        case("first use, u64", synchronous, &[], &[U64], SEEN, 25),
        case("first use, large", synchronous, &[], &[Fill(4796)], SEEN, 30),
        case("a minute later", synchronous, &[U64, Wait(60 * SECOND), AllBut(4)], &[U64], SEEN, 25),
        case("one-shot", synchronous, USED, &[OneShot(40)], SEEN, 12),
        case("one-shot, large", synchronous, USED, &[OneShot(4796)], SEEN, 20),
        case("a long history", synchronous, &[], HISTORY, SEEN, 150),
        case("PerCall: first use", per_call, &[], &[U64], AT_PER_CALL, 25),
        case("PerCall: u64", per_call, USED, &[U64], AT_PER_CALL, 10),
        case("PerCall: small", per_call, USED, &[Fill(40)], AT_PER_CALL, 12),
        case("PerCall: more than an absorb gives", per_call, USED, &[Fill(300)], AT_PER_CALL, 14),
        case("PerCall: large", per_call, USED, &[Fill(4796)], AT_PER_CALL, 20),
        case("PerCall: reseed", per_call, USED, &[Reseed, U64], AT_PER_CALL, 25),
        case("PerCall: one-shot", per_call, USED, &[OneShot(40)], AT_PER_CALL, 12),
        case("PerCall: a late witness", per_call_with_late_witness, USED, &[U64, Fill(40)], AT_PER_CALL, 20),
        case("PerCall: a long history", per_call_with_late_witness, &[], HISTORY, AT_PER_CALL, 200),
        case("PerCall: a marker", qemu, USED, &[U64, Fill(40)], &[Unseen, VmByMarker], 20),
        case("Accepted: by the marker", qemu, USED_UP, &[Fill(100)], &[VmByMarker, Fork], 12).on(marker),
        case("Accepted: by an agent", per_call_with_late_witness, USED_UP, &[Fill(100), Fill(40)], &[VmByAgent, Fork], 16)
            .on(agent),
        case("ProcessOnly: u64", bare_metal, USED, &[U64], OF_A_PROCESS, 5),
        case("ProcessOnly: across a refill", process_without_cpu, USED_UP, &[Fill(100)], OF_A_PROCESS, 12),
        case("ProcessOnly: first use", process_without_cpu, &[], &[U64], OF_A_PROCESS, 20),
        case("ProcessOnly: by the process id", bare_metal_by_process_id, USED, &[U64, Fill(40)], OF_A_PROCESS, 10),
        case("unsettled: an absorb is due", unsettled, &[U64, Wait(SECOND / 10), AllBut(24)], &[Fill(100)], SEEN, 20),
        case("unsettled: the deadline passes", unsettled, &[U64, AllBut(24), Wait(DEADLINE)], &[Fill(100), U64], SEEN, 25),
        case("no CPU: settled, u64", settled_without_cpu, USED, &[U64], BY_THE_KERNEL, 5),
        case("no CPU: settled, across a refill", settled_without_cpu, USED_UP, &[Fill(100)], BY_THE_KERNEL, 12),
        case("no CPU: unsettled, u64", unsettled_without_cpu, USED, &[U64], BY_THE_KERNEL, 10),
        case("no CPU: unsettled, large", unsettled_without_cpu, USED, &[Fill(4796)], BY_THE_KERNEL, 18),
        case("no CPU: first use", unsettled_without_cpu, &[], &[U64, U64], BY_THE_KERNEL, 28),
        case("no CPU: the deadline passes", unsettled_without_cpu, &[U64, Wait(DEADLINE - 1), U64], &[U64, Wait(1), U64, U64], BY_THE_KERNEL, 24),
        case("no CPU: one-shot", unsettled_without_cpu, USED, &[OneShot(40)], BY_THE_KERNEL, 10),
        case("Require: u64", synchronous, USED, &[U64], SEEN, 5).on(require()),
        case("Require: first use", synchronous, &[], &[U64], SEEN, 25).on(require()),
        case("Require: one-shot", synchronous, USED, &[OneShot(40)], SEEN, 12).on(require()),
        case("Require: no CPU, then the deadline", settled_without_cpu, USED, &[U64, Fill(40), Wait(DEADLINE), U64], BY_THE_KERNEL, 15)
            .on(require()),
    ]
}

/// The kernel fails at each of its calls, in what is attacked; then it works again.
#[rustfmt::skip]
pub(super) fn failures() -> Vec<Case> {
    let synchronous = Script::synchronous;
    vec![
        case("reseed fails", synchronous, USED, &[KernelFails(0), Reseed, KernelWorks, U64], SEEN, 15),
        case("reseed fails, request fails", synchronous, USED, &[KernelFails(0), Reseed, U64, KernelWorks, U64], SEEN, 22),
        case("reseed fails at its second gather", synchronous, USED, &[KernelFails(1), Reseed, U64, Fill(40), KernelWorks, Fill(40)], SEEN, 25),
        case("first use fails", synchronous, &[], &[KernelFails(0), Fill(40), KernelWorks, Fill(40)], SEEN, 30),
        case("first use fails at its second gather", synchronous, &[], &[KernelFails(1), Fill(40), KernelWorks, Fill(40)], SEEN, 25),
        case("a buffered request fails if copied", synchronous, USED, &[KernelFails(0), U64, Fill(40), KernelWorks, U64], SEEN, 12),
        case("a large request fails if copied", synchronous, USED_UP, &[KernelFails(0), Fill(4796), KernelWorks, Fill(40)], SEEN, 22),
        case("a large request fails if copied twice", synchronous, USED_UP, &[KernelFails(1), Fill(4796), KernelWorks, Fill(40)], SEEN, 22),
        case("one-shot fails", synchronous, USED, &[KernelFails(0), OneShot(40), KernelWorks, OneShot(40)], SEEN, 14),
        case("PerCall: an absorb fails", per_call, USED, &[KernelFails(0), Fill(40), KernelWorks, Fill(40)], AT_PER_CALL, 20),
        case("PerCall: the second absorb fails", per_call, USED, &[KernelFails(1), Fill(40), Fill(40), KernelWorks, Fill(40)], AT_PER_CALL, 30),
        case("unsettled: a due absorb fails", unsettled, &[U64, Wait(SECOND / 10), AllBut(24)], &[KernelFails(0), Fill(100), KernelWorks, Fill(100)], SEEN, 25),
        case("no CPU: an absorb fails", unsettled_without_cpu, USED, &[KernelFails(0), U64, KernelWorks, U64], BY_THE_KERNEL, 20),
        case("Require: a rekey fails", synchronous, USED, &[KernelFails(0), Reseed, U64, KernelWorks, U64], SEEN, 20).on(require()),
    ]
}

/// What a handler may interrupt.
#[rustfmt::skip]
pub(super) fn interrupted() -> Vec<Case> {
    let synchronous = Script::synchronous;
    const VM_AND_FORK: &[Copying] = &[Vm, Fork];
    vec![
        case("u64", synchronous, USED, &[U64], VM_AND_FORK, 5),
        case("small, across a refill", synchronous, USED_UP, &[Fill(100)], VM_AND_FORK, 12),
        case("first use", synchronous, &[], &[U64], VM_AND_FORK, 25),
        case("large", synchronous, USED_UP, &[Fill(600)], VM_AND_FORK, 15),
        case("reseed", synchronous, USED, &[Reseed, U64], VM_AND_FORK, 18),
        case("one-shot", synchronous, USED, &[OneShot(40)], VM_AND_FORK, 12),
        case("PerCall: small", per_call, USED, &[Fill(40)], &[Unseen, Fork], 12),
        case("no CPU: unsettled", unsettled_without_cpu, USED, &[U64], &[VmOfLateKernel(1), Fork], 10),
        case("a failure", synchronous, USED, &[KernelFails(0), Reseed, U64, KernelWorks, U64], &[Vm], 20),
    ]
}

/// Each way that the machine of `case` can see twice, and one after another of its kind.
pub(super) fn pairs_of(case: &Case) -> Vec<(Copying, Copying)> {
    let twice = case.ways.iter().map(|way| (*way, *way));
    let mixed = case.ways.windows(2).map(|ways| (ways[0], ways[1]));
    let dropped = case.ways.first().map(|way| (Dropped, *way));
    twice.chain(mixed).chain(dropped).collect()
}

/// What is short enough for all pairs of its points.
pub(super) fn short_ones() -> Vec<Case> {
    entries().into_iter().filter(|case| !is_history(case)).collect()
}

pub(super) fn histories() -> Vec<Case> {
    entries().into_iter().filter(is_history).collect()
}

fn is_history(case: &Case) -> bool {
    case.attacked.len() == HISTORY.len()
}
