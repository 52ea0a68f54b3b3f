"""Copies of the source tree, to change or break something in, and where what is built from them goes."""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def files() -> list[str]:
    """Every file of the tree, new ones too, that is not ignored."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def copy_tree(to: Path) -> None:
    for name in files():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, to / name, follow_symlinks=False)


def target_folder(name: str) -> Path:
    """A folder of its own for what is built with other flags, so that the rest need not be built again."""
    return Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").absolute() / name
