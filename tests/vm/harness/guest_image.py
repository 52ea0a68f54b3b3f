"""The guest's root filesystem: the guest programs, what they need, and the vmclock driver, in a newc cpio archive."""

import json
import os
import re
from pathlib import Path

from .cpio import Cpio
from .errors import Unavailable
from .modules import in_order
from .packages import Toolchain
from .tools import need, run

TARGET = "x86_64-unknown-linux-gnu"
PACKAGE = "snaprng-vm-guest"
MODULE = "ptp_vmclock"
#: For rustc.
STATIC_FLAGS = "-C target-feature=+crt-static"
COMPILER = ["cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread"]
# std calls functions that a static glibc warns of (getaddrinfo); nothing here comes near them.
STATIC = ["-static", "-Wl,--no-warnings"]


def build_guest(manifest: Path) -> Path:
    """Compile the guest program, statically linked so that it can be PID 1 in an otherwise empty filesystem."""
    need(["cargo"], "to compile the guest program; see https://rustup.rs")
    flags = f"{os.environ.get('RUSTFLAGS', '')} {STATIC_FLAGS}".strip()
    printed = run(
        ["cargo", "build", "--release", "--target", TARGET, "--manifest-path", str(manifest),
         "--message-format", "json-render-diagnostics"],
        f"compiling the guest program (is the target {TARGET} installed?)", env=os.environ | {"RUSTFLAGS": flags},
    )
    for line in printed.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == PACKAGE:
            return Path(message["executable"])
    raise Unavailable(f"cargo built no program called {PACKAGE}")


def build_c_abi_guest(sources: Path, root: Path, prefix: Path) -> Path:
    """Compile the C program against the static library, which dist/install-c installs under `prefix` first."""
    need(["pkg-config"], "to compile the guest's C program")
    run([str(root / "dist/install-c"), str(prefix)], "installing the C libraries")
    flags = run(["pkg-config", "--static", "--cflags", "--libs", "snaprng"], "asking for the C library's flags",
                env=os.environ | {"PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig")}).split()
    return _compile(sources, "c-abi", root, prefix, [*STATIC, *flags])


def build_openssl_guest(sources: Path, root: Path, prefix: Path) -> dict[str, Path]:
    """The C program and its configurations, by their names in the image; and this machine's OpenSSL and what else it
    and the provider need, where they are on this machine, with the provider among OpenSSL's modules."""
    need(["pkg-config", "ldd"], "to compile the guest's program on OpenSSL")
    run([str(root / "dist/install-openssl"), str(prefix)], "installing the provider")
    asking = "asking for OpenSSL's flags (Debian's name: libssl-dev)"
    flags = run(["pkg-config", "--cflags", "--libs", "libcrypto >= 3"], asking).split()
    modules = run(["pkg-config", "--variable=modulesdir", "libcrypto"], asking).strip().lstrip("/")
    program, provider = _compile(sources, "openssl", root, prefix, flags), prefix / "snaprng.so"
    libraries = run(["ldd", str(program), str(provider)], "asking what the program and the provider need")
    paths = re.findall(r"^\t(?:\S+ => )?/(\S+) \(", libraries, re.MULTILINE)
    configurations = {path.name: path for path in (sources / "openssl").glob("*.cnf")}
    here = {path: Path("/", path) for path in paths}
    return here | configurations | {"openssl": program, f"{modules}/{provider.name}": provider}


def _compile(sources: Path, program: str, root: Path, prefix: Path, flags: list[str]) -> Path:
    """One of the C programs: its own folder, and what they share."""
    need(COMPILER[:1], "to compile the guest's C program")
    checks = f"-I{root / 'tests/capi/programs'}"  # check.h
    files = [str(source) for folder in (sources, sources / program) for source in sorted(folder.glob("*.c"))]
    compiled = prefix / "guest"
    run([*COMPILER, checks, *files, "-o", str(compiled), *flags], "compiling the guest's C program")
    return compiled


def write_image(path: Path, files: dict[str, Path], toolchain: Toolchain) -> None:
    """Write the archive the kernel unpacks as its root filesystem, with these files by their names in it."""
    modules = in_order(toolchain.modules, [MODULE])
    archive = Cpio()
    for folder in ("dev", "modules", "proc", "sys", "run"):
        archive.folder(folder)
    archive.character_device("dev/console", 5, 1)
    for folder in sorted({str(parent) for name in files for parent in Path(name).parents} - {"."}):
        archive.folder(folder)
    for name, file in files.items():
        archive.file(name, file.read_bytes(), 0o755)
    archive.file("modules/order", "".join(f"{name}\n" for name in modules).encode(), 0o644)
    for name, content in modules.items():
        archive.file(f"modules/{name}", content, 0o644)
    path.write_bytes(archive.finish())
