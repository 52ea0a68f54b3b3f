"""What every run with machines tells people, whatever it proves: progress, verdicts, and that there is no result."""

import json
import sys
from pathlib import Path

from .checks import Verdict

_MARKS = {True: ("ok", "32"), False: ("FAIL", "31"), None: ("note", "33")}


class Console:
    """Progress on standard error, results on standard output, colours only where they are seen."""

    def __init__(self) -> None:
        self.colours = sys.stdout.isatty()

    @staticmethod
    def progress(text: str) -> None:
        print(f"  {text} …", file=sys.stderr, flush=True)

    def verdict(self, verdict: Verdict) -> None:
        """One sentence, and whether it holds."""
        word, colour = _MARKS[verdict.holds]
        print(f"  {self._coloured(f'{word:<4}', colour)}  {verdict.sentence}")

    def outcome(self, passed: bool) -> str:
        """The last word about a scenario."""
        return self._coloured("passed", "32") if passed else self._coloured("FAILED", "31")

    def _coloured(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self.colours else text


def write_not_run(path: Path, reason: str) -> None:
    """Say in the JSON file that there is no result, and why."""
    path.write_text(json.dumps({"schema": 1, "passed": False, "not_run": reason, "scenarios": []}, indent=1) + "\n")
