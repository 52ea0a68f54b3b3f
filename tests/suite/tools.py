"""Cargo's subcommands that steps need: used as they are found, or else built once, apart from the project."""

import os
import shutil
import subprocess
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
TOOLS = Path(os.environ.get("SNAPRNG_TOOLS") or CACHE / "snaprng/tools")


def cargo_tool(name: str, version: str) -> str:
    """The path of a cargo subcommand, which is built if it is not there."""
    found = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], str(TOOLS / "bin")]))
    if found:
        return found
    print(f"building {name} {version}, once: some minutes", flush=True)
    command = ["cargo", "install", "--quiet", "--locked", f"{name}@{version}", "--root", str(TOOLS)]
    if subprocess.run(command).returncode != 0:
        raise RuntimeError(f"cargo could not build {name} {version}")
    return str(TOOLS / "bin" / name)
