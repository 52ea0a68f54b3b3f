"""A newer OpenSSL, unpacked into a cache folder; nothing is installed on the machine.

Debian's trixie has 3.5. It is fetched, with the C library it needs and its headers, by the private apt of the tests on
virtual machines, verified against Debian's keys, and started through its own loader.
"""

import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "vm"))

from harness import packages  # noqa: E402  (needs the path)
from harness.errors import Unavailable  # noqa: E402

CACHE = HERE / ".cache"
WANTED = ["openssl", "libssl3t64", "libssl-dev"]


@dataclass(frozen=True)
class Root:
    """The unpacked packages."""

    path: Path

    @property
    def headers(self) -> Path:
        return self.path / "usr/include/openssl"

    def command(self, program) -> list[str]:
        """Starts a program with the libraries of this root."""
        libraries = self.path / packages.LIBRARIES
        return [str(libraries / "ld-linux-x86-64.so.2"), "--library-path", str(libraries), str(program)]

    def emulated(self, program) -> list[str]:
        """Starts a program of this root on an emulated processor."""
        return ["qemu-aarch64", "-L", str(self.path), str(program)]

    def openssl(self) -> Path:
        return self.path / "usr/bin/openssl"


class _Apt(packages._PrivateApt):
    """For one architecture; the tests on virtual machines know only their own."""

    def __init__(self, base: Path, architecture: str):
        self.architecture = architecture
        super().__init__(base, packages._mirror())

    def _sources(self) -> str:
        return super()._sources().replace("amd64", self.architecture)

    def _configuration(self) -> str:
        return super()._configuration().replace("amd64", self.architecture)


def obtain(architecture: str = "amd64") -> Root:
    """The root from the cache; fetched first if it is not there. Raises `Unavailable`."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise Unavailable("only tried on Linux on x86-64")
    cache = CACHE / architecture
    root = Root(cache / "root")
    if not (cache / "complete").exists():
        _fetch(cache, root.path, architecture)
    return root


def _fetch(cache: Path, root: Path, architecture: str) -> None:
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise Unavailable(f"{tool} is needed to fetch a newer OpenSSL; it comes with Debian and its derivatives")
    cache.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(root, ignore_errors=True)
    apt = _Apt(cache / "apt", architecture)
    apt.update()
    for archive in apt.download(WANTED):
        packages._run(["dpkg-deb", "-x", str(archive), str(root)], f"unpacking {archive.name}")
    packages._join_usr(root)
    # Where the loader is looked for by programs of this root.
    (root / "lib").symlink_to("usr/lib")
    shutil.rmtree(apt.base)
    (cache / "complete").touch()
