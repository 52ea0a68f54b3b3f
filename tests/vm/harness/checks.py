"""What can be asked of a scenario's recordings. Each check gives one verdict: a sentence and whether it holds."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from .analyse import (
    Comparison,
    Condition,
    after_resume,
    compare,
    cut_in_half,
    first_after_resume,
    select,
    unsettled,
)
from .recording import Recording


@dataclass
class Verdict:
    """`holds` is None for a measurement, which can neither pass nor fail."""

    sentence: str
    holds: bool | None
    numbers: dict = field(default_factory=dict)
    point: str = ""  # of the matrix, if it is about one alone


Check = Callable[[list[Recording]], Verdict]


def nothing_is_shared(pattern: str, what: str, condition: Condition = after_resume, among: bool = False) -> Check:
    """No block is shared between clones or repeated within one.

    `among` marks a check whose blocks an earlier check of the scenario has already counted.
    """
    def check(recordings: list[Recording]) -> Verdict:
        found = compare(recordings, pattern, condition)
        numbers = _numbers(found) | {"counted_before": among}
        if not found.compared or len(found.clones) < len(recordings) or not found.shortest_stream:
            return Verdict(f"There is too little to compare {what}.", False, numbers)
        if found.total:
            return Verdict(f"{_count(found)} {what}: {found.shared} shared between clones, {found.repeated} repeated "
                           f"within one, {found.shifted} matching at another alignment{_where(found)}.", False, numbers)
        return Verdict(f"{_count(found)} {what}: none is shared between clones or repeated within one.", True, numbers)
    return check


def something_is_shared(pattern: str, what: str, condition: Condition = after_resume) -> Check:
    """A control: if nothing were shared here, finding nothing elsewhere would prove nothing."""
    def check(recordings: list[Recording]) -> Verdict:
        found = compare(recordings, pattern, condition)
        everywhere = found.shared > 0 and found.clones == {recording.clone for recording in recordings}
        verb = "As it must" if everywhere else "It should be seen that"
        return Verdict(f"{verb}, {what}: {found.shared} of {found.compared} blocks shared{_until(found)}.",
                       everywhere, _numbers(found) | {"control": True})
    return check


def all_clones_do_the_same(pattern: str, what: str, first: int = 1000) -> Check:
    """A control that leaves no room for chance: output for output, every clone has the same."""
    def check(recordings: list[Recording]) -> Verdict:
        firsts = [
            {name: [record.output for record in records][:first]
             for name, records in select(recording, pattern, after_resume).items()}
            for recording in recordings
        ]
        complete = bool(firsts[0]) and all(len(outputs) == first for streams in firsts for outputs in streams.values())
        holds = complete and all(streams == firsts[0] for streams in firsts)
        verb = "As it must" if holds else "It should be seen that"
        return Verdict(f"{verb}, {what} give all {len(firsts)} clones the same: each of the first {first} outputs "
                       "after the resume.", holds, {"control": True, "outputs": sum(map(len, firsts[0].values()))})
    return check


def kernel_repeats(pattern: str) -> Check:
    """A control: the scenario is about a kernel that has not reseeded, so that must be the case."""
    return something_is_shared(pattern, "the kernel's getrandom repeats itself in the clones")


def clocks_are_equal(worker: str) -> Check:
    """Where clones read the same time, only real entropy tells them apart: how many do is worth knowing.

    Now and then an interrupt comes some thousand instructions earlier in one clone than in another, and their clocks
    part. Among four clones at least two are nearly always equal.
    """
    def check(recordings: list[Recording]) -> Verdict:
        ticks = [recording.facts(f"{worker}/facts").get("resumed_ticks") for recording in recordings]
        most = max(ticks.count(one) for one in ticks)
        if most < 2:
            return Verdict("The clones' clocks happened to part, so this run proves less than it could.", None)
        return Verdict(f"{most} of {len(ticks)} clones read the very same time stamp counter after the resume.", True,
                       {"clones_with_equal_clocks": most})
    return check


def first_output_is_new(pattern: str) -> Check:
    """The very first output after the resume of every generator differs in every clone."""
    def check(recordings: list[Recording]) -> Verdict:
        firsts = [
            Recording(recording.clone, {
                name: first_after_resume(records) for name, records in select(recording, pattern, after_resume).items()
            })
            for recording in recordings
        ]
        found = compare(firsts, pattern)
        holds = found.total == 0 and found.shortest_stream == 1 and len(found.clones) == len(recordings)
        state = "is already new" if holds else f"is not new ({found.shared} of {found.compared} blocks shared)"
        return Verdict(f"The first output after the resume {state}, of all {found.outputs} generators in all clones.",
                       holds, {"first_outputs": found.outputs, "first_blocks_shared": found.total})
    return check


def cut_requests_differ(pattern: str) -> Check:
    """A request that was under way at the snapshot is done again: its last look sees the change."""
    def check(recordings: list[Recording]) -> Verdict:
        found = compare(recordings, pattern, cut_in_half)
        if not found.compared:
            return Verdict("The snapshot fell into no large request this time: nothing is learned about those it cuts.",
                           None, _numbers(found) | {"counted_before": True})
        if found.total and _ended_before(recordings, pattern):
            return Verdict("The snapshot fell between the end of a large request and the look at who was cloned: all "
                           "clones read the same time stamp counter at its end. Nothing is learned about those it cuts.", None,
                           _numbers(found) | {"measured": True})
        text = "is done again and differs in every clone" if not found.total else "comes out the same in clones"
        return Verdict(f"A 64 KiB request that the snapshot cuts in half {text} ({found.compared} blocks compared, "
                       f"{found.total} shared).", not found.total, _numbers(found) | {"counted_before": True})
    return check


def _ended_before(recordings: list[Recording], pattern: str) -> bool:
    """Whether the request had returned when the snapshot was taken, and only the look at who was cloned had not: QEMU
    stops more often at that look, which leaves its fast path, than its share of the time would make it.

    The time stamp between the two is then a part of the snapshot, and the same in all clones to the tick. With ordinary
    clocks it never is after the resume; with equal ones it may be, so the machines with ordinary clocks prove more here.
    """
    ends = {tuple(recording.facts(f"{name}/summary").get("cut_ended") for name in
                  select(recording, pattern, cut_in_half)) for recording in recordings}
    return len(ends) == 1


def cut_requests_are_measured(pattern: str) -> Check:
    """A request under way at the snapshot: without a witness that sees the copy, or anything that tells the clones
    apart, nothing is promised about it."""
    def check(recordings: list[Recording]) -> Verdict:
        found = compare(recordings, pattern, cut_in_half)
        if not found.compared:
            return Verdict("The snapshot fell into no large request this time: nothing is learned about those it cuts.",
                           None)
        return Verdict(f"Measured: of {found.compared} blocks of 64 KiB requests that the snapshot cuts in half, "
                       f"{found.shared} are shared.", None, _numbers(found) | {"measured": True, "cut": True})
    return check


def what_it_may_share_is_reported(pattern: str, worker: str) -> Check:
    """Where the library cannot tell the clones apart yet, it says so; how much they then share is measured."""
    def check(recordings: list[Recording]) -> Verdict:
        found = compare(recordings, pattern, unsettled)
        reports = [recording.facts(f"{worker}/{generator}/protection-resumed") for recording in recordings
                   for generator in ("snaprng-thread", "snaprng-owned-plain")]
        silent = [report for report in reports if not _admits(report)]
        numbers = _numbers(found) | {"measured": True, "window": True}
        if silent:
            return Verdict(f"The library should report that it cannot tell the clones apart yet, and says {silent[0]}.",
                           False, numbers)
        said = " and ".join(sorted({f"diversity {report['diversity']}, not settled" for report in reports}))
        return Verdict(f"The library reports: {said}. Measured: of {found.compared} blocks until the settling time is "
                       f"over, {found.shared} are shared{_until(found)}.", True, numbers)
    return check


def _admits(report: dict[str, str]) -> bool:
    """Whether it claims nothing that tells clones apart for certain, and not that the time for that is over."""
    return report.get("settled") == "false" and report.get("diversity") in ("none", "kernel made to reseed")


def measured(pattern: str, what: str, condition: Condition = after_resume, mark: str = "measured") -> Check:
    """A number to know, not a promise; `mark` is for who looks for it among the others."""
    def check(recordings: list[Recording]) -> Verdict:
        found = compare(recordings, pattern, condition)
        return Verdict(f"Measured: of {found.compared} blocks ({what}), {found.shared} are shared{_until(found)}.",
                       None, _numbers(found) | {"measured": True, mark: True})
    return check


def measured_with_its_report(pattern: str, stream: str, what: str, condition: Condition) -> Check:
    """A number to know, and what the library said of itself meanwhile."""
    def check(recordings: list[Recording]) -> Verdict:
        found = compare(recordings, pattern, condition)
        reports = [recording.facts(f"{stream}/protection-resumed") for recording in recordings]
        said = " and ".join(sorted({f"level {one.get('level')}, diversity {one.get('diversity')}, "
                                    f"settled {one.get('settled')}" for one in reports}))
        return Verdict(f"Measured: of {found.compared} blocks ({what}), {found.shared} are shared{_until(found)}; "
                       f"meanwhile it reports {said}.", None, _numbers(found) | {"measured": True})
    return check


def level_is(stream: str, level: str) -> Check:
    """The library reports this level, before and after the resume."""
    def check(recordings: list[Recording]) -> Verdict:
        seen = {report.get("level", "no report") for report in _reports(recordings, stream)}
        return Verdict(f"{stream} reports level {' and '.join(sorted(seen))} (expected: {level}).", seen == {level},
                       {"levels": sorted(seen)})
    return check


def witness_is(stream: str, witness: str, state: str) -> Check:
    """The library reports this witness in this state, before and after the resume."""
    def check(recordings: list[Recording]) -> Verdict:
        seen = {report.get(witness, "no report") for report in _reports(recordings, stream)}
        return Verdict(f"{stream} reports the witness {witness} {' and '.join(sorted(seen))} (expected: {state}).",
                       seen == {state}, {"witness": witness, "states": sorted(seen)})
    return check


def openssl_runs_on(generator: str, worker: str) -> Check:
    """OpenSSL names the generator of this worker; and if it is the provider's, its own counts are what was asked."""
    def check(recordings: list[Recording]) -> Verdict:
        reports = _reports(recordings, f"{worker}/RAND_bytes")
        seen = {report.get("generator", "no report") for report in reports}
        if seen != {generator}:
            return Verdict(f"RAND_bytes of {worker} runs on {' and '.join(sorted(seen))} (expected: {generator}).",
                           False)
        if {report["provider"] for report in reports} == {"default"}:
            return Verdict(f"RAND_bytes of {worker} runs on {generator}, as OpenSSL has it.", True)
        counts = [recording.facts(f"{worker}/RAND_bytes/protection-end") for recording in recordings]
        counted = [(int(count["bytes"]), int(count["failures"])) for count in counts]
        asked = [(_bytes_asked_for(recording, f"{worker}/RAND_*"), 0) for recording in recordings]
        agree = counted == asked and all(number > 0 for number, _ in asked)
        return Verdict(f"RAND_bytes of {worker} runs on {generator}: by its own count it served {_each(counted)} bytes "
                       f"in the clones, of {_each(asked)} that were asked for.", agree,
                       {"counted": counted, "asked": asked})
    return check


def _bytes_asked_for(recording: Recording, pattern: str) -> int:
    """In all requests, also those that were not written down."""
    return sum(
        int(recording.facts(f"{name}/summary")["asked"]) * len(records[0].output)
        for name, records in select(recording, pattern, lambda record: True).items()
    )


def _each(pairs: list[tuple[int, int]]) -> str:
    return ", ".join(str(number) for number, _ in pairs)


def generation_ends(worker: str) -> Check:
    """A generation that was taken before the snapshot is current until the snapshot, and never after the resume."""
    def check(recordings: list[Recording]) -> Verdict:
        answers = {recording.clone: recording.facts(f"{worker}/generation") for recording in recordings}
        wrong = [f"clone {clone}: {said}" for clone, said in answers.items() if not _ends(said)]
        if wrong:
            return Verdict("A generation from before the snapshot should be current there and never after the resume, "
                           f"and one that is taken then should stay current; {'; '.join(wrong)}", False)
        before, after = (sum(int(said[f"asked_{when}"]) for said in answers.values()) for when in ("before", "after"))
        return Verdict(f"A generation from before the snapshot is current there ({before} answers) and never after the "
                       f"resume ({after} answers); one that is taken then stays current.", True,
                       {"asked_before": before, "asked_after": after})
    return check


def _ends(said: dict[str, str]) -> bool:
    asked = all(int(said.get(f"asked_{when}", "0")) > 0 for when in ("before", "after"))
    return asked and (said["ended_before"], said["current_after"], said["renewed"]) == ("0", "0", "1")


def diversity_is(stream: str, expected: str) -> Check:
    """The library reports that this went into the rekey after the resume."""
    def check(recordings: list[Recording]) -> Verdict:
        seen = {recording.facts(f"{stream}/protection-resumed").get("diversity", "no report")
                for recording in recordings}
        return Verdict(f"{stream} reports diversity: {' and '.join(sorted(seen))} (expected: {expected}).",
                       seen == {expected}, {"diversity": sorted(seen)})
    return check


def reports_no_diversity(stream: str) -> Check:
    """With nothing that differs between clones, the report says so."""
    def check(recordings: list[Recording]) -> Verdict:
        seen = {recording.facts(f"{stream}/protection-resumed").get("diversity", "no report")
                for recording in recordings}
        return Verdict(f"{stream} reports diversity {' and '.join(sorted(seen))} right after the resume "
                       "(expected: none).", seen == {"none"}, {"diversity": sorted(seen)})
    return check


def refuses_until_settled(worker: str, seconds: float) -> Check:
    """`Require` answers NotYetDiverse from the resume until the settling time is over, then serves for good."""
    def check(recordings: list[Recording]) -> Verdict:
        served, wrong = [], []
        for recording in recordings:
            outcomes = _outcomes(recording, worker)
            refusals = {outcome for _, outcome in outcomes[:-1]}
            if len(outcomes) < 2 or outcomes[-1][1] != "served" or refusals != {"NotYetDiverse"}:
                wrong.append(f"clone {recording.clone}: {outcomes}")
            elif outcomes[-1][0] < seconds * 1000 - 100:  # the worker pauses up to 50 ms between requests
                wrong.append(f"clone {recording.clone}: served after {outcomes[-1][0]:.0f} ms")
            else:
                served.append(outcomes[-1][0] / 1000)
        if wrong:
            return Verdict(f"Require should refuse with NotYetDiverse for {seconds:.0f} s and then serve; "
                           + "; ".join(wrong), False)
        return Verdict(f"Require refuses with NotYetDiverse until {min(served):.2f} to {max(served):.2f} s after the "
                       "resume, and then serves.", True, {"served_after_seconds": served})
    return check


def workers_are_complete(expected: dict[str, dict[str, int]]) -> Check:
    """Every worker ended well and brought what it should: a generator that fell silent must not look unshared."""
    def check(recordings: list[Recording]) -> Verdict:
        wrong = []
        for recording in recordings:
            for worker, streams in expected.items():
                wrong += [f"clone {recording.clone}: {text}" for text in _incomplete(recording, worker, streams)]
        count = sum(len(streams) for streams in expected.values())
        if wrong:
            return Verdict("The recordings are not complete: " + "; ".join(wrong[:6]), False, {"wrong": wrong})
        return Verdict(f"Every worker recorded all it should ({count} streams in each clone), without an error.", True)
    return check


def _incomplete(recording: Recording, worker: str, streams: dict[str, int]) -> list[str]:
    wrong = []
    status = recording.texts.get(f"{worker}/exit", "no exit status")
    if status != "exit status: 0":
        wrong.append(f"{worker}: {status}")
    if f"{worker}/error" in recording.texts:
        wrong.append(f"{worker}: {recording.texts[f'{worker}/error']}")
    for stream, count in streams.items():
        name = f"{worker}/{stream}"
        have = sum(map(after_resume, recording.streams.get(name, [])))
        if have < count:
            wrong.append(f"{name}: {have} outputs of {count}")
        summary = recording.facts(f"{name}/summary")
        # The refusals of Require are judged by a check of their own.
        if summary.get("errors", "0") != "0" and not stream.endswith("require"):
            wrong.append(f"{name}: {summary['errors']} errors, last {summary.get('last_error')}")
    return wrong


def _reports(recordings: list[Recording], stream: str) -> list[dict[str, str]]:
    """What the library said of itself in each clone, before and after the resume."""
    return [recording.facts(f"{stream}/protection-{moment}")
            for recording in recordings for moment in ("before", "resumed", "end")]


def _outcomes(recording: Recording, worker: str) -> list[tuple[float, str]]:
    """The changes in what Require answered after the resume: milliseconds and answer."""
    lines = [line.split(" ", 2) for line in recording.texts.get(f"{worker}/attempts", "").splitlines()]
    return [(float(milliseconds), outcome) for phase, milliseconds, outcome in lines if phase == "after"]


def _numbers(found: Comparison) -> dict:
    numbers = asdict(found)
    numbers["clones"] = sorted(found.clones)
    return numbers


def _count(found: Comparison) -> str:
    return f"{found.compared} blocks"


def _until(found: Comparison) -> str:
    return "" if found.last_shared_ms is None else f", the last at {found.last_shared_ms:+.1f} ms"


def _where(found: Comparison) -> str:
    worst = sorted(found.shared_streams.items(), key=lambda item: -item[1])[:4]
    return f"{_until(found)} ({', '.join(f'{name}: {count}' for name, count in worst)})" if worst else ""
