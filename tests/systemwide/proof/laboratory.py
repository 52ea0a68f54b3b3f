"""Where machines are booted, saved, restored and cloned."""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import GuestSilence
from harness.packages import Toolchain

from .host import Host
from .machine import CLONE, ORIGINAL, Machine

# As many scenarios at the same time; more would only slow each other down on a small machine.
AT_ONCE = 2
# How often a boot is tried. Now and then, on a loaded machine, an emulated kernel stands still at one instruction.
BOOTS = 3


@dataclass
class Snapshot:
    """A machine in a file."""

    file: Path
    counter: int | None  # the generation counter's value, if the machine has one


@dataclass
class Laboratory:
    """A scratch folder, the tools, and one booted machine in a file, from which all scenarios begin."""

    folder: Path
    toolchain: Toolchain
    image: Path
    host: Host
    clones: int
    say: object
    seconds: dict[str, list[float]] = field(default_factory=dict)  # how long things took
    base: Snapshot | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def took(self, what: str, since: float) -> None:
        with self._lock:
            self.seconds.setdefault(what, []).append(time.monotonic() - since)

    def boot(self) -> None:
        """Boot the machine, and save it."""
        for attempt in range(1, BOOTS + 1):
            self.say("booting" + (f", attempt {attempt}" if attempt > 1 else ""))
            began = time.monotonic()
            machine = Machine(self.folder / f"boot-{attempt}", self.toolchain, self.image, self.host, ORIGINAL)
            with machine:
                try:
                    machine.wait_until_up()
                except GuestSilence as failure:
                    if attempt == BOOTS:
                        raise
                    self.say(str(failure))
                    continue
                self.took("boot", began)
                self.base = self.save(machine, self.folder / "base")
                return

    def save(self, machine: Machine, file: Path, has_counter: bool = False) -> Snapshot:
        """Pause a machine and save it. It stays paused."""
        began = time.monotonic()
        machine.pause()
        counter = machine.clock.counter() if has_counter else None
        machine.save(file)
        self.took("snapshot", began)
        return Snapshot(file, counter)

    def machine(self, folder: Path, counter: bool = False) -> Machine:
        """A machine that runs and was not cloned: the booted one, with the same VMGenID. Its clock has a generation
        counter or not. It has noticed, or has nothing to notice, and all of its applications are at work."""
        machine = self._restore(folder, self.base, ORIGINAL)
        try:
            if counter:
                machine.clock.announce_counter()
            machine.resume()
            self._wait_until_at_work(machine)
        except BaseException:
            machine.end()
            raise
        return machine

    def clone(self, folder: Path, snapshot: Snapshot) -> Machine:
        """A clone, running: another VMGenID, and the next value of the counter, if there is one, as in its siblings."""
        machine = self._restore(folder, snapshot, CLONE)
        try:
            if snapshot.counter is not None:
                machine.clock.set_counter(snapshot.counter + 1)
            machine.resume()
        except BaseException:
            machine.end()
            raise
        return machine

    def _restore(self, folder: Path, snapshot: Snapshot, guid: str) -> Machine:
        began = time.monotonic()
        machine = Machine(folder, self.toolchain, self.image, self.host, guid, snapshot.file)
        self.took("restore", began)
        return machine

    @staticmethod
    def _wait_until_at_work(machine: Machine) -> None:
        machine.wait_for("it runs", lambda: machine.ask("STATUS").startswith("OK running"))
        before = int(machine.journal_of("connection")["echoed"])

        def at_work() -> bool:
            return machine.wire.ip and int(machine.journal_of("connection")["echoed"]) not in (0, before)

        machine.wait_for("its applications are at work", at_work)
