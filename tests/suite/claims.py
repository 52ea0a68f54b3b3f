"""Whether each claim's tests in tests/README.md exist: a table that names a test which was renamed proves nothing."""

import re

from .trees import ROOT

HEADING = "## Which test would fail"

#: Where a test can be, and how its name stands there.
PLACES = ["src/**/*.rs", "tests/**/*.rs", "crates/**/*.rs", "tests/**/*.py", "tests/**/run", "tests/**/*.c", "fuzz/*.toml"]


def rows() -> list[tuple[str, list[str]]]:
    """Each claim, with the tests that are named for it."""
    text = (ROOT / "tests/README.md").read_text()
    section = text.split(HEADING, 1)[1].split("\n## ", 1)[0]
    cells = [line.strip("|").split("|") for line in section.split("\n") if line.startswith("|")]
    return [(row[0].strip(), re.findall(r"`([^`]+)`", row[1])) for row in cells[2:] if len(row) == 2]


def missing(steps: set[str]) -> list[str]:
    """What is wrong with the table, a sentence each."""
    text = "\n".join(p.read_text() for place in PLACES for p in ROOT.glob(place) if p.is_file())
    exists = steps | set(re.findall(r"(?:fn|def|void|name = |name=)\s*\"?([\w-]+)\"?", text))
    found = [f"no test is named for: {claim}" for claim, tests in rows() if not tests]
    return found + [f"there is no `{test}`, which stands for: {claim}" for claim, tests in rows() for test in tests
                    if test not in exists]
