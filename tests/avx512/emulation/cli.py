"""The command line."""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from harness import packages
from harness.errors import GuestFailure, Unavailable

from . import bochs, image, outcome
from .runs import RUNS

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent
PASSED, FAILED, UNAVAILABLE = 0, 1, 3


def main(arguments: list[str] | None = None) -> int:
    """Run the tests; the exit code says how it went."""
    options = _parser().parse_args(arguments)
    # Whoever is told to stop stops the emulator: it would go on alone, and for ever.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    folder = Path(tempfile.mkdtemp(prefix="snaprng-avx512-"))
    try:
        return _run(options, folder)
    except Unavailable as reason:
        print(f"tests/avx512: NOT RUN, AVX-512 IS NOT TESTED: {reason}", file=sys.stderr)
        return UNAVAILABLE
    except KeyboardInterrupt:
        print("tests/avx512: interrupted, nothing is proven", file=sys.stderr)
        return FAILED
    finally:
        if options.keep:
            print(f"tests/avx512: the machine's disk and logs are in {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tests/avx512/run",
        description="Run the tests of the cipher's kernels on an emulated CPU that has AVX-512, whatever this one has.",
        epilog="Exit codes: 0 all passed, 1 a test failed or the machine hung, 2 wrong usage, 3 something needed could "
               "not be had. Environment: SNAPRNG_VM_CACHE and SNAPRNG_VM_MIRROR (the kernel is that of tests/vm), "
               "TMPDIR (40 MB for the time of the run).",
    )  # fmt: skip
    parser.add_argument("--cpu", default="corei7_skylake_x", metavar="MODEL",
                        help="the CPU to emulate (default %(default)s; `bochs --help cpu` lists them)")  # fmt: skip
    parser.add_argument("--patience", type=float, default=900, metavar="SECONDS",
                        help="how long the machine may take before it counts as hanging (default %(default)s)")  # fmt: skip
    parser.add_argument("--keep", action="store_true", help="keep the machine's disk and logs and say where they are")
    return parser


def _run(options: argparse.Namespace, folder: Path) -> int:
    cache = Path(os.environ.get("SNAPRNG_VM_CACHE") or ROOT / "tests/vm/.cache").resolve()
    emulator = f"Bochs {bochs.version()}"
    toolchain = packages.obtain(cache, _say)
    _say("compiling the tests")
    disk = image.write_disk(folder, toolchain.kernel, image.build_programs(ROOT))
    _say(f"booting Linux {toolchain.kernel_release} on {options.cpu}, emulated by {emulator}")
    began = time.monotonic()
    lines: list[str] = []
    try:
        with bochs.Machine(folder, options.cpu, disk) as machine:
            try:
                _listen(machine, began, options.patience, lines)
            except GuestFailure as failure:
                raise GuestFailure(f"{failure}\n{machine.last_words()}") from None
            if not lines or lines[-1] != outcome.DONE:
                raise GuestFailure(f"the emulated machine ended by itself\n{machine.last_words()}")
    except GuestFailure as failure:
        print(f"tests/avx512: FAILED after {time.monotonic() - began:.0f} s: {failure}", flush=True)
        return FAILED
    return _judge(lines, time.monotonic() - began)


def _listen(machine: bochs.Machine, began: float, patience: float, lines: list[str]) -> None:
    """Collects what the machine writes, and shows what its tests say, until it is done."""
    booted = False
    for line in machine.lines(began + patience):
        lines.append(line)
        if not booted and outcome.is_about_tests(line):
            booted = True
            _say(f"booted in {time.monotonic() - began:.0f} s")
        if booted:
            print(line, flush=True)
        if outcome.is_end_of_run(line):
            _say(f"after {time.monotonic() - began:.0f} s")
        if line == outcome.DONE:
            return


def _judge(lines: list[str], seconds: float) -> int:
    failures = outcome.failures(lines)
    for failure in failures:
        print(f"tests/avx512: FAILED: {failure}")
    if failures:
        return FAILED
    for run in RUNS:
        _say(f"passed: {run.proves}")
    _say(f"all passed on a CPU with AVX-512, in {seconds:.0f} s")
    return PASSED


def _say(text: str) -> None:
    print(f"tests/avx512: {text}", flush=True)
