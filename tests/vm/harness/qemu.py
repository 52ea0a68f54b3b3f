"""A virtual machine of the tests: its shape, its devices, and how one talks to the guest."""

import mmap
import select
from dataclasses import dataclass
from pathlib import Path

from .emulator import Emulator
from .errors import GuestFailure
from .packages import Toolchain

TRUTH_SIZE = 4096
READY = 64  # where the workers' words begin in the truth page (guest/src/truth.rs)
MEMORY_MB = 192


@dataclass(frozen=True)
class Shape:
    """What kind of machine: everything in it must be the same in the original and its clones."""

    cpus: int = 2
    cpu_randomness: bool = True
    guid: str = "auto"
    # The guest's clocks and TSC advance with the instructions it executes (32 ns each), not with time: clones read the
    # same times as long as they do the same, and no jitter between them tells them apart.
    equal_clocks: bool = False
    vmclock: bool = True  # the device

    def options(self) -> list[str]:
        cpu = "max" if self.cpu_randomness else "max,-rdrand,-rdseed"
        clocks = ["-icount", "shift=5,sleep=off", "-rtc", "clock=vm"] if self.equal_clocks else []
        vmclock = ["-device", "vmclock"] if self.vmclock else []
        return [*clocks, "-machine", "q35", "-accel", "tcg", "-cpu", cpu, "-smp", str(self.cpus), "-m", str(MEMORY_MB),
                "-device", f"vmgenid,guid={self.guid}", *vmclock]


class Machine(Emulator):
    """With `saved`, it waits, paused, with that snapshot loaded."""

    def __init__(self, folder: Path, toolchain: Toolchain, image: Path, shape: Shape, saved: Path | None = None,
                 patience: float = 60.0):
        folder.mkdir(parents=True)
        self.truth = folder / "truth"
        self.truth.write_bytes(b"\0" * TRUTH_SIZE)
        options = shape.options() + self._devices(folder, toolchain, image)
        super().__init__(folder, toolchain, options, saved, shape.cpus, patience)

    def _connect_all(self) -> None:
        self.control_socket = self._connect("ctl")
        self.control = self.control_socket.makefile("rwb")

    def _devices(self, folder: Path, toolchain: Toolchain, image: Path) -> list[str]:
        return [
            "-kernel", str(toolchain.kernel), "-initrd", str(image),
            # no_timer_check: a slow emulator fails the kernel's test of its timer, which needs a few ticks in time.
            "-append", "console=ttyS0 quiet panic=-1 no_timer_check",
            "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=ctl,path={folder / 'ctl'},server=on,wait=off",
            "-device", "virtserialport,chardev=ctl,name=ctl",
            # master=on: the page belongs to the machine and is saved with it; without, a snapshot is refused.
            "-object", f"memory-backend-file,id=truth,mem-path={self.truth},size={TRUTH_SIZE},share=on",
            "-device", "ivshmem-plain,memdev=truth,master=on",
        ]

    def write_truth(self, clone: int) -> None:
        """Tell the guest which clone it is, while it is paused."""
        with open(self.truth, "r+b") as file, mmap.mmap(file.fileno(), TRUTH_SIZE) as page:
            page[0:4] = clone.to_bytes(4, "little")

    def not_ready(self, workers: int) -> list[int]:
        """The numbers of those workers that are not in their loops yet, as the guest wrote them into the truth page."""
        page = self.truth.read_bytes()
        words = [page[at:at + 4] for at in range(READY, READY + 4 * workers, 4)]
        return [number for number, word in enumerate(words) if word == bytes(4)]

    def has_spoken(self) -> bool:
        """Whether there is something to read from the guest."""
        return bool(select.select([self.control_socket], [], [], 0)[0])

    def line(self) -> str:
        """The next line the guest says."""
        line = self.heard(self.control.readline)
        if not line.endswith(b"\n"):
            raise GuestFailure(f"the guest ended: {self.last_words()}")
        return line.decode().rstrip("\n")

    def bytes(self, length: int) -> bytes:
        """The next `length` bytes the guest sends."""
        content = self.heard(self.control.read, length)
        if len(content) != length:
            raise GuestFailure(f"the guest ended while sending: {self.last_words()}")
        return content

    def listen_for(self, patience: float) -> None:
        """How long the guest may stay silent from now on."""
        self.patience = patience
        self.control_socket.settimeout(patience)

    def tell(self, text: str) -> None:
        self.control.write(text.encode())
        self.control.flush()
