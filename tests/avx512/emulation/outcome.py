"""What the machine said, and whether that proves anything."""

import re

from .runs import RUNS

#: How the lines of the machine's init begin (init/src/main.rs).
MARK = "init: "
DONE = f"{MARK}done"

#: How a test says that it could not prove its sentence.
SKIPPED = "SKIPPED: "


def is_about_tests(line: str) -> bool:
    """Whether the machine has booted: this is the first line of its init."""
    return line.startswith(MARK)


def is_end_of_run(line: str) -> bool:
    return line.startswith(f"{MARK}run ") and " ended with " in line


def failures(lines: list[str]) -> list[str]:
    """Every reason why these lines, all that the machine wrote, do not prove what they should."""
    found = []
    for number, run in enumerate(RUNS):
        said = _between(lines, f"{MARK}run {number} begins", f"{MARK}run {number} ended with ")
        found += [f"{run.line()}: {reason}" for reason in _failures_of_run(said)]
    if DONE not in lines:
        found.append("the machine did not come to the end of its list")
    return found


def _failures_of_run(said: list[str] | None) -> list[str]:
    if said is None:
        return ["did not come to an end"]
    found = []
    *said, end = said
    if not end.endswith("ended with exit status: 0"):
        found.append(end.removeprefix(MARK))
    elif not any(re.match(r"test result: ok\. [1-9]\d* passed", line) for line in said):
        found.append("no test was run")
    # The emulated CPU is here to have what the machine may lack.
    found += sorted({line[line.index(SKIPPED):] for line in said if SKIPPED in line})
    return found


def _between(lines: list[str], first: str, last: str) -> list[str] | None:
    """The lines after `first`, up to and with the one that begins with `last`."""
    if first not in lines:
        return None
    begin = lines.index(first) + 1
    for end in range(begin, len(lines)):
        if lines[end].startswith(last):
            return lines[begin:end + 1]
    return None
