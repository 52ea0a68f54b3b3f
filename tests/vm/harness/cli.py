"""The command line."""

import argparse
import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from . import guest_image, packages, test_matrix
from .checks import Verdict, workers_are_complete
from .cloning import Laboratory, Run
from .console import write_not_run
from .errors import GuestFailure, Unavailable
from .ledger import Ledger, fingerprint, record, write_record
from .report import Result, Terminal, document_of, measurements, write_json
from .scenarios import C_ABI, INIT, MATRIX, OPENSSL, SCENARIOS, SPECIAL, Scenario
from .streams import write_streams

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent
PASSED, FAILED, USAGE, UNAVAILABLE = 0, 1, 2, 3
# While one scenario is compared or waits for its clones, the next one boots.
SCENARIOS_AT_ONCE = 3


def main(arguments: list[str] | None = None) -> int:
    """Run the scenarios; the exit code says how it went."""
    parser = _parser()
    options = parser.parse_args(arguments)
    unknown = set(options.scenario) - {name for scenario in (*SPECIAL, *MATRIX) for name in _names(scenario)}
    if unknown:
        parser.error(f"there is no scenario called {', '.join(sorted(unknown))}; --list shows them all")
    if options.list:
        for scenario in (*SPECIAL, *MATRIX):
            print(f"{scenario.name:<32}{scenario.proves}{'' if scenario in SCENARIOS else ' (--all)'}")
        return PASSED
    if options.self_test:
        return PASSED if test_matrix.holds() else FAILED
    terminal = Terminal()
    if options.json:
        write_not_run(options.json, "the run did not come to an end")  # an older result must not be taken for this one
    try:
        return _run(options, terminal)
    except Unavailable as reason:
        print(f"tests/vm: not run: {reason}", file=sys.stderr)
        if options.json:
            write_not_run(options.json, str(reason))
        return UNAVAILABLE
    except KeyboardInterrupt:
        print("tests/vm: interrupted, nothing is proven", file=sys.stderr)
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tests/vm/run",
        description="Clone real virtual machines in the middle of generating, and prove that snaprng repeats nothing.",
        epilog="Exit codes: 0 all verdicts as expected, 1 a verdict failed, 2 wrong usage, 3 something needed could "
               "not be had. Environment: SNAPRNG_VM_CACHE (where QEMU and the kernel are kept), "
               "SNAPRNG_VM_MIRROR (a Debian mirror; default the one apt uses), TMPDIR (where snapshots go).",
    )
    parser.add_argument("scenario", nargs="*", metavar="SCENARIO",
                        help="run only these, or those of the matrix that have these points (see --list)")
    parser.add_argument("--all", action="store_true", help="run the whole matrix: 96 points in 36 machines")
    parser.add_argument("--resume", type=Path, metavar="FOLDER",
                        help="keep what is finished in FOLDER, and leave out what is finished there")
    parser.add_argument("--record", type=Path, metavar="FOLDER",
                        help="write long.json and long.md of the matrix to FOLDER")
    parser.add_argument("--at-least", type=int, default=0, metavar="N",
                        help="fail unless N outputs of the matrix were compared and every point was judged")
    parser.add_argument("--streams", type=Path, metavar="FOLDER",
                        help="write what each clone gave, in points that share nothing, to FOLDER/CLONE/MACHINE")
    parser.add_argument("--self-test", action="store_true", help="check the matrix itself, without any machine, and end")
    parser.add_argument("--list", action="store_true", help="list the scenarios and end")
    parser.add_argument("--clones", type=_clones, default=4, metavar="N",
                        help="clones per snapshot (default 4, at least 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything to FILE as JSON")
    parser.add_argument("--keep", action="store_true", help="keep the machines' logs and say where they are")
    parser.add_argument("--guest", type=Path, metavar="FILE", help="use this guest program instead of compiling it")
    parser.add_argument("--refresh", action="store_true", help="fetch QEMU and the kernel again")
    return parser


def _clones(text: str) -> int:
    number = int(text)
    if number < 2:
        raise argparse.ArgumentTypeError("two clones are the least that can be compared")
    return number


def _run(options: argparse.Namespace, terminal: Terminal) -> int:
    cache = Path(os.environ.get("SNAPRNG_VM_CACHE") or HERE / ".cache").resolve()
    toolchain = packages.obtain(cache, terminal.progress, options.refresh)
    terminal.progress(f"QEMU {toolchain.qemu_version}, Linux {toolchain.kernel_release}")
    key = fingerprint(ROOT, toolchain, options.clones)
    ledger = Ledger(options.resume, key) if options.resume else None
    chosen, finished = _chosen(options, ledger)
    documents, started = [*finished], time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="snaprng-vm-"))
    try:
        image = folder / "image"
        guest_image.write_image(image, _files(options.guest, chosen, folder, terminal), toolchain)
        laboratory = Laboratory(folder, toolchain, image, options.clones, terminal.progress)
        results = []
        with ThreadPoolExecutor(SCENARIOS_AT_ONCE) as pool:
            for judged in as_completed([pool.submit(_judge, scenario, laboratory) for scenario in chosen]):
                results.append(judged.result())
                terminal.result(results[-1])
                documents.append(document_of(results[-1]))
                if ledger:
                    ledger.keep(documents[-1])
                if options.streams and results[-1].run:
                    write_streams(options.streams, results[-1].scenario, results[-1].run.recordings)
                results[-1].run = Run([], {}, {}) if results[-1].run else None  # the recordings are large
                if options.record:
                    seconds = time.monotonic() - started
                    write_record(options.record, record(documents, ROOT, key, toolchain, options.clones, seconds))
    finally:
        if options.keep:
            print(f"  the machines' logs are in {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    terminal.summary(results)
    if options.json:
        write_json(options.json, results, toolchain, options.clones)
    known = record(documents, ROOT, key, toolchain, options.clones, time.monotonic() - started)
    if options.record:
        write_record(options.record, known)
    terminal.matrix(known, len(finished))
    enough = options.at_least == 0 or known["complete"] and known["outputs_compared"] >= options.at_least
    if not enough:
        print(f"FAIL  Demanded were all points and {options.at_least} outputs.")
    return PASSED if enough and known["shared"] == 0 and all(result.passed for result in results) else FAILED


def _names(scenario: Scenario) -> list[str]:
    return [scenario.name, *(name for name, _ in scenario.points)]


def _chosen(options: argparse.Namespace, ledger: Ledger | None) -> tuple[list[Scenario], list[dict]]:
    """What is to be run, the longest first, and what is known already."""
    wanted = MATRIX if options.all else SCENARIOS
    if options.scenario:
        named = set(options.scenario)
        wanted = tuple(scenario for scenario in (*SPECIAL, *MATRIX) if named & set(_names(scenario)))
    known = {scenario.name: ledger.finished(scenario.name) for scenario in wanted} if ledger else {}
    left = [scenario for scenario in wanted if not known.get(scenario.name)]
    return sorted(left, key=lambda scenario: not scenario.waits), [document for document in known.values() if document]


def _files(guest: Path | None, chosen: list[Scenario], folder: Path, terminal: Terminal) -> dict[str, Path]:
    """What the chosen scenarios need, by the names in the image."""
    wanted = {worker.program for scenario in chosen for worker in scenario.workers}
    if guest is None:
        terminal.progress("compiling the guest program")
    files = {INIT: guest or guest_image.build_guest(HERE / "guest/Cargo.toml")}
    if C_ABI in wanted:
        terminal.progress("compiling the C program on the static library")
        files[C_ABI] = guest_image.build_c_abi_guest(HERE / "guest/c", ROOT, folder / "built" / C_ABI)
    if OPENSSL in wanted:
        terminal.progress("compiling the provider and the C program on OpenSSL")
        files |= guest_image.build_openssl_guest(HERE / "guest/c", ROOT, folder / "built" / OPENSSL)
    return files


def _judge(scenario: Scenario, laboratory: Laboratory) -> Result:
    start = time.monotonic()
    try:
        run = laboratory.run(scenario)
    except GuestFailure as failure:
        return Result(scenario, [Verdict(f"The scenario did not come to an end: {failure}", False)],
                      time.monotonic() - start)
    laboratory.say(f"{scenario.name}: comparing")
    expected = {worker.name: worker.expected() for worker in scenario.workers}
    checks = [("", workers_are_complete(expected)), *scenario.all_checks()]
    verdicts = []
    for point, check in checks:
        verdicts.append(check(run.recordings))
        verdicts[-1].point = point
    return Result(scenario, verdicts, time.monotonic() - start, run, measurements(scenario, run))
