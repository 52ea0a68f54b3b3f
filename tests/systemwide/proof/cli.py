"""The command line."""

import argparse
import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from harness import packages
from harness.checks import Verdict
from harness.console import write_not_run
from harness.errors import GuestFailure, Unavailable

from . import image, test_pcap
from .host import Host
from .laboratory import AT_ONCE, Laboratory
from .report import Result, Terminal, write_json
from .scenarios import Scenario, Scene, copies, failures, same_machine

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent
# The longest first.
SCENARIOS = (*failures.SCENARIOS, *copies.SCENARIOS, *same_machine.SCENARIOS)
PASSED, FAILED, USAGE, UNAVAILABLE = 0, 1, 2, 3


def main(arguments: list[str] | None = None) -> int:
    """Run the scenarios; the exit code says how it went."""
    parser = _parser()
    options = parser.parse_args(arguments)
    unknown = set(options.scenario) - {scenario.name for scenario in SCENARIOS}
    if unknown:
        parser.error(f"there is no scenario called {', '.join(sorted(unknown))}; --list shows them all")
    if options.list:
        for scenario in SCENARIOS:
            print(f"{scenario.name:<16}{scenario.proves}")
        return PASSED
    if options.self_test:
        return PASSED if test_pcap.holds() else FAILED
    if options.json:
        write_not_run(options.json, "the run did not come to an end")  # an older result must not be taken for this one
    try:
        return _run(options, Terminal())
    except Unavailable as reason:
        print(f"tests/systemwide: NOT RUN, NOTHING IS PROVEN: {reason}", file=sys.stderr)
        if options.json:
            write_not_run(options.json, str(reason))
        return UNAVAILABLE
    except GuestFailure as failure:
        print(f"FAIL  The machine did not come up: {failure}")
        return FAILED
    except KeyboardInterrupt:
        print("tests/systemwide: interrupted, nothing is proven", file=sys.stderr)
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tests/systemwide/run",
        description="Snapshot a Debian machine with snapsafed, clone it, and read on the wire what clones give away.",
        epilog="Exit codes: 0 all verdicts as expected, 1 a verdict failed, 2 wrong usage, 3 something needed could "
               "not be had. Environment: SNAPRNG_VM_CACHE (where QEMU and the kernel are kept), "
               "SNAPRNG_SYSTEMWIDE_CACHE (where the Debian is kept), SNAPRNG_VM_MIRROR (a Debian mirror; default the "
               "one apt uses), TMPDIR (where snapshots go).",
    )
    parser.add_argument("scenario", nargs="*", metavar="SCENARIO", help="run only these (see --list)")
    parser.add_argument("--list", action="store_true", help="list the scenarios and end")
    parser.add_argument("--self-test", action="store_true", help="check the reader of captures, without any machine")
    parser.add_argument("--clones", type=_clones, default=3, metavar="N", help="clones per snapshot (3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything to FILE as JSON")
    parser.add_argument("--keep", action="store_true", help="keep logs and captures, and say where")
    parser.add_argument("--refresh", action="store_true", help="fetch QEMU, the kernel and the Debian again")
    return parser


def _clones(text: str) -> int:
    number = int(text)
    if number < 3:
        raise argparse.ArgumentTypeError("three clones are the least")
    return number


def _run(options: argparse.Namespace, terminal: Terminal) -> int:
    began = time.monotonic()
    cache = Path(os.environ.get("SNAPRNG_VM_CACHE") or ROOT / "tests/vm/.cache").resolve()
    toolchain = packages.obtain(cache, terminal.progress, options.refresh)
    terminal.progress(f"QEMU {toolchain.qemu_version}, Linux {toolchain.kernel_release}")
    kept = Path(os.environ.get("SNAPRNG_SYSTEMWIDE_CACHE") or HERE / ".cache").resolve()
    debian = image.debian(kept, terminal.progress, options.refresh)
    terminal.progress("compiling the daemon and the applications")
    programs = image.build(ROOT)
    folder = Path(tempfile.mkdtemp(prefix="snapsafe-"))
    try:
        image.write(folder / "image", debian, programs, ROOT, toolchain)
        with Host() as host:
            laboratory = Laboratory(folder, toolchain, folder / "image", host, options.clones, terminal.progress)
            laboratory.boot()
            results = _play_all(options.scenario, laboratory, terminal)
    finally:
        if options.keep:
            print(f"  the machines' logs and captures are in {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    terminal.summary(results, time.monotonic() - began)
    if options.json:
        write_json(options.json, results, toolchain, laboratory.seconds)
    return PASSED if all(result.passed for result in results) else FAILED


def _play_all(named: list[str], laboratory: Laboratory, terminal: Terminal) -> list[Result]:
    results = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        chosen = [scenario for scenario in SCENARIOS if not named or scenario.name in named]
        for played in as_completed([pool.submit(_play, scenario, laboratory) for scenario in chosen]):
            results.append(played.result())
            terminal.result(results[-1])
    return results


def _play(scenario: Scenario, laboratory: Laboratory) -> Result:
    laboratory.say(scenario.name)
    began = time.monotonic()
    scene = Scene(laboratory, laboratory.folder / scenario.name)
    scene.folder.mkdir()
    try:
        scenario.play(scene)
    except (GuestFailure, OSError) as failure:
        scene.verdicts.append(Verdict(f"The scenario did not come to an end: {failure}", False))
    finally:
        for snapshot in scene.folder.glob("snapshot*"):
            snapshot.unlink()  # 200 MB each; logs and captures stay for --keep
    return Result(scenario.name, scenario.proves, time.monotonic() - began, scene.verdicts)
