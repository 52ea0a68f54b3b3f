"""A process that CRIU dumps once and restores more than once: what its copies answer to the same request."""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import debian
from harness.errors import Unavailable
from harness.recording import AFTER, BLOCK, Record, Recording

class Failure(Exception):
    """CRIU or the program did not do what is needed to judge anything."""


class Criu:
    """CRIU from the packages of one of Debian's suites, unpacked into a cache folder."""

    def __init__(self, cache: Path, suite: str):
        if os.geteuid() != 0:
            raise Unavailable("only root may dump and restore processes")
        self.root = debian.obtain(cache / suite, suite, ["criu"])
        self.version = self._ask("--version").split("\n")[0].removeprefix("Version: ")
        self._ask("check")

    def empties_droppable_pages(self) -> bool:
        """Whether a restored process finds them empty, as it does since 4.2."""
        return tuple(map(int, self.version.split(".")[:2])) >= (4, 2)

    def command(self, *arguments) -> list[str]:
        return [*self.root.command(self.root.path / "usr/sbin/criu"), *map(str, arguments)]

    def _ask(self, *arguments) -> str:
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True)
        if done.returncode != 0:
            raise Unavailable(f"`criu {' '.join(arguments)}` says: {(done.stdout + done.stderr).strip()}")
        return done.stdout


@dataclass(frozen=True)
class Restored:
    """What was said by one copy, and by the process before the dump."""

    number: int
    before: list[bytes]
    after: list[bytes]

    def recording(self) -> Recording:
        """In the form in which clones of machines are compared."""
        said = [(0, block) for block in self.before] + [(AFTER, block) for block in self.after]
        records = [Record(flags, index, None, block) for index, (flags, block) in enumerate(said)]
        return Recording(self.number, {"blocks": records})


def restore_repeatedly(criu: Criu, program: Path, blocks: int, times: int,
                       before_restores: Callable[[], None] = lambda: None, **variables: str) -> list[Restored]:
    """Starts `PROGRAM N wait`, has it answer once, dumps it, and restores it so often; each copy answers once and ends.

    One copy after the other: they have the same pid.
    """
    with tempfile.TemporaryDirectory(prefix="snaprng-criu-") as folder:
        process = _Process(criu, Path(folder))
        process.dump([str(program), str(blocks), "wait"], variables, 1 + blocks)
        before = process.blocks()
        before_restores()
        return [Restored(number, before, process.restore(blocks)) for number in range(1, times + 1)]


class _Process:
    """It reads requests from a pipe with a name and appends answers to a file, which CRIU can restore both.

    The pipe is held open from here: once it is let go, the program reads its end, and ends.
    """

    def __init__(self, criu: Criu, folder: Path):
        self.criu, self.folder = criu, folder
        self.requests, self.answers, self.errors = (folder / name for name in ("requests", "answers", "errors"))
        self.images = folder / "images"
        self.images.mkdir()
        os.mkfifo(self.requests)
        self.said = b""

    def dump(self, command: list[str], variables: dict[str, str], blocks: int) -> None:
        """Starts the program, asks it once, and dumps it when it has said so many blocks; after that it is gone."""
        with self._held_open() as requests:
            original = self._started(command, variables)
            os.write(requests, b"\n")
            self._wait_for(blocks, original)
            done = subprocess.run(
                self.criu.command("dump", "-t", original.pid, "-D", self.images, "-o", "dump.log", "-v2"),
                capture_output=True, text=True,
            )  # fmt: skip
            if done.returncode != 0:
                original.kill()
            original.wait()
        if done.returncode != 0:
            raise Failure(f"the process cannot be dumped: {self._log('dump.log')}")
        self.said = self.answers.read_bytes()

    def _started(self, command: list[str], variables: dict[str, str]) -> subprocess.Popen:
        with open(self.requests, "rb") as stdin, open(self.answers, "ab") as stdout, open(self.errors, "ab") as stderr:
            return subprocess.Popen(
                command, cwd=self.folder, env=_environment() | variables, start_new_session=True,
                stdin=stdin, stdout=stdout, stderr=stderr,
            )  # fmt: skip

    def restore(self, blocks: int) -> list[bytes]:
        """One copy, until it ends; what it answered."""
        # CRIU opens the file again, and wants it as it was.
        self.answers.write_bytes(self.said)
        had = len(self.blocks())
        with self._held_open() as requests:
            # It stays until the copy ends, and says how.
            copy = subprocess.Popen(
                self.criu.command("restore", "-D", self.images, "-o", "restore.log", "-v2"), start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            os.write(requests, b"\n")
            self._wait_for(had + blocks, copy)
        if copy.wait() != 0:
            raise Failure(f"a copy ended with code {copy.returncode}: {self._last_words()}")
        return self.blocks()[had:]

    def blocks(self) -> list[bytes]:
        lines = self.answers.read_text().split("\n")[:-1]  # but not the one that is being written
        return [bytes.fromhex(line) for line in lines if len(line) == 2 * BLOCK]

    def _wait_for(self, blocks: int, process: subprocess.Popen) -> None:
        while len(self.blocks()) < blocks:
            if process.poll() is not None and len(self.blocks()) < blocks:
                raise EndedEarly(process.returncode, self._last_words())
            time.sleep(0.01)

    @contextmanager
    def _held_open(self) -> Iterator[int]:
        pipe = os.open(self.requests, os.O_RDWR | os.O_CLOEXEC)
        try:
            yield pipe
        finally:
            os.close(pipe)

    def _last_words(self) -> str:
        return self.errors.read_text(errors="replace") + self._log("restore.log")

    def _log(self, name: str) -> str:
        log = self.images / name
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return " / ".join(line for line in lines if "Error" in line)


def _environment() -> dict[str, str]:
    """No configuration comes from the environment of the tests."""
    return {name: value for name, value in os.environ.items() if name not in ("OPENSSL_CONF", "SNAPRNG_POLICY")}


class EndedEarly(Failure):
    """The program ended instead of answering."""

    def __init__(self, code: int, said: str):
        super().__init__(f"the program ended with code {code} instead of answering: {said}")
        self.code = code
