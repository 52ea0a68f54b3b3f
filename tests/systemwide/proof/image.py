"""The machine's root filesystem: Debian with systemd, in an archive that the kernel unpacks into memory; no disk.

Debian's part takes minutes to make, never changes with the project, and is kept in a cache. What does change comes
behind it, in an archive of its own: the daemon and its units from the tree, the applications of the test, the kernel's
modules. The kernel unpacks one after the other.
"""

import hashlib
import json
import os
import re
import tarfile
from pathlib import Path

from harness.cpio import Cpio
from harness.debian import KEYRING, locked, mirror
from harness.errors import Unavailable
from harness.modules import in_order
from harness.packages import SUITE, Toolchain
from harness.tools import need, run

PACKAGES = ["systemd", "systemd-sysv", "udev", "kmod", "nftables", "iproute2"]
#: What nobody reads in there: documentation, what only dpkg and perl use, the database of hardware.
LEFT_OUT = (
    "dev/", "usr/bin/perl", "usr/lib/apt", "usr/lib/udev/hwdb.", "usr/lib/x86_64-linux-gnu/gconv",
    "usr/lib/x86_64-linux-gnu/libapt", "usr/lib/x86_64-linux-gnu/perl-base", "usr/share/bash-completion",
    "usr/share/common-licenses", "usr/share/doc/", "usr/share/gcc", "usr/share/info/", "usr/share/lintian",
    "usr/share/locale/", "usr/share/man/", "usr/share/perl5", "usr/share/zoneinfo/", "usr/share/zsh", "var/cache/",
    "var/lib/apt/", "var/lib/dpkg/info",
)
MODULES = ["virtio_net", "nf_tables", "ptp_vmclock"]
#: What takes seconds in an emulated machine and has nothing to do there.
MASKED = [
    "apt-daily.timer", "apt-daily-upgrade.timer", "dev-hugepages.mount", "dev-mqueue.mount", "dpkg-db-backup.timer",
    "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer", "getty.target", "ldconfig.service",
    "modprobe@.service", "proc-sys-fs-binfmt_misc.automount", "run-lock.mount", "serial-getty@ttyS0.service",
    "sys-fs-fuse-connections.mount", "sys-kernel-config.mount", "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount", "systemd-binfmt.service", "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service", "systemd-machine-id-commit.service", "systemd-update-done.service",
    "systemd-update-utmp.service", "systemd-tpm2-setup-early.service", "systemd-tpm2-setup.service",
]
WANTS = ("etc/systemd/system/multi-user.target.wants", "etc/systemd/system/sysinit.target.wants")
NETWORK = "systemd-networkd.service"

TARGET = "x86_64-unknown-linux-musl"
APPLICATIONS = "snapsafe-systemwide-guest"
#: Where the programs go in the machine.
PROGRAMS = {"snapsafed": "usr/sbin/snapsafed", "snapsafectl": "usr/bin/snapsafectl",
            APPLICATIONS: "usr/local/bin/applications"}


def debian(cache: Path, say, refresh: bool = False) -> Path:
    """Debian's part, from the cache; made first if it is not there."""
    key = hashlib.sha256(repr((SUITE, PACKAGES, LEFT_OUT)).encode()).hexdigest()[:16]
    kept = cache / f"debian-{key}.cpio"
    with locked(cache):
        if refresh or not kept.exists():
            for old in cache.glob("debian-*"):
                old.unlink()
            say(f"making a Debian {SUITE} of {', '.join(PACKAGES)}: some minutes, once")
            unpacked, next_to_it = cache / "debian.tar", kept.with_suffix(".next")
            _bootstrap(unpacked)
            next_to_it.write_bytes(_archive(unpacked))
            unpacked.unlink()
            next_to_it.rename(kept)
    return kept


def _bootstrap(tar: Path) -> None:
    need(["mmdebstrap"], "to make a Debian (Debian's package mmdebstrap)")
    signed = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
    run(["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}", "--architectures=amd64",
         SUITE, str(tar), f"deb {signed}{mirror()} {SUITE} main"], f"making a Debian {SUITE}")


def _archive(tar: Path) -> bytes:
    archive = Cpio()
    with tarfile.open(tar) as content:
        for member in content:
            name, owner = member.name.removeprefix("./").strip("/"), (member.uid, member.gid)
            if name in ("", ".") or f"{name}/".startswith(LEFT_OUT):
                continue
            if member.isdir():
                archive.folder(name, member.mode, owner)
            elif member.issym():
                archive.link(name, member.linkname)
            else:  # a file, or another name of one
                archive.file(name, content.extractfile(member).read(), member.mode, owner)
    return archive.finish()


def build(root: Path) -> dict[str, Path]:
    """The daemon and the applications, compiled without a C library of the machine's, by their names."""
    need(["cargo"], "to compile the daemon and the applications; see https://rustup.rs")
    printed = run(
        ["cargo", "build", "--release", "--locked", "--target", TARGET, "-p", "snapsafed", "-p", APPLICATIONS,
         "--message-format", "json-render-diagnostics"],
        f"compiling the daemon and the applications (is the target {TARGET} installed?)", cwd=root,
        env=os.environ | {"CARGO_PROFILE_RELEASE_STRIP": "symbols"},
    )
    messages = [json.loads(line) for line in printed.splitlines()]
    programs = {m["target"]["name"]: Path(m["executable"]) for m in messages if m.get("executable")}
    if missing := PROGRAMS.keys() - programs.keys():
        raise Unavailable(f"cargo built no {', '.join(sorted(missing))}")
    return programs


def write(path: Path, debian_part: Path, programs: dict[str, Path], root: Path, toolchain: Toolchain) -> None:
    """The whole archive."""
    ours = _ours(programs, root, toolchain)
    path.write_bytes(debian_part.read_bytes() + ours)


def _ours(programs: dict[str, Path], root: Path, toolchain: Toolchain) -> bytes:
    archive, modules = Cpio(), in_order(toolchain.modules, MODULES)
    for folder in ("dev", "modules", "etc/snapsafe", "etc/snapsafe/hooks.d", *WANTS):
        archive.folder(folder)
    archive.character_device("dev/console", 5, 1)
    for name, content in modules.items():
        archive.file(f"modules/{name}", content, 0o644)
    loading = "".join(f"insmod /modules/{name}\n" for name in modules)
    archive.file("init", f"#!/bin/sh\n{loading}exec /sbin/init\n".encode(), 0o755)
    archive.file("etc/fstab", b"", 0o644)
    archive.file("etc/hostname", b"original\n", 0o644)
    archive.file("etc/machine-id", b"0123456789abcdef0123456789abcdef\n", 0o444)
    archive.link("etc/systemd/system/default.target", "/usr/lib/systemd/system/multi-user.target")
    archive.link(f"etc/systemd/system/multi-user.target.wants/{NETWORK}", f"/usr/lib/systemd/system/{NETWORK}")
    for unit in MASKED:
        archive.link(f"etc/systemd/system/{unit}", "/dev/null")
    files = root / "tests/systemwide/guest/files"
    placed = {file.relative_to(files): file for file in sorted(files.rglob("*")) if file.is_file()}
    units = Path("usr/lib/systemd/system")
    placed |= {units / unit.name: unit for unit in sorted((root / "dist/systemd").iterdir()) if unit.suffix != ".toml"}
    for name, file in placed.items():
        archive.file(str(name), file.read_bytes(), 0o644)
        _enable(archive, name, file)
    for name, place in PROGRAMS.items():
        archive.file(place, programs[name].read_bytes(), 0o755)
    return archive.finish()


def _enable(archive: Cpio, name: Path, unit: Path) -> None:
    """What `systemctl enable` does."""
    for target in re.findall(r"^WantedBy=(\S+)$", unit.read_text(), re.MULTILINE):
        archive.link(f"etc/systemd/system/{target}.wants/{name.name}", f"/{name}")
