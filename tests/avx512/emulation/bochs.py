"""One Bochs process, and the lines that its machine writes to its serial port.

Bochs interprets every instruction, those of AVX-512 included; it needs no feature of the CPU that it runs on.
"""

import os
import re
import subprocess
import threading
import time
from pathlib import Path

from harness.errors import GuestFailure, Unavailable
from harness.tools import need

SHARE = Path("/usr/share/bochs")
SHOWN_AT_THE_END = 40


def version() -> str:
    """Which Bochs this is."""
    match = re.search(r"Bochs x86 Emulator (\S+)", _help())
    return match.group(1) if match else "of unknown version"


def has_model(model: str) -> bool:
    return model in _help("cpu").split()


def _help(*topic: str) -> str:
    need(["bochs"], "to emulate the CPU (Debian's packages bochs and bochs-term)")
    done = subprocess.run(["bochs", "--help", *topic], capture_output=True, text=True, errors="replace", check=False)
    return done.stdout + done.stderr


def _configuration(model: str, disk: Path) -> str:
    # One CPU without threads of its own: a second one would halve the speed. `ips` is how many instructions make a
    # second of the machine's time; it need not be true, and no result depends on it.
    return f"""
display_library: term
cpu: model={model}, count=1, ips=50000000, reset_on_triple_fault=0, ignore_bad_msrs=1
memory: guest=256, host=256
romimage: file={SHARE}/BIOS-bochs-latest, options=fastboot
vgaromimage: file={SHARE}/VGABIOS-lgpl-latest
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path="{disk}", status=inserted
boot: cdrom
clock: sync=none
com1: enabled=1, mode=file, dev=serial.log
log: bochs.log
panic: action=fatal
error: action=report
info: action=report
mouse: enabled=0
speaker: enabled=0
sound: driver=dummy
"""


class Machine:
    """An emulated machine, from power-on until it is left."""

    def __init__(self, folder: Path, model: str, disk: Path):
        if not has_model(model):
            raise Unavailable(f"this Bochs has no CPU model {model}: 2.6.9 and later have models with AVX-512")
        self.folder = folder
        (folder / "bochsrc").write_text(_configuration(model, disk))
        (folder / "serial.log").touch()
        command = ["bochs", "-q", "-f", "bochsrc"]
        if "-rc " in _help():
            # Built with its debugger, as Debian's is, it waits for a command before the first instruction.
            (folder / "commands").write_text("continue\n")
            command += ["-rc", "commands"]
        # The display needs a terminal, which nobody looks at: whatever is drawn there must be read, else Bochs waits.
        screen, terminal = os.openpty()
        with open(folder / "messages.log", "wb") as messages:
            self.process = subprocess.Popen(command, cwd=folder, stdin=terminal, stdout=terminal, stderr=messages,
                                            env=os.environ | {"TERM": "vt100"})  # fmt: skip
        os.close(terminal)
        threading.Thread(target=_drain, args=[screen], daemon=True).start()

    def __enter__(self) -> "Machine":
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.wait()

    def lines(self, deadline: float):
        """What the machine writes, line by line, until it stops; it must stop by `deadline` (monotonic)."""
        with open(self.folder / "serial.log", "rb") as serial:
            rest = b""
            while True:
                ended = self.process.poll() is not None
                rest += serial.read()
                *whole, rest = rest.split(b"\n")
                for line in whole:
                    text = line.decode(errors="replace").strip("\r")
                    yield text
                    if "Kernel panic" in text:
                        raise GuestFailure("the emulated machine's kernel panicked")
                if ended:
                    return
                if time.monotonic() > deadline:
                    raise GuestFailure("the emulated machine hangs, or is far slower than it should be")
                time.sleep(0.1)

    def last_words(self) -> str:
        """The end of what the machine and Bochs wrote."""
        words = []
        for name in ("messages.log", "bochs.log", "serial.log"):
            path = self.folder / name
            lines = path.read_text(errors="replace").splitlines() if path.exists() else []
            words += [f"--- the end of {name}", *lines[-SHOWN_AT_THE_END:]]
        return "\n".join(words)


def _drain(screen: int) -> None:
    try:
        while os.read(screen, 1 << 16):
            pass
    except OSError:
        pass  # Bochs has ended
    finally:
        os.close(screen)
