"""A newer OpenSSL, unpacked into a cache folder; nothing is installed on the machine.

Debian's trixie has 3.5. It is fetched, with the C library it needs and its headers, by the private apt of the tests on
virtual machines, verified against Debian's keys, and started through its own loader.
"""

import shutil
import subprocess
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

    def openssl(self) -> list[str]:
        return self.command(self.path / "usr/bin/openssl")


def obtain() -> Root:
    """The root from the cache; fetched first if it is not there. Raises `Unavailable`."""
    if sys.platform != "linux" or subprocess.run(["uname", "-m"], capture_output=True, text=True).stdout.strip() != "x86_64":
        raise Unavailable("Debian's packages for x86-64 are used")
    root = Root(CACHE / "root")
    if not (CACHE / "complete").exists():
        _fetch(root.path)
    return root


def _fetch(root: Path) -> None:
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise Unavailable(f"{tool} is needed to fetch a newer OpenSSL; it comes with Debian and its derivatives")
    CACHE.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(root, ignore_errors=True)
    apt = packages._PrivateApt(CACHE / "apt", packages._mirror())
    apt.update()
    for archive in apt.download(WANTED):
        packages._run(["dpkg-deb", "-x", str(archive), str(root)], f"unpacking {archive.name}")
    packages._join_usr(root)
    shutil.rmtree(apt.base)
    (CACHE / "complete").touch()
