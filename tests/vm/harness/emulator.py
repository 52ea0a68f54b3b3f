"""A QEMU process, whatever machine it is: start it, pause it, save it to a file, load it from one, look into it."""

import json
import re
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

from .errors import GuestFailure, GuestSilence
from .gdb import PhysicalMemory
from .packages import Toolchain


class Emulator:
    """With `saved`, it waits, paused, with that snapshot loaded. Its sockets and logs are in `folder`."""

    def __init__(self, folder: Path, toolchain: Toolchain, options: list[str], saved: Path | None, cpus: int,
                 patience: float):
        self.folder = folder
        self.patience = patience
        self.cpus = cpus
        self.errors = open(folder / "qemu.log", "wb")
        command = [*toolchain.qemu_command(), *options, *self._sockets_and_logs()]
        if saved is not None:
            command += ["-S", "-incoming", "defer"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.errors, stderr=self.errors)
        self._memory: PhysicalMemory | None = None
        self._sockets: list[socket.socket] = []
        try:
            self.monitor = self._connect("qmp").makefile("rwb")
            self._reply()  # the greeting
            self.command("qmp_capabilities")
            self._connect_all()
            if saved is not None:
                self._load(saved)
        except BaseException:
            self.end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self.end()

    def _connect_all(self) -> None:
        """Connect what else the machine has, before a snapshot is loaded."""

    def _sockets_and_logs(self) -> list[str]:
        folder = self.folder
        return [
            "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
            "-serial", f"file:{folder / 'console.log'}",
            "-qmp", f"unix:{folder / 'qmp'},server=on,wait=off",
            "-gdb", f"unix:{folder / 'gdb'},server=on,wait=off",
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

    def heard(self, listen, *arguments) -> bytes:
        """What `listen` reads from the guest, who must not be silent for too long."""
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
