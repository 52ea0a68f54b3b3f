"""What steps need: Debian's packages and Rust's targets, installed here if that is possible, else named."""

import os
import shutil
import subprocess
from pathlib import Path

from .commands import Missing, Unprovable, run
from .trees import ROOT


def need(packages: dict[str, str]) -> None:
    """Makes sure that these programs and files are there, each from its Debian package."""
    lacking = {name: package for name, package in packages.items() if not (shutil.which(name) or Path(name).is_file())}
    if not lacking:
        return
    names = sorted(set(lacking.values()))
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Missing(f"{', '.join(sorted(lacking))} not found: install {' '.join(names)} (Debian's names)")
    # The lists may be missing or old; if they cannot be had, the installation says so.
    run(["apt-get", "update", "-q"])
    if run(["apt-get", "install", "-qy", "--no-install-recommends", *names], DEBIAN_FRONTEND="noninteractive") != 0:
        raise Missing(f"could not install {' '.join(names)} from Debian's packages")


def need_rust() -> None:
    for program, how in [
        ("cargo", "install Rust 1.89 or later, for example with rustup"),
        ("cargo-fmt", "rustup component add rustfmt"),
        ("cargo-clippy", "rustup component add clippy"),
    ]:
        if not shutil.which(program):
            raise Missing(f"{program} not found: {how}")
    need({"cc": "gcc"})


def has_target(target: str) -> bool:
    """Whether the standard library for this target is there."""
    question = ["rustc", "--print", "target-libdir", "--target", target]
    answer = subprocess.run(question, cwd=ROOT, capture_output=True, text=True)
    return answer.returncode == 0 and any(Path(answer.stdout.strip()).glob("libcore-*"))


def need_target(target: str) -> None:
    if has_target(target):
        return
    if not shutil.which("rustup"):
        raise Unprovable(f"no standard library for {target}, and no rustup to get it with")
    code = run(["rustup", "target", "add", target])
    if code != 0 or not has_target(target):
        raise Unprovable(f"`rustup target add {target}` ended with code {code}")


def need_nightly(*components: str) -> None:
    """The nightly toolchain of rustup with these components, which some nightlies lack."""
    if not shutil.which("rustup"):
        raise Unprovable("there is no rustup to get a nightly toolchain with")
    question = ["rustup", "component", "list", "--installed", "--toolchain", "nightly"]
    answer = subprocess.run(question, cwd=ROOT, capture_output=True, text=True)
    if answer.returncode == 0 and all(component in answer.stdout for component in components):
        return
    wanted = [argument for component in components for argument in ("--component", component)]
    code = run(["rustup", "toolchain", "install", "nightly", "--profile", "minimal", *wanted])
    if code != 0:
        raise Unprovable(f"rustup could not install nightly with {', '.join(components)}: it ended with code {code}")
