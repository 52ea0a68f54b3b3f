"""One scenario from boot to recordings: boot, snapshot in the busy loop, clones, what they wrote down."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path

from .errors import GuestFailure, GuestSilence
from .gdb import VmClock
from .packages import Toolchain
from .qemu import Machine
from .recording import Recording, receive
from .scenarios import Scenario

# As many machines run at the same time; more would only slow each other down on a small machine. Those that wait for
# their settling time, idle, do not count.
AT_ONCE = 2
# As many clones of one snapshot are in memory at the same time.
WAITING_AT_ONCE = 8
# How long a clone is busy after the resume; a clone that waits for its settling time is idle then.
BUSY_SECONDS = 4.0
# How long a guest may stay silent on a loaded machine before it counts as broken.
PATIENCE_SECONDS = 120.0
# How often a boot is tried.
BOOTS = 3


@dataclass
class Run:
    """What came of one scenario's virtual machines."""

    recordings: list[Recording]
    timings: dict[str, float]  # seconds
    clocks: dict[str, int]  # the vmclock page's words before and after the resume


@dataclass
class Snapshot:
    """A machine saved in the middle of its work, to be resumed as often as one likes."""

    scenario: Scenario
    folder: Path
    vmclock: int  # the page's physical address
    clocks: dict[str, int]
    timings: dict[str, float]

    @property
    def file(self) -> Path:
        return self.folder / "snapshot"


class Laboratory:
    """Where scenarios are run: a scratch folder, the tools, the guest's image."""

    def __init__(self, folder: Path, toolchain: Toolchain, image: Path, clones: int, say):
        self.folder, self.toolchain, self.image = folder, toolchain, image
        self.clones, self.say = clones, say
        self.busy = threading.Semaphore(AT_ONCE)

    def run(self, scenario: Scenario) -> Run:
        """Boot the scenario's machine, snapshot it, and run the clones."""
        folder = self.folder / scenario.name
        folder.mkdir()
        snapshot = Snapshot(scenario, folder, 0, {}, {})
        try:
            self._take(snapshot)
            recordings = self._resume(snapshot)
        finally:
            snapshot.file.unlink(missing_ok=True)  # 100 MB each; the logs beside it stay for --keep
        return Run(recordings, snapshot.timings, snapshot.clocks)

    def _take(self, snapshot: Snapshot) -> None:
        # A machine that waits for a minute before its snapshot must not keep all others from running.
        with nullcontext() if snapshot.scenario.waits_before else self.busy:
            self._boot_and_save(snapshot)

    def _boot_and_save(self, snapshot: Snapshot) -> None:
        start = time.monotonic()
        machine, snapshot.vmclock = self._boot(snapshot.scenario, snapshot.folder)
        with machine:
            memory = machine.memory()  # this pauses the machine
            if snapshot.vmclock:
                clock = VmClock(memory, snapshot.vmclock)
                if snapshot.scenario.counter:
                    clock.announce_counter()
                snapshot.clocks |= {"marker before": clock.marker(), "counter before": clock.counter()}
            machine.resume()
            snapshot.timings["boot"] = time.monotonic() - start
            self._start_workers(snapshot.scenario, machine)
            time.sleep(0.3)  # well into the loops; the exact moment is left to chance
            start = time.monotonic()
            machine.pause()
            machine.save(snapshot.file)
            snapshot.timings["snapshot"] = time.monotonic() - start

    def _boot(self, scenario: Scenario, folder: Path) -> tuple[Machine, int]:
        """Start the machine; its vmclock page's address.

        Now and then, on a loaded machine, a boot hangs for good: the emulated kernel stands still at one instruction.
        Nothing of the test has begun then, so the machine is started anew.
        """
        for attempt in range(1, BOOTS + 1):
            self.say(f"{scenario.name}: booting" + (f", attempt {attempt}" if attempt > 1 else ""))
            machine = Machine(folder / f"original-{attempt}", self.toolchain, self.image, scenario.shape)
            try:
                return machine, self._booted(machine)
            except BaseException as failure:
                machine.end()
                if not isinstance(failure, GuestSilence) or attempt == BOOTS:
                    raise
                self.say(f"{scenario.name}: {failure}")
        raise AssertionError("the last attempt returns or raises")

    @staticmethod
    def _booted(machine: Machine) -> int:
        words = machine.line().split()
        if len(words) != 2 or words[0] != "booted":
            raise GuestFailure(f"the guest said {words!r} where it should have said that it is up")
        return int(words[1], 16)

    def _start_workers(self, scenario: Scenario, machine: Machine) -> None:
        if scenario.waits_before:
            self.say(f"{scenario.name}: waiting {scenario.settle_seconds:.0f} s for the machine to settle")
        machine.tell("".join(f"{order}\n" for order in scenario.orders()) + "go\n")
        deadline = time.monotonic() + PATIENCE_SECONDS + 2 * scenario.settle_seconds
        while missing := machine.not_ready(len(scenario.workers)):
            names = ", ".join(scenario.workers[number].name for number in missing)
            if machine.has_spoken() or machine.process.poll() is not None:
                raise GuestFailure(f"a worker ended too early, {names} did not start: {machine.last_words()}")
            if time.monotonic() > deadline:
                raise GuestFailure(f"{names} did not start: {machine.state()}, {machine.last_words()}")
            time.sleep(0.02)

    def _resume(self, snapshot: Snapshot) -> list[Recording]:
        scenario = snapshot.scenario
        waiting = f", each waits {scenario.settle_seconds:.0f} s" if scenario.waits else ""
        self.say(f"{scenario.name}: {self.clones} clones of one snapshot{waiting}")
        start = time.monotonic()
        with ThreadPoolExecutor(WAITING_AT_ONCE if scenario.waits else AT_ONCE) as pool:
            started = [pool.submit(self._clone, snapshot, number) for number in range(1, self.clones + 1)]
            recordings = [one.result() for one in started]
        snapshot.timings["clones"] = time.monotonic() - start
        return recordings

    def _clone(self, snapshot: Snapshot, number: int) -> Recording:
        scenario, home = snapshot.scenario, snapshot.folder / f"clone-{number}"
        with ExitStack() as turn:
            turn.enter_context(self.busy)
            with Machine(home, self.toolchain, self.image, scenario.shape, snapshot.file) as machine:
                # Nothing is said while a clone settles.
                machine.listen_for(PATIENCE_SECONDS + 2 * scenario.settle_seconds)
                self._make_different(snapshot, machine, number)
                machine.resume()
                if scenario.waits:
                    time.sleep(BUSY_SECONDS)
                    turn.close()  # this clone is idle from here on: let the next one start
                return receive(machine, number)

    @staticmethod
    def _make_different(snapshot: Snapshot, machine: Machine, number: int) -> None:
        """Do to the paused clone what a hypervisor does, and leave the ground truth for the guest to record."""
        if snapshot.vmclock:
            clock, clocks = VmClock(machine.memory(), snapshot.vmclock), snapshot.clocks
            if snapshot.scenario.counter:
                clock.set_counter(clocks["counter before"] + 1)  # the same in every clone, as on real hypervisors
            clocks["marker after"], clocks["counter after"] = clock.marker(), clock.counter()
        machine.write_truth(number)
