"""The machine of this test: Debian in memory, a network card whose packets are written down, and two serial ports."""

import contextlib
import json
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from harness.emulator import Emulator
from harness.errors import GuestFailure
from harness.gdb import VmClock
from harness.packages import Toolchain

from . import pcap

MEMORY_MB = 384
#: Where QEMU's vmclock page is.
VMCLOCK = 0xFEFFB000
#: The VMGenID of a machine that nobody cloned.
ORIGINAL = "8ff1e3a5-1d0e-4a57-9a0c-3b6c6a0d5a11"
CLONE = "auto"

#: How long a loaded machine may be silent.
PATIENCE = 90.0
#: The ports' names.
CONTROL, AGENT = "ctl", "org.snapsafe.0"


@dataclass(frozen=True)
class Done:
    """A command that was run in the machine."""

    code: int
    out: str
    err: str
    microseconds: int


class Machine(Emulator):
    """With `saved`, it waits, paused, with that snapshot loaded."""

    def __init__(self, folder: Path, toolchain: Toolchain, image: Path, host, guid: str, saved: Path | None = None):
        folder.mkdir(parents=True)
        self.capture = folder / "wire.pcap"
        options = [
            "-machine", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", str(MEMORY_MB),
            "-device", f"vmgenid,guid={guid}", "-device", "vmclock",
            "-kernel", str(toolchain.kernel), "-initrd", str(image),
            # no_timer_check: a slow emulator fails the kernel's test of its timer, which needs a few ticks in time.
            "-append", f"console=ttyS0 quiet panic=-1 no_timer_check net.ifnames=0 mitigations=off "
                       f"systemwide.udp={host.udp_port} systemwide.tcp={host.tcp_port}",
            "-device", "virtio-serial-pci",
            *self._port(folder, CONTROL), *self._port(folder, AGENT),
            "-netdev", "user,id=net", "-device", f"virtio-net-pci,netdev=net,mac={pcap.GUEST.hex(':')}",
            "-object", f"filter-dump,id=dump,netdev=net,file={self.capture}",
        ]
        super().__init__(folder, toolchain, options, saved, cpus=1, patience=PATIENCE)

    @staticmethod
    def _port(folder: Path, name: str) -> list[str]:
        chardev = name.replace(".", "-")
        return ["-chardev", f"socket,id={chardev},path={folder / name},server=on,wait=off",
                "-device", f"virtserialport,chardev={chardev},name={name}"]

    def _connect_all(self) -> None:
        self.control = self._connect(CONTROL).makefile("rwb")

    # What happens in the machine.

    def wait_until_up(self) -> None:
        """Until the test's hands are there, and then until systemd has nothing more to start."""
        line = self.heard(self.control.readline)
        if line != b'"up"\n':
            raise GuestFailure(f"the machine said {line!r} and not that it is up; {self.last_words()}")
        state = self.run("systemctl is-system-running --wait", codes=None).out.strip()
        if state != "running":
            failed = self.run("systemctl --failed --no-legend; journalctl -b -p warning --no-pager -n 40").out
            raise GuestFailure(f"systemd is {state}, not running: {failed}")
        self.wait_until_listening()

    def wait_until_listening(self) -> None:
        """Until the daemon has opened the host's port, which is there when udev has come to it. What is said to a port
        that nobody has opened is lost."""
        open_files = "ls -l /proc/$(systemctl show -P MainPID snapsafed)/fd"
        self.wait_for("the daemon opens the host's port", lambda: "/dev/vport" in self.run(open_files, codes=None).out)

    def run(self, command: str, codes: tuple[int, ...] | None = (0,)) -> Done:
        """A shell command in the machine, as root. Another exit code than these is a failure."""
        self.control.write(json.dumps(command).encode() + b"\n")
        self.control.flush()
        line = self.heard(self.control.readline)
        if not line.endswith(b"\n"):
            raise GuestFailure(f"the machine ended: {self.last_words()}")
        done = Done(**json.loads(line))
        if codes is not None and done.code not in codes:
            raise GuestFailure(f"{self.folder.name}: `{command}` ended with {done.code}: {done.err or done.out}")
        return done

    def ask(self, line: str) -> str:
        """What the daemon's agent answers the host."""
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(self.folder / AGENT))
            connection.sendall(line.encode() + b"\n")
            answer = self.heard(connection.makefile("rb").readline)
        return answer.decode().strip()

    @property
    def position(self) -> list[str]:
        """State, transition and generation, by the file that everybody can read."""
        return self.run("cat /run/snapsafe/state").out.split()

    def is_in(self, state: str) -> bool:
        return self.position[0] == state

    def journal_of(self, application: str) -> dict[str, str]:
        """What an application wrote down of itself."""
        text = self.run(f"cat /run/systemwide/{application}").out
        return dict(line.split(" ", 1) for line in text.splitlines())

    def wait_for(self, what: str, is_so, patience: float = PATIENCE):
        """Ask again and again until it is so; the last answer."""
        deadline = time.monotonic() + patience
        while not (answer := is_so()):
            if time.monotonic() > deadline:
                said = self.run("systemctl status snapsafed --no-pager -n 30", codes=None).out
                raise GuestFailure(f"{self.folder.name}: it did not come to pass that {what}: {said}")
            time.sleep(0.1)
        return answer

    # What is on the wire.

    @property
    def wire(self) -> pcap.Wire:
        """All that it has sent so far."""
        return pcap.read(self.capture)

    def packets_in(self, seconds: float) -> pcap.Wire:
        """What it sends in the next seconds."""
        before = len(self.wire.packets)
        time.sleep(seconds)
        return pcap.Wire(self.wire.packets[before:])

    # What a hypervisor does to it.

    @property
    def clock(self) -> VmClock:
        """The vmclock page, of a paused machine; one that runs is paused first."""
        self.pause()
        return VmClock(self.memory(), VMCLOCK)
