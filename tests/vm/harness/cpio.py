"""A newc archive, which the kernel unpacks as its root filesystem."""

import io


class Cpio:
    """20 lines of format are less to need than a cpio program."""

    def __init__(self) -> None:
        self.out = io.BytesIO()
        self.inode = 0

    def folder(self, name: str, mode: int = 0o755, owner: tuple[int, int] = (0, 0)) -> None:
        self._entry(name, 0o040000 | mode, owner=owner)

    def file(self, name: str, content: bytes, mode: int, owner: tuple[int, int] = (0, 0)) -> None:
        self._entry(name, 0o100000 | mode, content, owner=owner)

    def link(self, name: str, target: str) -> None:
        """A symbolic one."""
        self._entry(name, 0o120777, target.encode())

    def character_device(self, name: str, major: int, minor: int) -> None:
        self._entry(name, 0o020600, device=(major, minor))

    def _entry(self, name: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0),
               owner: tuple[int, int] = (0, 0)) -> None:
        self.inode += 1
        path = name.encode() + b"\0"
        fields = [self.inode, mode, *owner, 1, 0, len(content), 0, 0, *device, len(path), 0]
        self.out.write(b"070701" + b"".join(b"%08x" % field for field in fields) + path)
        self._pad()
        self.out.write(content)
        self._pad()

    def _pad(self) -> None:
        self.out.write(b"\0" * (-self.out.tell() % 4))

    def finish(self) -> bytes:
        self._entry("TRAILER!!!", 0)
        return self.out.getvalue()
