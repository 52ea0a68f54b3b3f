"""Commands: run in the project's root, shown, watched for hanging, and searched for what they skipped."""

import os
import subprocess
import threading

from .terminal import TERMINAL
from .trees import ROOT

#: Nothing takes this long unless it hangs, which is what a deadlock looks like.
HANGS_AFTER_SECONDS = 30 * 60
#: But what `tests/run long` is for.
LONG_HANGS_AFTER_SECONDS = 4 * 60 * 60

#: How a test says that it could not prove its sentence here (tests/common/mod.rs).
SKIP_MARK = "SKIPPED: "

#: The exit code of `tests/*/run` where the machine lacks something: a reason is printed.
UNAVAILABLE = 3


class Missing(Exception):
    """Something that this machine does not have and that could not be installed."""


class Unprovable(Exception):
    """Something that cannot be tried on this machine, for a reason that is no fault of the project."""


def run(command: list[str], skips: list[str] | None = None, hangs_after: float = HANGS_AFTER_SECONDS,
        **variables: str) -> int:
    """Runs a command in the project's root, shows what it prints, and returns its exit code."""
    shown = " ".join([*(f"{name}={value!r}" for name, value in variables.items()), *command])
    TERMINAL.say(TERMINAL.paint(f"$ {shown}", "title"))
    environment = {**os.environ, **variables}
    if TERMINAL.is_terminal:
        environment.setdefault("CARGO_TERM_COLOR", "always")
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    watchdog = threading.Timer(hangs_after, end_group, [process.pid])
    watchdog.start()
    try:
        for line in process.stdout:
            print(line, end="", flush=True)
            if skips is not None and SKIP_MARK in line:
                skips.append(line.split(SKIP_MARK, 1)[1].strip())
        return process.wait()
    except BaseException:
        end_group(process.pid)
        raise
    finally:
        watchdog.cancel()


def end_group(leader: int) -> None:
    try:
        os.killpg(leader, 9)
    except ProcessLookupError:
        pass


def must(command: list[str], skips: list[str] | None = None, **variables: str) -> None:
    """Like `run`, for a command that must succeed."""
    code = run(command, skips, **variables)
    if code == -9:
        raise RuntimeError(f"`{' '.join(command[:3])} …` was killed, perhaps because it hung")
    if code != 0:
        raise RuntimeError(f"`{' '.join(command[:3])} …` ended with code {code}")


def must_unless_unavailable(command: list[str], skips: list[str], hangs_after: float = HANGS_AFTER_SECONDS) -> None:
    """Like `must`, for a command that has an exit code of its own for what could not be had."""
    code = run(command, skips, hangs_after)
    if code == UNAVAILABLE:
        raise Missing(f"{command[0]} could not get what it needs: see what it printed")
    if code != 0:
        raise RuntimeError(f"{command[0]} ended with code {code}")


def must_unless_unprovable(command: list[str], skips: list[str]) -> None:
    """The same where it is no fault of the project: what is missing was printed as the last thing skipped."""
    code = run(command, skips)
    if code == UNAVAILABLE:
        raise Unprovable(skips.pop())
    if code != 0:
        raise RuntimeError(f"{command[0]} ended with code {code}")


def cargo(*arguments: str, skips: list[str] | None = None, **variables: str) -> None:
    must(["cargo", *arguments], skips, **variables)
