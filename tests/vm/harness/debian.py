"""Debian's packages, unpacked into a folder; nothing is installed on the machine.

They are fetched with a private apt state (own sources, lists and cache, and an empty dpkg status so that the closure
includes libc), verified by apt against Debian's keys, and unpacked with `dpkg -x`. Programs are started through the
loader and libraries unpacked next to them. Root is not needed.
"""

import fcntl
import json
import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import Unavailable
from .tools import need, run

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
LIBRARIES = "usr/lib/x86_64-linux-gnu"


@dataclass(frozen=True)
class Root:
    """A folder of unpacked packages."""

    path: Path

    def command(self, program) -> list[str]:
        """Starts a program with the libraries of this root."""
        libraries = self.path / LIBRARIES
        return [str(libraries / "ld-linux-x86-64.so.2"), "--library-path", str(libraries), str(program)]

    def fill(self, archives: list[Path]) -> None:
        """Unpack these packages, and have nothing else in the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        for archive in archives:
            run(["dpkg", "-x", str(archive), str(self.path)], f"unpacking {archive.name}")
        self._join_usr()

    def _join_usr(self) -> None:
        """Older packages still ship /lib; the tests look only under /usr/lib, and the loader of an emulated program
        is looked for in /lib."""
        lib = self.path / "lib"
        if lib.is_dir() and not lib.is_symlink():
            shutil.copytree(lib, self.path / "usr/lib", symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(lib)
        if not lib.is_symlink():
            lib.symlink_to("usr/lib")


def obtain(cache: Path, suite: str, wanted: list[str], architecture: str = "amd64") -> Root:
    """These packages of this suite and all they depend on, from the cache; fetched first if they are not there."""
    need_amd64()
    root, stamp = Root(cache / "root"), cache / "packages.json"
    with locked(cache):
        if not stamp.exists():
            apt = PrivateApt(cache / "apt", [suite], architecture)
            apt.update()
            archives = apt.download(wanted)
            root.fill(archives)
            stamp.write_text(json.dumps({"suite": suite, "packages": [archive.name for archive in archives]}, indent=1))
            apt.forget()
    return root


def need_amd64() -> None:
    """Elsewhere the packages would not run, or were not tried."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise Unavailable(f"Debian's packages for x86-64 Linux are used; this machine is {platform.system()} "
                          f"{platform.machine()}")


@contextmanager
def locked(cache: Path) -> Iterator[None]:
    """Two runs must not unpack into one folder."""
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def mirror() -> str:
    """The Debian mirror this machine already uses; a host name written here would be wrong for someone."""
    override = os.environ.get("SNAPRNG_VM_MIRROR")
    if override:
        return override.rstrip("/")
    listed = run(["apt-get", "indextargets", "--format", "$(SITE)|$(ORIGIN)|$(LABEL)"], "reading apt's sources")
    rows = [line.split("|") for line in listed.splitlines() if line.count("|") == 2]
    for site, origin, label in rows:
        if origin == label == "Debian":
            return site.rstrip("/")
    for site, _, _ in rows:  # the origin is unknown until the lists have been downloaded once
        if site.rstrip("/").endswith("/debian"):
            return site.rstrip("/")
    raise Unavailable(
        "this machine's apt configuration names no Debian mirror; set SNAPRNG_VM_MIRROR to one (the part before /dists)"
    )


class PrivateApt:
    """apt with its own sources, lists, cache and dpkg status; the machine's proxy settings still apply.

    Where the last of the suites has a package, it is taken from there.
    """

    def __init__(self, base: Path, suites: list[str], architecture: str = "amd64"):
        need(["apt-get", "apt-cache", "dpkg", "dpkg-deb"],
             "to fetch Debian's packages; it comes with Debian and its derivatives")
        self.base = base
        self.suites = suites
        self.newest = suites[-1]
        self.architecture = architecture
        self.mirror = mirror()
        shutil.rmtree(base, ignore_errors=True)  # what a run left that was interrupted
        for folder in ("state/lists/partial", "cache/archives/partial", "etc", "parts"):
            (base / folder).mkdir(parents=True, exist_ok=True)
        (base / "state/status").write_text("")
        (base / "etc/sources.list.d").mkdir(exist_ok=True)
        (base / "etc/sources.list.d/debian.sources").write_text(self._sources())
        # apt reads APT_CONFIG, then the machine's apt.conf.d (proxies), then Dir::Etc::main: the last word is ours,
        # so that no hook of the machine runs for a private update.
        (base / "etc/last.conf").write_text("#clear APT::Update::Post-Invoke;\n"
                                            "#clear APT::Update::Post-Invoke-Success;\n"
                                            "#clear DPkg::Post-Invoke;\n")
        (base / "etc/first.conf").write_text(self._configuration())
        self.environment = dict(os.environ, APT_CONFIG=str(base / "etc/first.conf"), LC_ALL="C")

    def _sources(self) -> str:
        signed = f"Signed-By: {KEYRING}\n" if KEYRING.exists() else ""
        return (f"Types: deb\nURIs: {self.mirror}\nSuites: {' '.join(self.suites)}\n"
                f"Components: main\nArchitectures: {self.architecture}\n{signed}")

    def _configuration(self) -> str:
        base = self.base
        settings = {
            "Dir::State": base / "state",
            "Dir::State::status": base / "state/status",
            "Dir::Cache": base / "cache",
            "Dir::Etc::main": base / "etc/last.conf",
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": base / "etc/sources.list.d",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": base / "parts",
            "APT::Architecture": self.architecture,
            "APT::Sandbox::User": "",
            "APT::Install-Recommends": "false",
            "APT::Default-Release": "",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "Debug::NoLocking": "true",
        }
        lines = [f'{name} "{value}";' for name, value in settings.items()]
        only = ["#clear APT::Architectures;", f'APT::Architectures {{ "{self.architecture}"; }};']
        return "\n".join([*only, *lines]) + "\n"

    def update(self) -> None:
        run(["apt-get", "-q", "-o", "APT::Update::Error-Mode=any", "update"],
            f"fetching the package lists of {self.newest} from {self.mirror}", env=self.environment)

    def depends(self, package: str) -> list[str]:
        printed = run(["apt-cache", "-t", self.newest, "depends", "--no-recommends", "--no-suggests", package],
                      f"looking up {package} in {self.newest}", env=self.environment)
        # Virtual packages come in angle brackets with their providers below them; neither is meant here.
        return re.findall(r"^\s*\|?Depends: ([^<\s]+)$", printed, re.MULTILINE)

    def download(self, packages: list[str]) -> list[Path]:
        """Download `packages` and everything they depend on; the archives' paths."""
        run(["apt-get", "-q", "-y", "-t", self.newest, "--download-only", "install", *packages],
            f"downloading {', '.join(packages)}", env=self.environment)
        return sorted((self.base / "cache/archives").glob("*.deb"))

    def forget(self) -> None:
        """Remove it all: 100 MB of package lists that nobody will read again."""
        shutil.rmtree(self.base)
