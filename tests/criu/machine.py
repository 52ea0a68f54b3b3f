"""A machine with a real vmclock device, in which CRIU is asked to dump a process that maps it, and one that does not.

Most machines have no such device, and nothing can stand in for it: CRIU looks at what kind of mapping it is. So QEMU
gives one to a machine of its own, with the kernel of the tests with real clones. No hardware virtualization is needed.
"""

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness import debian, packages
from harness.cpio import Cpio
from harness.emulator import Emulator
from harness.errors import Unavailable
from harness.modules import in_order
from harness.tools import run
from restores import Criu, Failure, Restored

HERE = Path(__file__).resolve().parent
LIBRARIES = debian.LIBRARIES

#: The driver of the device, and what CRIU asks for every socket that there is.
MODULES = ["ptp_vmclock", "unix_diag", "inet_diag", "tcp_diag", "udp_diag", "raw_diag", "af_packet_diag", "netlink_diag"]

#: An emulated machine does all of it in less than a minute.
PATIENCE_SECONDS = 300


@dataclass(frozen=True)
class Report:
    """What guest/scenario said about the two processes."""

    lines: list[str]

    def refusal(self, name: str) -> str | None:
        """Why CRIU would not dump this one, if so."""
        return next((line.split(" ", 2)[2] for line in self.lines if line.startswith(f"{name} refused ")), None)

    def blocks(self, name: str, who: str) -> list[bytes]:
        pattern = re.compile(f"{name} {who} ([0-9a-f]{{32}})")
        return [bytes.fromhex(match[1]) for line in self.lines if (match := pattern.fullmatch(line))]

    def copies(self, name: str, numbers: list[int]) -> list[Restored]:
        before = self.blocks(name, "before")
        return [Restored(number, before, self.blocks(name, str(number))) for number in numbers]


def report(criu: Criu, program: Path, cache: Path, machines: Path, folder: Path,
           say: Callable[[str], None]) -> Report:
    """Boots the machine and hears it out. `program` is programs/watched.c, linked statically."""
    toolchain = packages.obtain(machines, say)
    shell = debian.obtain(cache / "shell", packages.SUITE, ["busybox-static"])
    image = folder / "image"
    image.write_bytes(_image(criu, shell.path, program, toolchain.modules))
    answers = folder / "answers"
    options = [
        "-machine", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "512", "-device", "vmclock",
        "-kernel", str(toolchain.kernel), "-initrd", str(image),
        # no_timer_check: see tests/vm/harness/qemu.py.
        "-append", "console=ttyS0 quiet panic=-1 no_timer_check rdinit=/init",
    ]  # fmt: skip
    with _Machine(folder, toolchain, options, None, 1, PATIENCE_SECONDS) as machine:
        try:
            machine.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            raise Failure(f"the machine has not come to its end: {machine.last_words()}") from None
        lines = answers.read_text(errors="replace").splitlines()
        if not lines or lines[-1] != "end":
            raise Failure(f"the machine ended too early: {machine.last_words()}")
    if wrong := [line for line in lines if re.match(r"\w+ failed ", line)]:
        raise Failure("; ".join(wrong))
    return Report(lines)


class _Machine(Emulator):
    """One with a second serial port, for what the guest has to say."""

    def _sockets_and_logs(self) -> list[str]:
        return [*super()._sockets_and_logs(), "-serial", f"file:{self.folder / 'answers'}"]


def _image(criu: Criu, shell: Path, program: Path, modules: Path) -> bytes:
    root = criu.root.path
    drivers = in_order(modules, MODULES)
    files = {
        "init": HERE / "guest/init",
        "usr/scenario": HERE / "guest/scenario",
        "bin/busybox": _busybox(shell),
        "bin/watched": program,
        "usr/sbin/criu": root / "usr/sbin/criu",
        "lib64/ld-linux-x86-64.so.2": root / LIBRARIES / "ld-linux-x86-64.so.2",
        **{f"{LIBRARIES}/{name}": root / LIBRARIES / name for name in _libraries(criu)},
    }
    archive = Cpio()
    for folder in ("dev", "modules", "bin", "lib64", "usr", "usr/sbin", "usr/lib", LIBRARIES):
        archive.folder(folder)
    archive.character_device("dev/console", 5, 1)
    for name, file in files.items():
        archive.file(name, file.read_bytes(), 0o755)
    archive.file("modules/order", "".join(f"{name}\n" for name in drivers).encode(), 0o644)
    for name, content in drivers.items():
        archive.file(f"modules/{name}", content, 0o644)
    return archive.finish()


def _busybox(shell: Path) -> Path:
    found = [path for path in (shell / "usr/bin/busybox", shell / "bin/busybox") if path.exists()]
    if not found:
        raise Unavailable("Debian's busybox-static has no busybox where it is looked for")
    return found[0]


def _libraries(criu: Criu) -> list[str]:
    """The names of what CRIU is linked with."""
    loader, *arguments = criu.command()
    listed = run([loader, *arguments[:2], "--list", arguments[2]], "asking what CRIU is linked with")
    return re.findall(r"^\t(\S+) => /", listed, re.MULTILINE)
