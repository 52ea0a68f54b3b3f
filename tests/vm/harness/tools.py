"""The machine's own programs: whether they are there, and running them."""

import shutil
import subprocess

from .errors import Unavailable


def need(tools: list[str], why: str) -> None:
    """Without one of these the test cannot be run."""
    for tool in tools:
        if shutil.which(tool) is None:
            raise Unavailable(f"{tool} is needed {why}")


def run(command: list[str], doing: str, **more) -> str:
    """What a command prints; one that fails was needed for `doing`, and the test cannot be run."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **more)
    if done.returncode != 0:
        raise Unavailable(f"{doing} failed:\n{(done.stderr or done.stdout).strip()}")
    return done.stdout
