"""Telling people and programs how it went."""

import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from harness.checks import Verdict
from harness.console import Console
from harness.packages import Toolchain


@dataclass
class Result:
    """One scenario's verdicts."""

    name: str
    proves: str
    seconds: float = 0.0
    verdicts: list[Verdict] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return any(verdict.holds for verdict in self.verdicts) and all(v.holds is not False for v in self.verdicts)


class Terminal(Console):
    """What a run of the scenarios tells."""

    def result(self, result: Result) -> None:
        print(f"\n{result.name}: {result.proves}")
        for verdict in result.verdicts:
            self.verdict(verdict)
        sys.stdout.flush()

    def summary(self, results: list[Result], seconds: float) -> None:
        print()
        for result in results:
            print(f"{result.name:<16}{result.seconds:>7.1f} s  {self.outcome(result.passed)}")
        failed = sum(not result.passed for result in results)
        print(f"\n{len(results) - failed} of {len(results)} scenarios passed, in {seconds:.0f} s.")


def write_json(path: Path, results: list[Result], toolchain: Toolchain, times: dict[str, list[float]]) -> None:
    """Everything, for programs."""
    document = {
        "schema": 1,
        "passed": all(result.passed for result in results),
        "qemu": toolchain.qemu_version,
        "kernel": toolchain.kernel_release,
        "seconds": {what: [round(one, 2) for one in took] for what, took in times.items()},
        "scenarios": [asdict(result) | {"passed": result.passed} for result in results],
    }
    path.write_text(json.dumps(document, indent=1) + "\n")
