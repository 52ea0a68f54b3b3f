"""A newer OpenSSL, unpacked into a cache folder; nothing is installed on the machine.

Debian's trixie has 3.5, and the C library it needs. They come as the tests on virtual machines get what they need.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "vm"))

from harness import debian  # noqa: E402  (needs the path)
from harness.errors import Unavailable  # noqa: E402, F401  (for whoever catches it)

CACHE = HERE / ".cache"
WANTED = ["openssl", "libssl3t64", "libssl-dev"]


@dataclass(frozen=True)
class Root(debian.Root):
    """The unpacked packages."""

    @property
    def headers(self) -> Path:
        return self.path / "usr/include/openssl"

    def emulated(self, program) -> list[str]:
        """Starts a program of this root on an emulated processor."""
        return ["qemu-aarch64", "-L", str(self.path), str(program)]

    def openssl(self) -> Path:
        return self.path / "usr/bin/openssl"


def obtain(architecture: str = "amd64") -> Root:
    """The root from the cache; fetched first if it is not there. Raises `Unavailable`."""
    return Root(debian.obtain(CACHE / architecture, "trixie", WANTED, architecture).path)
