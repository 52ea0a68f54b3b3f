"""Writing a guest's physical memory while it is paused, through QEMU's gdb socket.

QEMU's vmclock device has no generation counter. To give the guest one, the harness writes the device's page the way
a hypervisor does, by the seq_count protocol, before the first instruction of a clone runs.
"""

import socket
from pathlib import Path

from .errors import GuestFailure

# linux/vmclock-abi.h
SEQ_COUNT = 0x0C
DISRUPTION_MARKER = 0x10
FLAGS = 0x18
GENERATION_COUNTER = 0x68
COUNTER_PRESENT = 0x100


class PhysicalMemory:
    """A connection to the gdb socket. Connecting pauses the guest; closing would resume it, so it stays open."""

    def __init__(self, path: Path, timeout: float):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(str(path))
        self.buffer = b""
        self._ask("?")
        if self._ask("Qqemu.PhyMemMode:1") != "OK":
            raise GuestFailure("QEMU's gdb socket offers no access to physical memory")

    def read(self, address: int, length: int) -> int:
        """`length` bytes as a little-endian number."""
        answer = self._ask(f"m{address:x},{length:x}")
        if len(answer) != 2 * length:
            raise GuestFailure(f"physical memory at {address:#x} cannot be read: {answer!r}")
        return int.from_bytes(bytes.fromhex(answer), "little")

    def write(self, address: int, value: int, length: int) -> None:
        content = value.to_bytes(length, "little").hex()
        if self._ask(f"M{address:x},{length:x}:{content}") != "OK":
            raise GuestFailure(f"physical memory at {address:#x} cannot be written")

    def close(self) -> None:
        self.socket.close()

    def _ask(self, packet: str) -> str:
        body = packet.encode()
        self.socket.sendall(b"$" + body + b"#%02x" % (sum(body) % 256))
        while True:
            start = self.buffer.find(b"$")
            end = self.buffer.find(b"#", start)
            if start >= 0 and end >= 0 and len(self.buffer) >= end + 3:
                answer = self.buffer[start + 1:end].decode()
                self.buffer = self.buffer[end + 3:]
                self.socket.sendall(b"+")
                return answer
            more = self.socket.recv(4096)
            if not more:
                raise GuestFailure("QEMU closed its gdb socket")
            self.buffer += more


class VmClock:
    """A hypervisor's pen on the vmclock page of a paused guest."""

    def __init__(self, memory: PhysicalMemory, address: int):
        self.memory = memory
        self.address = address
        if memory.read(address, 4) != 0x4B4C4356:
            raise GuestFailure(f"there is no vmclock page at {address:#x}")

    def marker(self) -> int:
        return self.memory.read(self.address + DISRUPTION_MARKER, 8)

    def counter(self) -> int:
        return self.memory.read(self.address + GENERATION_COUNTER, 8)

    def announce_counter(self) -> None:
        """Set the flag that says the counter is there."""
        flags = self.memory.read(self.address + FLAGS, 8)
        self._update(FLAGS, flags | COUNTER_PRESENT)

    def set_counter(self, value: int) -> None:
        self._update(GENERATION_COUNTER, value)

    def _update(self, field: int, value: int) -> None:
        seq = self.memory.read(self.address + SEQ_COUNT, 4)
        self.memory.write(self.address + SEQ_COUNT, (seq | 1) & 0xFFFFFFFF, 4)
        self.memory.write(self.address + field, value, 8)
        self.memory.write(self.address + SEQ_COUNT, ((seq | 1) + 1) & 0xFFFFFFFF, 4)
        if self.memory.read(self.address + field, 8) != value:
            raise GuestFailure(f"a write to the vmclock page at {self.address:#x} had no effect")
