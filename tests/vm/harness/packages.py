"""QEMU and a kernel new enough for vmclock, unpacked into a cache folder; nothing is installed on the machine.

QEMU 10.0 is the first with a vmclock device and Linux 7.0 the first whose vmclock driver knows the generation
counter. Debian's trixie-backports has both.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from .debian import PrivateApt, Root, locked, need_amd64
from .errors import Unavailable
from .tools import run

SUITE = "trixie"
BACKPORTS = "trixie-backports"
KERNEL_META = "linux-image-cloud-amd64"
QEMU_PACKAGES = ["qemu-system-x86", "seabios"]
MINIMUM_QEMU = (10, 0)
MINIMUM_KERNEL = (7, 0)


@dataclass(frozen=True)
class Toolchain:
    """What the rest of the harness needs to start a virtual machine."""

    root: Root
    kernel: Path
    modules: Path
    qemu_version: str
    kernel_release: str

    def qemu_command(self) -> list[str]:
        """The command that starts QEMU, without any option of the machine to start."""
        share = self.root.path / "usr/share"
        command = self.root.command(self.root.path / "usr/bin/qemu-system-x86_64")
        return [*command, "-L", str(share / "qemu"), "-L", str(share / "seabios")]


def obtain(cache: Path, say, refresh: bool = False) -> Toolchain:
    """The toolchain from the cache folder, fetched first if it is not there or `refresh` is asked for."""
    need_amd64()
    stamp = cache / "toolchain.json"
    with locked(cache):
        if refresh or not stamp.exists():
            _fetch(cache, stamp, say)
    return _load(cache, stamp)


def _load(cache: Path, stamp: Path) -> Toolchain:
    known = json.loads(stamp.read_text())
    root = Root(cache / "root")
    release = known["kernel_release"]
    chain = Toolchain(
        root=root,
        kernel=_kernel_image(root.path),
        modules=root.path / "usr/lib/modules" / release,
        qemu_version=known["qemu_version"],
        kernel_release=release,
    )
    for path in (chain.kernel, chain.modules, root.path / "usr/bin/qemu-system-x86_64"):
        if not path.exists():
            raise Unavailable(f"the cache is incomplete ({path} is missing): remove {cache} and run again")
    return chain


def _fetch(cache: Path, stamp: Path, say) -> None:
    stamp.unlink(missing_ok=True)
    apt = PrivateApt(cache / "apt", [SUITE, BACKPORTS])
    say(f"asking {apt.mirror} for {BACKPORTS}")
    apt.update()
    kernel_packages = _kernel_packages(apt)
    say("downloading QEMU, a kernel and the libraries they need")
    archives = apt.download(QEMU_PACKAGES + kernel_packages)
    root = Root(cache / "root")
    say(f"unpacking {len(archives)} packages")
    root.fill(archives)
    release = _kernel_release(root.path)
    stamp.write_text(json.dumps({
        "kernel_release": release,
        "qemu_version": _qemu_version(Toolchain(root, root.path, root.path, "", release)),
        "packages": sorted(archive.name for archive in archives),
    }, indent=1))
    apt.forget()


def _kernel_packages(apt: PrivateApt) -> list[str]:
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
