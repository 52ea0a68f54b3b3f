"""What one clone's guest wrote down, as it arrives over the control port (the format is in guest/src/record.rs)."""

import re
import struct
from dataclasses import dataclass, field

from .errors import GuestFailure
from .qemu import Machine

AFTER = 1  # the request began after the resume
AGENT_MOVED = 2  # the request began after the agent had moved its page
CUT = 4  # the request began before the snapshot and ended after the resume
BLOCK = 16
_HEADER = struct.Struct("<IIQ")


@dataclass(frozen=True)
class Record:
    """One output."""

    flags: int
    index: int
    milliseconds: float | None  # since the worker knew of the resume; None where no time was taken
    output: bytes


@dataclass
class Recording:
    """Everything one clone recorded; streams and texts are named `worker/stream`."""

    clone: int
    streams: dict[str, list[Record]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    def facts(self, name: str) -> dict[str, str]:
        """The `key=value` lines at the head of a text."""
        head = self.texts.get(name, "").split("\n\n")[0]
        return dict(line.split("=", 1) for line in head.splitlines() if "=" in line)

    def kernel_reseed_milliseconds(self, worker: str) -> float | None:
        """When the kernel reseeded because of the clone, counted from the moment `worker` knew of the resume."""
        log = self.texts.get("init/kmsg", "")
        stamp = r"^\d+,\d+,(\d+),[^;]*;"  # priority, number, microseconds
        clock = re.findall(stamp + r"guest: monotonic (\d+)", log, re.MULTILINE)
        reseeds = re.findall(stamp + r"random: crng reseeded due to virtual machine fork", log, re.MULTILINE)
        resumed = self.facts(f"{worker}/facts").get("resumed_ns")
        if not clock or not reseeds or resumed is None:
            return None
        message, monotonic = (int(value) for value in clock[-1])
        return (int(reseeds[-1]) - message) / 1e3 + (monotonic - int(resumed)) / 1e6


def receive(machine: Machine, clone: int) -> Recording:
    """Read frames until the guest says that it is done."""
    recording = Recording(clone)
    raw: dict[str, tuple[int, bytes]] = {}
    while (line := machine.line()) != "end":
        words = line.split(" ")
        if len(words) != 6 or words[0] != "frame":
            raise GuestFailure(f"the guest sent {line!r} where a frame should begin")
        name, content = f"{words[1]}/{words[2]}", machine.bytes(int(words[5]))
        if words[3] == "text":
            recording.texts[name] = content.decode(errors="replace")
        else:
            raw[name] = (int(words[4]), content)
    for name, (width, content) in raw.items():
        recording.streams[name] = _records(recording.facts(f"{name.split('/')[0]}/facts"), width, content)
    return recording


def _records(facts: dict[str, str], width: int, content: bytes) -> list[Record]:
    zero, rate = int(facts["resumed_ticks"]), float(facts["ticks_per_ms"])
    records = []
    for at in range(0, len(content), _HEADER.size + width):
        flags, index, ticks = _HEADER.unpack_from(content, at)
        output = content[at + _HEADER.size:at + _HEADER.size + width]
        records.append(Record(flags, index, (ticks - zero) / rate, output))
    return records
