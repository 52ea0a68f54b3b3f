"""The scenarios: what is done to a machine and its clones, and what must come out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from harness.checks import Verdict
from harness.errors import GuestFailure

from ..laboratory import Laboratory
from ..machine import Machine

#: Where the daemon's configuration is.
CONFIGURATION = "/etc/snapsafe/snapsafed.toml"


@dataclass
class Scene:
    """One scenario while it is played, and the verdicts so far."""

    laboratory: Laboratory
    folder: Path
    verdicts: list[Verdict] = field(default_factory=list)

    def check(self, sentence: str, holds: bool, **numbers) -> None:
        self.verdicts.append(Verdict(sentence, bool(holds), numbers))

    def note(self, sentence: str, **numbers) -> None:
        """A measurement: neither right nor wrong."""
        self.verdicts.append(Verdict(sentence, None, numbers))

    def machine(self, name: str = "original", counter: bool = False) -> Machine:
        return self.laboratory.machine(self.folder / name, counter)

    def put_the_gate_at_the_links(self, machine: Machine) -> None:
        machine.run(f"printf '[gate]\\nkind = \"link\"\\n' >{CONFIGURATION}; systemctl restart snapsafed")
        machine.wait_until_listening()

    def quiesce(self, machine: Machine) -> None:
        answer = machine.ask("QUIESCE 30000")
        if not answer.startswith("OK quiesced"):
            raise GuestFailure(f"QUIESCE: {answer}")

    def is_silent(self, machine: Machine, seconds: float, when: str) -> None:
        """Nothing of IP leaves the machine, though its beacon keeps trying."""
        before = int(machine.journal_of("beacon")["refused"])
        wire = machine.packets_in(seconds)
        tried = int(machine.journal_of("beacon")["refused"]) - before
        self.check(f"{when}: {len(wire.ip)} IP packets in {seconds:.1f} s ({wire}); {tried} were tried and refused.",
                   not wire.ip and tried > 0, packets=dict(wire.counts), tried=tried)


Play = Callable[[Scene], None]


@dataclass(frozen=True)
class Scenario:
    name: str
    proves: str
    play: Play
