"""One QEMU process: start it, pause it, save it to a file, load it from one, talk to the guest."""

import json
import mmap
import re
import select
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from .errors import GuestFailure, GuestSilence
from .gdb import PhysicalMemory
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


class Machine:
    """A QEMU process. With `saved`, it waits, paused, with that snapshot loaded."""

    def __init__(self, folder: Path, toolchain: Toolchain, image: Path, shape: Shape, saved: Path | None = None,
                 patience: float = 60.0):
        self.folder = folder
        self.patience = patience
        self.cpus = shape.cpus
        folder.mkdir(parents=True)
        self.truth = folder / "truth"
        self.truth.write_bytes(b"\0" * TRUTH_SIZE)
        self.errors = open(folder / "qemu.log", "wb")
        command = toolchain.qemu_command() + shape.options() + self._devices(toolchain, image)
        if saved is not None:
            command += ["-S", "-incoming", "defer"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.errors, stderr=self.errors)
        self._memory: PhysicalMemory | None = None
        self._sockets: list[socket.socket] = []
        try:
            self.monitor = self._connect("qmp").makefile("rwb")
            self._reply()  # the greeting
            self.command("qmp_capabilities")
            self.control_socket = self._connect("ctl")
            self.control = self.control_socket.makefile("rwb")
            if saved is not None:
                self._load(saved)
        except BaseException:
            self.end()
            raise

    def __enter__(self) -> "Machine":
        return self

    def __exit__(self, *_) -> None:
        self.end()

    def _devices(self, toolchain: Toolchain, image: Path) -> list[str]:
        folder = self.folder
        return [
            "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
            "-kernel", str(toolchain.kernel), "-initrd", str(image),
            # no_timer_check: a slow emulator fails the kernel's test of its timer, which needs a few ticks in time.
            "-append", "console=ttyS0 quiet panic=-1 no_timer_check",
            "-serial", f"file:{folder / 'console.log'}",
            "-qmp", f"unix:{folder / 'qmp'},server=on,wait=off",
            "-gdb", f"unix:{folder / 'gdb'},server=on,wait=off",
            "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=ctl,path={folder / 'ctl'},server=on,wait=off",
            "-device", "virtserialport,chardev=ctl,name=ctl",
            # master=on: the page belongs to the machine and is saved with it; without, a snapshot is refused.
            "-object", f"memory-backend-file,id=truth,mem-path={self.truth},size={TRUTH_SIZE},share=on",
            "-device", "ivshmem-plain,memdev=truth,master=on",
        ]

    def _connect(self, name: str) -> socket.socket:
        deadline = time.monotonic() + 30
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(str(self.folder / name))
                break
            except OSError as error:
                connection.close()
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise GuestFailure(f"QEMU did not start ({error}): {self.last_words()}") from error
                time.sleep(0.02)
        connection.settimeout(self.patience)
        self._sockets.append(connection)
        return connection

    def command(self, name: str, **arguments):
        """One QMP command and its answer."""
        self.monitor.write(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
        self.monitor.flush()
        while True:
            reply = self._reply()
            if "return" in reply:
                return reply["return"]
            if "error" in reply:
                raise GuestFailure(f"QEMU refused {name}: {reply['error'].get('desc')}")

    def _reply(self) -> dict:
        line = self.monitor.readline()
        if not line:
            raise GuestFailure(f"QEMU ended: {self.last_words()}")
        return json.loads(line)

    def pause(self) -> None:
        self.command("stop")

    def resume(self) -> None:
        self.command("cont")

    def save(self, path: Path) -> None:
        """Save the paused machine to a file."""
        self._unlimited()
        self.command("migrate", uri=f"file:{path}")
        self._wait_for_migration()

    def _load(self, path: Path) -> None:
        self._unlimited()
        self.command("migrate-incoming", uri=f"file:{path}")
        self._wait_for_migration()

    def _unlimited(self) -> None:
        self.command("migrate-set-parameters", **{"max-bandwidth": 1 << 40})

    def _wait_for_migration(self) -> None:
        deadline = time.monotonic() + self.patience
        while time.monotonic() < deadline:
            status = self.command("query-migrate")
            if status.get("status") == "completed":
                return
            if status.get("status") in ("failed", "cancelled"):
                raise GuestFailure(f"saving or loading the machine failed: {status.get('error-desc', status)}")
            time.sleep(0.02)
        raise GuestFailure("saving or loading the machine took too long")

    def memory(self) -> PhysicalMemory:
        """The guest's physical memory. Asking for it pauses the guest, if it is not paused."""
        if self._memory is None:
            self._memory = PhysicalMemory(self.folder / "gdb", self.patience)
        return self._memory

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
        line = self._heard(self.control.readline)
        if not line.endswith(b"\n"):
            raise GuestFailure(f"the guest ended: {self.last_words()}")
        return line.decode().rstrip("\n")

    def bytes(self, length: int) -> bytes:
        """The next `length` bytes the guest sends."""
        content = self._heard(self.control.read, length)
        if len(content) != length:
            raise GuestFailure(f"the guest ended while sending: {self.last_words()}")
        return content

    def listen_for(self, patience: float) -> None:
        """How long the guest may stay silent from now on."""
        self.patience = patience
        self.control_socket.settimeout(patience)

    def _heard(self, listen, *arguments) -> bytes:
        try:
            return listen(*arguments)
        except TimeoutError as error:
            raise GuestSilence(f"{self.folder.name}: the guest said nothing for {self.patience:.0f} s; "
                               f"{self.state()}; {self.last_words()}") from error

    def state(self) -> str:
        """What the machine is doing, to tell a hanging emulator or kernel (CPL=0) from a hanging program (CPL=3)."""
        seen = [self.command("query-status")["status"]]
        for cpu in range(self.cpus):
            samples = set()
            for _ in range(5):
                question = {"command-line": "info registers", "cpu-index": cpu}
                registers = self.command("human-monitor-command", **question)
                samples.add(" ".join(re.findall(r"\b(?:RIP=\w+|CPL=\d|HLT=\d)", registers)))
                time.sleep(0.2)
            seen.append(f"CPU {cpu} at {' or '.join(sorted(samples))}")
        return ", ".join(seen)

    def tell(self, text: str) -> None:
        self.control.write(text.encode())
        self.control.flush()

    def last_words(self) -> str:
        """The end of what the guest's console and QEMU printed."""
        words = []
        for name in ("console.log", "qemu.log"):
            path = self.folder / name
            text = path.read_text(errors="replace").strip() if path.exists() else ""
            if text:
                words.append(f"{name}: " + " / ".join(text.splitlines()[-12:]))
        return "; ".join(words) or "it left no message"

    def end(self) -> None:
        if self._memory is not None:
            self._memory.close()
        for connection in self._sockets:
            connection.close()
        self.process.kill()
        self.process.wait()
        self.errors.close()
