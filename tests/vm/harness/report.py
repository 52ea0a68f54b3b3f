"""Telling people and programs how it went."""

import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .checks import Verdict
from .cloning import Run
from .console import Console
from .packages import Toolchain
from .scenarios import Scenario


@dataclass
class Result:
    """One scenario's verdicts; `run` is absent if its machines did not get that far."""

    scenario: Scenario
    verdicts: list[Verdict]
    seconds: float
    run: Run | None = None
    measurements: dict = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return all(verdict.holds is not False for verdict in self.verdicts)

    def _sum(self, key: str) -> int:
        return sum(
            verdict.numbers.get(key, 0) for verdict in self.verdicts
            if not any(verdict.numbers.get(mark) for mark in ("control", "measured", "counted_before"))
        )

    @property
    def outputs(self) -> int:
        return self._sum("outputs")

    @property
    def compared(self) -> int:
        return self._sum("compared")

    @property
    def shared(self) -> int:
        return self._sum("shared") + self._sum("repeated") + self._sum("shifted")


def measurements(scenario: Scenario, run: Run) -> dict:
    """What is worth knowing beside the verdicts: when the kernels reseeded, and what the library said of itself."""
    first = next(worker.name for worker in scenario.workers if worker.is_busy)
    reseeds = [recording.kernel_reseed_milliseconds(first) for recording in run.recordings]
    reports = {
        name: text for name, text in sorted(run.recordings[0].texts.items()) if "/protection-" in name
    }
    return {
        "kernel_reseed_ms_after_resume": [None if value is None else round(value, 1) for value in reseeds],
        "vmclock_words": run.clocks,
        "seconds": {name: round(value, 2) for name, value in run.timings.items()},
        "require": {recording.clone: recording.texts[name] for recording in run.recordings
                    for name in recording.texts if name.endswith("/attempts")},
        "protection_of_clone_1": reports,
    }


def _reseeds(result: Result) -> str:
    """When the kernels reseeded; times count from the end of the first request after the resume, as all times do."""
    known = result.measurements.get("kernel_reseed_ms_after_resume")
    if not known:
        return ""
    if all(value is None for value in known):
        return "The clones' kernels did not reseed because of the clone."
    said = ", ".join("never" if value is None else f"{value:+.1f} ms" for value in known)
    return f"The clones' kernels reseeded because of the clone at {said}."


class Terminal(Console):
    """What a run of the matrix tells."""

    def result(self, result: Result) -> None:
        """One scenario: its verdicts, each a sentence."""
        print(f"\n{result.scenario.name}: {result.scenario.proves}")
        point = ""
        for verdict in result.verdicts:
            if verdict.point != point:
                point = verdict.point
                print(f"  {point}")
            self.verdict(verdict)
        if reseeds := _reseeds(result):
            self.verdict(Verdict(reseeds, None))
        sys.stdout.flush()

    def summary(self, results: list[Result]) -> None:
        """The table at the end."""
        print(f"\n{'scenario':<32}{'outputs compared':>18}{'blocks':>10}{'shared':>9}{'seconds':>9}  verdict")
        for result in results:
            shown = [result.outputs, result.compared, result.shared] if result.run else ["-"] * 3
            outputs, compared, shared = map(str, shown)
            print(f"{result.scenario.name:<32}{outputs:>18}{compared:>10}{shared:>9}{result.seconds:>9.1f}  "
                  f"{self.outcome(result.passed)}")
        failed = sum(not result.passed for result in results)
        print(f"\n{len(results) - failed} of {len(results)} scenarios passed." if failed else
              f"\nAll {len(results)} scenarios passed.")

    @staticmethod
    def matrix(known: dict, kept: int) -> None:
        """How much of the matrix is known."""
        if known["points"]:
            before = f" ({kept} machines finished before)" if kept else ""
            print(f"Matrix: {known['points']} of {known['points_of_all']} points{before}, {known['outputs_compared']} "
                  f"outputs compared, {known['shared']} shared.")


def write_json(path: Path, results: list[Result], toolchain: Toolchain, clones: int) -> None:
    """Everything, for programs."""
    document = {
        "schema": 1,
        "passed": all(result.passed for result in results),
        "qemu": toolchain.qemu_version,
        "kernel": toolchain.kernel_release,
        "clones": clones,
        "scenarios": [document_of(result) for result in results],
    }
    path.write_text(json.dumps(document, indent=1) + "\n")


def document_of(result: Result) -> dict:
    """One scenario, for programs."""
    return {
        "name": result.scenario.name,
        "proves": result.scenario.proves,
        "passed": result.passed,
        "seconds": round(result.seconds, 1),
        "blocks_compared": result.compared,
        "blocks_shared": result.shared,
        "verdicts": [asdict(verdict) for verdict in result.verdicts],
        "measurements": result.measurements,
    }
