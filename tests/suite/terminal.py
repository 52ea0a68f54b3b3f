"""What a person sees: text, in colour on a terminal only."""

import os
import sys

PASSED, FAILED, SKIPPED = "PASSED", "FAILED", "SKIPPED"


class Terminal:
    """Prints, in colour on a terminal only."""

    COLOURS = {PASSED: "32", FAILED: "31", SKIPPED: "33", "title": "1"}

    def __init__(self):
        self.is_terminal = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def paint(self, text: str, kind: str) -> str:
        return f"\033[{self.COLOURS[kind]}m{text}\033[0m" if self.is_terminal else text

    def say(self, text: str = "") -> None:
        print(text, flush=True)


TERMINAL = Terminal()
