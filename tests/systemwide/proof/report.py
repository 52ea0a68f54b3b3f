"""Telling people and programs how it went."""

import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from harness.checks import Verdict
from harness.packages import Toolchain

_MARKS = {True: ("ok", "32"), False: ("FAIL", "31"), None: ("note", "33")}


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


class Terminal:
    """Progress on standard error, results on standard output, colours only where they are seen."""

    def __init__(self) -> None:
        self.colours = sys.stdout.isatty()

    @staticmethod
    def progress(text: str) -> None:
        print(f"  {text} …", file=sys.stderr, flush=True)

    def result(self, result: Result) -> None:
        print(f"\n{result.name}: {result.proves}")
        for verdict in result.verdicts:
            word, colour = _MARKS[verdict.holds]
            print(f"  {self._coloured(f'{word:<4}', colour)}  {verdict.sentence}")
        sys.stdout.flush()

    def summary(self, results: list[Result], seconds: float) -> None:
        print()
        for result in results:
            word, colour = ("passed", "32") if result.passed else ("FAILED", "31")
            print(f"{result.name:<16}{result.seconds:>7.1f} s  {self._coloured(word, colour)}")
        failed = sum(not result.passed for result in results)
        print(f"\n{len(results) - failed} of {len(results)} scenarios passed, in {seconds:.0f} s.")

    def _coloured(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self.colours else text


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


def write_not_run(path: Path, reason: str) -> None:
    """Say in the JSON file that there is no result, and why."""
    path.write_text(json.dumps({"schema": 1, "passed": False, "not_run": reason, "scenarios": []}, indent=1) + "\n")
