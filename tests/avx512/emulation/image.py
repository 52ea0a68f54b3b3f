"""The disk that the emulated machine starts from: a kernel, the tests and their init, and a boot loader."""

import json
import os
from pathlib import Path

from harness.cpio import Cpio
from harness.errors import Unavailable
from harness.guest_image import STATIC_FLAGS, TARGET
from harness.tools import need, run

from .runs import EMULATED, RUNS, UNIT_TESTS

INIT = "init"
#: Debian's packages isolinux and syslinux-common.
LOADER = [Path("/usr/lib/ISOLINUX/isolinux.bin"), Path("/usr/lib/syslinux/modules/bios/ldlinux.c32")]

KERNEL_COMMAND_LINE = " ".join([
    # At the default speed the port is so slow that printing takes longer than all the rest.
    "console=ttyS0,115200",
    # Bochs 2.7 gives a wrong size for the compact form of saved registers, and the kernel then saves none at all.
    "noxsaves", "clearcpuid=xsaves,xsavec",
    # A slow emulator fails the kernel's test of its timer, which needs a few ticks in time.
    "no_timer_check",
    # What only takes time here.
    "mitigations=off", "nokaslr", "cryptomgr.notests",
    f"panic=-1 rdinit=/{INIT}",
])  # fmt: skip


def build_programs(root: Path) -> dict[str, Path]:
    """Compile the tests and the init, statically linked, for the machine has no other file."""
    need(["cargo"], "to compile the tests; see https://rustup.rs")
    tests = _cargo(root, "test", "--no-run", "--package=snaprng", "--lib", f"--test={EMULATED}")
    init = _cargo(root, "build", "--package=snaprng-avx512-init")
    return {INIT: init["snaprng-avx512-init"], UNIT_TESTS: tests["snaprng"], EMULATED: tests[EMULATED]}


def _cargo(root: Path, command: str, *selection: str) -> dict[str, Path]:
    """The programs that cargo makes, by the names of their targets."""
    flags = f"{os.environ.get('RUSTFLAGS', '')} {STATIC_FLAGS}".strip()
    printed = run(
        ["cargo", command, *selection, "--release", "--locked", "--target", TARGET,
         "--message-format", "json-render-diagnostics"],
        f"compiling for {TARGET} (is this target installed?)", cwd=root, env=os.environ | {"RUSTFLAGS": flags},
    )  # fmt: skip
    messages = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    return {m["target"]["name"]: Path(m["executable"]) for m in messages if m.get("executable")}


def write_disk(folder: Path, kernel: Path, programs: dict[str, Path]) -> Path:
    """Write the disk, an ISO image, into `folder`."""
    need(["strip", "xorriso"], "to make the emulated machine's disk (Debian's packages binutils and xorriso)")
    for part in LOADER:
        if not part.exists():
            raise Unavailable(f"{part} is needed to start the machine (Debian's packages isolinux and syslinux-common)")
    content = folder / "disk"
    content.mkdir()
    for part in [kernel, *LOADER]:
        (content / part.name).write_bytes(part.read_bytes())
    (content / "image").write_bytes(_root_filesystem(folder, programs))
    (content / "isolinux.cfg").write_text(
        f"DEFAULT tests\nPROMPT 0\nLABEL tests\n"
        f"KERNEL /{kernel.name}\nINITRD /image\nAPPEND {KERNEL_COMMAND_LINE}\n"
    )
    disk = folder / "disk.iso"
    run(["xorriso", "-as", "mkisofs", "-quiet", "-o", str(disk), "-b", LOADER[0].name, "-c", "boot.cat",
         "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", str(content)], "writing the disk")  # fmt: skip
    return disk


def _root_filesystem(folder: Path, programs: dict[str, Path]) -> bytes:
    archive = Cpio()
    for name in ("dev", "proc", "sys", "tmp"):
        archive.folder(name)
    archive.character_device("dev/console", 5, 1)
    archive.file("runs", "".join(f"{run.line()}\n" for run in RUNS).encode(), 0o644)
    for name, program in programs.items():
        small = folder / name
        run(["strip", "-s", "-o", str(small), str(program)], f"stripping {name}")
        archive.file(name, small.read_bytes(), 0o755)
    return archive.finish()
