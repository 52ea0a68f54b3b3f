"""QEMU and a kernel new enough for vmclock, unpacked into a cache folder; nothing is installed on the machine.

QEMU 10.0 is the first with a vmclock device and Linux 7.0 the first whose vmclock driver knows the generation
counter. Debian's trixie-backports has both. They are fetched with a private apt state (own sources, lists and cache,
and an empty dpkg status so that the closure includes libc), verified by apt against Debian's keys, unpacked with
`dpkg -x`, and QEMU is started through the loader and libraries unpacked next to it. Root is not needed.
"""

import fcntl
import json
import os
import platform
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from .errors import Unavailable
from .tools import need, run

SUITE = "trixie"
BACKPORTS = "trixie-backports"
KERNEL_META = "linux-image-cloud-amd64"
QEMU_PACKAGES = ["qemu-system-x86", "seabios"]
MINIMUM_QEMU = (10, 0)
MINIMUM_KERNEL = (7, 0)
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
LIBRARIES = "usr/lib/x86_64-linux-gnu"


@dataclass(frozen=True)
class Toolchain:
    """What the rest of the harness needs to start a virtual machine."""

    root: Path
    kernel: Path
    modules: Path
    qemu_version: str
    kernel_release: str

    def qemu_command(self) -> list[str]:
        """The command that starts QEMU, without any option of the machine to start."""
        libraries = self.root / LIBRARIES
        return [
            str(libraries / "ld-linux-x86-64.so.2"),
            "--library-path",
            str(libraries),
            str(self.root / "usr/bin/qemu-system-x86_64"),
            "-L",
            str(self.root / "usr/share/qemu"),
            "-L",
            str(self.root / "usr/share/seabios"),
        ]


def obtain(cache: Path, say, refresh: bool = False) -> Toolchain:
    """The toolchain from the cache folder, fetched first if it is not there or `refresh` is asked for."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise Unavailable(
            f"these tests start an x86-64 Linux QEMU; this machine is {platform.system()} {platform.machine()}"
        )
    cache.mkdir(parents=True, exist_ok=True)
    stamp = cache / "toolchain.json"
    with open(cache / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs must not unpack into one folder
        if refresh or not stamp.exists():
            _fetch(cache, stamp, say)
    return _load(cache, stamp)


def _load(cache: Path, stamp: Path) -> Toolchain:
    known = json.loads(stamp.read_text())
    root = cache / "root"
    release = known["kernel_release"]
    chain = Toolchain(
        root=root,
        kernel=_kernel_image(root),
        modules=root / "usr/lib/modules" / release,
        qemu_version=known["qemu_version"],
        kernel_release=release,
    )
    for path in (chain.kernel, chain.modules, root / "usr/bin/qemu-system-x86_64"):
        if not path.exists():
            raise Unavailable(f"the cache is incomplete ({path} is missing): remove {cache} and run again")
    return chain


def _fetch(cache: Path, stamp: Path, say) -> None:
    need(["apt-get", "apt-cache", "dpkg", "dpkg-deb"],
         "to fetch QEMU and a kernel; it comes with Debian and its derivatives")
    stamp.unlink(missing_ok=True)
    apt = _PrivateApt(cache / "apt", _mirror())
    say(f"asking {apt.mirror} for {BACKPORTS}")
    apt.update()
    kernel_packages = _kernel_packages(apt)
    say("downloading QEMU, a kernel and the libraries they need")
    archives = apt.download(QEMU_PACKAGES + kernel_packages)
    root = cache / "root"
    shutil.rmtree(root, ignore_errors=True)
    say(f"unpacking {len(archives)} packages")
    for archive in archives:
        run(["dpkg", "-x", str(archive), str(root)], f"unpacking {archive.name}")
    _join_usr(root)
    release = _kernel_release(root)
    stamp.write_text(json.dumps({
        "kernel_release": release,
        "qemu_version": _qemu_version(Toolchain(root, root, root, "", release)),
        "packages": sorted(archive.name for archive in archives),
    }, indent=1))
    shutil.rmtree(apt.base)  # 100 MB of package lists nobody will read again


def _kernel_packages(apt: "_PrivateApt") -> list[str]:
    """The packages that carry the newest cloud kernel's image and modules.

    The image package became two from 6.13 on, so its name alone is not enough.
    """
    image = next((name for name in apt.depends(KERNEL_META) if name.startswith("linux-image-")), None)
    if image is None:
        raise Unavailable(f"{KERNEL_META} in {BACKPORTS} depends on no kernel image: has its packaging changed?")
    parts = [
        name for name in apt.depends(image)
        if re.match(r"linux-(binary|modules)-", name)
    ]
    return parts or [image]


def _kernel_image(root: Path) -> Path:
    """Debian ships the image beside the modules since 7.x and in /boot before."""
    images = sorted(root.glob("usr/lib/modules/*/vmlinuz")) + sorted(root.glob("boot/vmlinuz-*"))
    if len(images) != 1:
        raise Unavailable(f"expected one kernel among the packages, found {len(images)}: has their layout changed?")
    return images[0]


def _kernel_release(root: Path) -> str:
    image = _kernel_image(root)
    release = image.parent.name if image.name == "vmlinuz" else image.name.removeprefix("vmlinuz-")
    _at_least("Linux", release, MINIMUM_KERNEL)
    return release


def _qemu_version(chain: Toolchain) -> str:
    printed = run(chain.qemu_command() + ["--version"], "starting the fetched QEMU")
    match = re.search(r"version (\d+\.\d+\.\d+)", printed)
    version = match.group(1) if match else printed.strip()
    _at_least("QEMU", version, MINIMUM_QEMU)
    return version


def _at_least(what: str, version: str, minimum: tuple[int, int]) -> None:
    match = re.match(r"(\d+)\.(\d+)", version)
    if match is None or (int(match.group(1)), int(match.group(2))) < minimum:
        raise Unavailable(f"{BACKPORTS} offers {what} {version}; vmclock needs {minimum[0]}.{minimum[1]} or newer")


def _join_usr(root: Path) -> None:
    """Older packages still ship /lib; the harness looks only under /usr/lib."""
    lib = root / "lib"
    if lib.is_dir() and not lib.is_symlink():
        shutil.copytree(lib, root / "usr/lib", symlinks=True, dirs_exist_ok=True)
        shutil.rmtree(lib)


def _mirror() -> str:
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


class _PrivateApt:
    """apt with its own sources, lists, cache and dpkg status; the machine's proxy settings still apply."""

    def __init__(self, base: Path, mirror: str):
        self.base = base
        self.mirror = mirror
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
        return (f"Types: deb\nURIs: {self.mirror}\nSuites: {SUITE} {BACKPORTS}\n"
                f"Components: main\nArchitectures: amd64\n{signed}")

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
            "APT::Architecture": "amd64",
            "APT::Sandbox::User": "",
            "APT::Install-Recommends": "false",
            "APT::Default-Release": "",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "Debug::NoLocking": "true",
        }
        lines = [f'{name} "{value}";' for name, value in settings.items()]
        return "\n".join(["#clear APT::Architectures;", 'APT::Architectures { "amd64"; };', *lines]) + "\n"

    def update(self) -> None:
        run(["apt-get", "-q", "-o", "APT::Update::Error-Mode=any", "update"],
            f"fetching the package lists of {BACKPORTS} from {self.mirror}", env=self.environment)

    def depends(self, package: str) -> list[str]:
        printed = run(["apt-cache", "-t", BACKPORTS, "depends", "--no-recommends", "--no-suggests", package],
                      f"looking up {package} in {BACKPORTS}", env=self.environment)
        # Virtual packages come in angle brackets with their providers below them; neither is meant here.
        return re.findall(r"^\s*\|?Depends: ([^<\s]+)$", printed, re.MULTILINE)

    def download(self, packages: list[str]) -> list[Path]:
        """Download `packages` and everything they depend on; the archives' paths."""
        self.forget_archives()
        run(["apt-get", "-q", "-y", "-t", BACKPORTS, "--download-only", "install", *packages],
            f"downloading {', '.join(packages)}", env=self.environment)
        return sorted((self.base / "cache/archives").glob("*.deb"))

    def forget_archives(self) -> None:
        for archive in (self.base / "cache/archives").glob("*.deb"):
            archive.unlink()
