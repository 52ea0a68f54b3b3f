"""Comparing what the clones recorded.

The unit is a block of 16 bytes: two independent generators agree on one with probability 2^-128, so among the few
hundred thousand blocks of a scenario (2^19) an accidental match has probability below 2^-90. One match is a defect.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from .recording import AFTER, AGENT_MOVED, BLOCK, CUT, Record, Recording

Condition = Callable[[Record], bool]


def after_resume(record: Record) -> bool:
    """The request began after the resume; one that straddles the snapshot is no evidence and does not count."""
    return bool(record.flags & AFTER)


def before_agent(record: Record) -> bool:
    return record.flags & (AFTER | AGENT_MOVED) == AFTER


def after_agent(record: Record) -> bool:
    return record.flags & (AFTER | AGENT_MOVED) == AFTER | AGENT_MOVED


def within(seconds: float) -> Condition:
    """The request began after the resume and no later than this."""
    return lambda record: after_resume(record) and record.milliseconds < seconds * 1000


def unsettled(record: Record) -> bool:
    """The request began after the resume and before the settling time was over."""
    return within(60)(record)


def cut_in_half(record: Record) -> bool:
    return bool(record.flags & CUT)


def first_after_resume(records: list[Record]) -> list[Record]:
    """The first output of a stream that was asked for after the resume."""
    return [record for record in records if after_resume(record)][:1]


def before_snapshot(record: Record) -> bool:
    return not record.flags & (AFTER | CUT)


@dataclass
class Comparison:
    """What was compared and what was found twice."""

    compared: int = 0  # blocks
    outputs: int = 0
    shared: int = 0  # blocks found in more than one clone
    repeated: int = 0  # blocks found again in the same clone, or handed out before the snapshot
    shifted: int = 0  # runs that match at another alignment than 16 bytes
    last_shared_ms: float | None = None
    shared_streams: dict[str, int] = field(default_factory=dict)  # blocks shared, by the stream they were found in
    shortest_stream: int | None = None  # outputs in the clone's stream that has the fewest
    clones: set[int] = field(default_factory=set)

    @property
    def total(self) -> int:
        return self.shared + self.repeated + self.shifted


def select(recording: Recording, pattern: str, condition: Condition) -> dict[str, list[Record]]:
    """The records of the streams named by `pattern` (alternatives separated by spaces) that meet the condition."""
    return {
        name: [record for record in records if condition(record)]
        for name, records in recording.streams.items()
        if any(fnmatchcase(name, one) for one in pattern.split())
    }


def compare(recordings: list[Recording], pattern: str, condition: Condition = after_resume) -> Comparison:
    """Look for blocks that two clones, or one clone twice, handed out."""
    result = Comparison()
    owner: dict[bytes, int] = {}
    chosen = {recording.clone: select(recording, pattern, condition) for recording in recordings}
    for clone, streams in chosen.items():
        for name, records in streams.items():
            _note_size(result, clone, records)
            for record in records:
                for block in _blocks(record.output):
                    _note_block(result, owner, block, clone, name, record)
    _look_back(result, owner, recordings, pattern)
    _look_shifted(result, owner, chosen)
    return result


def _note_size(result: Comparison, clone: int, records: list[Record]) -> None:
    result.outputs += len(records)
    fewest = result.shortest_stream
    result.shortest_stream = len(records) if fewest is None else min(fewest, len(records))
    if records:
        result.clones.add(clone)


def _note_block(result: Comparison, owner: dict[bytes, int], block: bytes, clone: int, name: str,
                record: Record) -> None:
    result.compared += 1
    first = owner.get(block)
    if first is None:
        owner[block] = clone
    elif first == clone:
        result.repeated += 1
    else:
        result.shared += 1
        result.shared_streams[name] = result.shared_streams.get(name, 0) + 1
        known = [time for time in (result.last_shared_ms, record.milliseconds) if time is not None]
        result.last_shared_ms = max(known, default=None)


def _look_back(result: Comparison, owner: dict[bytes, int], recordings: list[Recording], pattern: str) -> None:
    """Count blocks that were handed out before the snapshot too; that part of the logs is the same in all clones."""
    for records in select(recordings[0], pattern, before_snapshot).values():
        result.repeated += sum(block in owner for record in records for block in _blocks(record.output))


def _look_shifted(result: Comparison, owner: dict[bytes, int], chosen: dict[int, dict[str, list[Record]]]) -> None:
    """Count runs that match a block at another alignment, as when one clone is some bytes ahead of the other."""
    for streams in chosen.values():
        for records in streams.values():
            text = b"".join(record.output for record in records)
            for shift in range(1, BLOCK):
                result.shifted += sum(
                    text[at:at + BLOCK] in owner for at in range(shift, len(text) - BLOCK + 1, BLOCK)
                )


def _blocks(output: bytes) -> Iterator[bytes]:
    return (output[at:at + BLOCK] for at in range(0, len(output) - BLOCK + 1, BLOCK))
