"""What was finished, kept for a later run to go on from, and the record of a long run that is committed.

A finished machine is one JSON file. It counts only for the very sources it was made with: of the library, the guest and
the harness; another QEMU, another kernel or another number of clones makes it another result, too.
"""

import hashlib
import json
import subprocess
from datetime import datetime, timezone
from pathlib import Path

from .matrix import POINTS
from .packages import Toolchain

SOURCES = ("Cargo.toml", "src", "include", "tests/vm/guest", "tests/vm/harness")


def fingerprint(root: Path, toolchain: Toolchain, clones: int) -> str:
    """Of everything that a result depends on."""
    state = hashlib.sha256(f"{toolchain.qemu_version} {toolchain.kernel_release} {clones}".encode())
    for source in SOURCES:
        place = root / source
        files = sorted(place.rglob("*")) if place.is_dir() else [place]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                content = file.read_bytes()
                state.update(f"\n{file.relative_to(root)} {len(content)}\n".encode() + content)
    return state.hexdigest()[:16]


class Ledger:
    """The folder of finished machines."""

    def __init__(self, folder: Path, key: str):
        self.folder, self.key = folder, key
        folder.mkdir(parents=True, exist_ok=True)

    def finished(self, name: str) -> dict | None:
        """What is known of this machine, if it passed with the same sources."""
        path = self.folder / f"{name}.json"
        if not path.exists():
            return None
        document = json.loads(path.read_text())
        return document if document["fingerprint"] == self.key and document["passed"] else None

    def keep(self, document: dict) -> None:
        """A machine is finished. A reader finds the old file or the new one, never half of one."""
        document |= {"fingerprint": self.key, "finished": _now()}
        path = self.folder / f"{document['name']}.json"
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(document, indent=1) + "\n")
        draft.rename(path)


def record(documents: list[dict], root: Path, key: str, toolchain: Toolchain, clones: int, seconds: float) -> dict:
    """All that is known of the matrix, for long.json."""
    points = sorted((row for document in documents for row in _rows(document)), key=_order)
    return {
        "schema": 1,
        "date": _now(),
        "commit": _commit(root),
        "fingerprint": key,
        "qemu": toolchain.qemu_version,
        "kernel": toolchain.kernel_release,
        "clones": clones,
        "machine_seconds": round(sum(document["seconds"] for document in documents)),
        "seconds_of_the_last_run": round(seconds),
        "points": len(points),
        "points_of_all": len(POINTS),
        "complete": len(points) == len(POINTS),
        "passed": bool(points) and all(row["passed"] for row in points),
        "outputs_compared": sum(row["outputs"] for row in points),
        "blocks_compared": sum(row["blocks"] for row in points),
        "shared": sum(row["shared"] for row in points),
        "results": points,
    }


def write_record(folder: Path, document: dict) -> None:
    """The record, for programs and for people."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "long.json").write_text(json.dumps(document, indent=1) + "\n")
    (folder / "long.md").write_text(_table(document))


def _rows(document: dict) -> list[dict]:
    """What a machine's verdicts say about each of its points."""
    common = all(verdict["holds"] is not False for verdict in document["verdicts"] if not verdict["point"])
    names = list(dict.fromkeys(verdict["point"] for verdict in document["verdicts"] if verdict["point"]))
    return [_row(name, common, [one for one in document["verdicts"] if one["point"] == name]) for name in names]


def _row(name: str, common: bool, verdicts: list[dict]) -> dict:
    numbers = [verdict["numbers"] for verdict in verdicts]
    judged = [one for one in numbers if "compared" in one and not one.get("measured") and not one.get("control")]
    promised = [one for one in judged if not one.get("counted_before")]
    said = {key: next((one[key][0] for one in numbers if one.get(key)), "no report") for key in ("levels", "diversity")}
    return {
        "name": name,
        "passed": common and all(verdict["holds"] is not False for verdict in verdicts),
        "level": said["levels"],
        "diversity": said["diversity"],
        "outputs": sum(one["outputs"] for one in promised),
        "blocks": sum(one["compared"] for one in promised),
        "shared": sum(one["shared"] + one["repeated"] + one["shifted"] for one in judged),
        "before_settling": _measure(numbers, "window"),
        "cut_request": _measure(numbers, "cut"),
        "kernel": _measure(numbers, "kernel"),
    }


def _measure(numbers: list[dict], mark: str) -> dict | None:
    """A measurement: how many blocks were shared, of how many, and until when."""
    for one in numbers:
        if one.get(mark) and one.get("measured"):
            return {key: one[key] for key in ("compared", "shared", "last_shared_ms")}
    return None


def _order(row: dict) -> int:
    return [point.name for point in POINTS].index(row["name"])


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def _commit(root: Path) -> str:
    """Of the project, with a word if its files are not those of the commit."""
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False).stdout.strip()
    changed = git("status", "--porcelain", "--untracked-files=no", "--", *SOURCES)
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + (" and changes" if changed else "")


def _table(record: dict) -> str:
    state = "all" if record["complete"] else "PARTIAL:"
    lines = [
        "# The last long run of the matrix",
        "",
        f"{record['date']}, commit {record['commit']} (sources {record['fingerprint']}), QEMU {record['qemu']}, Linux "
        f"{record['kernel']}, {record['clones']} clones of each machine; {state} {record['points']} of "
        f"{record['points_of_all']} points. Written by `tests/vm/run --all`.",
        "",
        f"Compared: {record['outputs_compared']} outputs ({record['blocks_compared']} blocks of 16 bytes) that must not be "
        f"shared; **{record['shared']}** were.",
        "",
        "The columns after these are measurements of what nothing is promised about: *before settling*, what the library "
        "gave while it reported that nothing tells the clones apart for certain; *cut request*, 64 KiB that the snapshot "
        "cut in half; *getrandom*, the kernel's own. Each: blocks shared of blocks compared, and when the last shared one "
        "was asked for, counted from the process's first output after the resume.",
        "",
        "| point | level | diversity | outputs | shared | before settling | cut request | getrandom | |",
        "|---|---|---|--:|--:|--:|--:|--:|---|",
    ]
    for row in record["results"]:
        measures = [_told(row[key]) for key in ("before_settling", "cut_request", "kernel")]
        lines.append(f"| `{row['name']}` | {row['level']} | {row['diversity']} | {row['outputs']} | {row['shared']} | "
                     + " | ".join(measures) + f" | {'ok' if row['passed'] else 'FAILED'} |")
    return "\n".join(lines) + "\n"


def _told(measure: dict | None) -> str:
    if measure is None:
        return ""
    until = measure["last_shared_ms"]
    return f"{measure['shared']} of {measure['compared']}" + (f", {until:.0f} ms" if until is not None else "")
