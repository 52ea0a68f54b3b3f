"""The clones' bytes as files, for tests/statistics: what independent streams look like when they are read as one."""

from pathlib import Path

from .analyse import after_resume, select
from .matrix import machines
from .recording import Recording
from .scenarios import Scenario


def write_streams(folder: Path, scenario: Scenario, recordings: list[Recording]) -> None:
    """One file for each clone, if all of the machine's points share nothing: the same generators in the same order."""
    points = machines().get(scenario.name, ())
    if not points or not all(point.never_shares for point in points):
        return
    for recording in recordings:
        home = folder / f"clone-{recording.clone}"
        home.mkdir(parents=True, exist_ok=True)
        streams = select(recording, "*/snaprng-*", after_resume)
        outputs = (record.output for name in sorted(streams) for record in streams[name])
        (home / scenario.name).write_bytes(b"".join(outputs))
