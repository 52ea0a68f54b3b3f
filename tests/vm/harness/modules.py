"""A kernel's modules, from the folder its package unpacks them to, ready to be loaded one after the other."""

import lzma
import re
from pathlib import Path

from .errors import Unavailable


def in_order(folder: Path, wanted: list[str]) -> dict[str, bytes]:
    """These modules and what they depend on, without what is built in, in the order to load them."""
    files = {path.name.split(".")[0].replace("-", "_"): path for path in folder.rglob("*.ko*")}
    builtin = {Path(line).stem.replace("-", "_") for line in (folder / "modules.builtin").read_text().split()}
    ordered: dict[str, bytes] = {}

    def add(name: str) -> None:
        if name in builtin or f"{name}.ko" in ordered:
            return
        if name not in files:
            raise Unavailable(f"the kernel has no module {name}")
        content = files[name].read_bytes()
        if files[name].suffix == ".xz":
            content = lzma.decompress(content)
        needs = re.search(rb"\0depends=([^\0]*)\0", content)
        for needed in (needs.group(1).decode().split(",") if needs and needs.group(1) else []):
            add(needed.replace("-", "_"))
        ordered[f"{name}.ko"] = content

    for name in wanted:
        add(name)
    return ordered
