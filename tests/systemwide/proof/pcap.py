"""What a machine sent, from the file that QEMU's filter-dump writes.

The file is in the classic pcap format, of Ethernet frames, and may still be growing: a record that is not complete yet
is left for the next time. What the machine sent is told from what it received by the source address.
"""

import struct
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

#: The link address of the guest's network card; QEMU's side has another.
GUEST = bytes.fromhex("525400123456")

IPV4, IPV6, ARP, RARP = "IPv4", "IPv6", "ARP", "RARP"
#: RARP is what QEMU itself sends in the guest's name when a restored machine goes on, to tell switches where it is now.
KINDS = {0x0800: IPV4, 0x86DD: IPV6, 0x0806: ARP, 0x8035: RARP}
VLAN_TAGS = (0x8100, 0x88A8)
UDP = 17

FILE_HEADER = struct.Struct("<IHHiIII")
RECORD_HEADER = struct.Struct("<IIII")
MAGIC, ETHERNET = 0xA1B2C3D4, 1


class NotACapture(Exception):
    """The file is none, or not of Ethernet frames."""


@dataclass(frozen=True)
class Packet:
    """One frame that the guest sent."""

    microseconds: int  # on the machine's own clock
    kind: str  # IPV4, IPV6, ARP, RARP, or the EtherType
    datagram: bytes | None  # what is in it, of UDP

    @property
    def is_ip(self) -> bool:
        return self.kind in (IPV4, IPV6)


@dataclass
class Wire:
    """All that a guest sent."""

    packets: list[Packet] = field(default_factory=list)

    @property
    def ip(self) -> list[Packet]:
        return [packet for packet in self.packets if packet.is_ip]

    @property
    def counts(self) -> Counter:
        """How many of each kind."""
        return Counter(packet.kind for packet in self.packets)

    def __str__(self) -> str:
        counts = self.counts
        others = sum(counts[kind] for kind in counts if kind not in KINDS.values())
        named = ", ".join(f"{counts[kind]} {kind}" for kind in KINDS.values())
        return f"{named}, {others} other"


def read(path: Path) -> Wire:
    """The frames that are in the file by now."""
    content = path.read_bytes()
    if not content:  # QEMU has not begun
        return Wire()
    if len(content) < FILE_HEADER.size:
        raise NotACapture(f"{path} has no header")
    magic, *_, network = FILE_HEADER.unpack_from(content)
    if magic != MAGIC or network != ETHERNET:
        raise NotACapture(f"{path} is not a pcap file of Ethernet frames")
    wire, at = Wire(), FILE_HEADER.size
    while at + RECORD_HEADER.size <= len(content):
        seconds, micros, captured, _ = RECORD_HEADER.unpack_from(content, at)
        start = at + RECORD_HEADER.size
        at = start + captured
        if at > len(content):
            break
        frame = content[start:at]
        if frame[6:12] == GUEST:
            kind, packet = _layer_3(frame)
            wire.packets.append(Packet(seconds * 1_000_000 + micros, kind, _datagram(kind, packet)))
    return wire


def _layer_3(frame: bytes) -> tuple[str, bytes]:
    """The kind of an Ethernet frame, tagged or not, and what is in it."""
    at = 12
    while int.from_bytes(frame[at:at + 2]) in VLAN_TAGS:
        at += 4
    kind = int.from_bytes(frame[at:at + 2])
    return KINDS.get(kind, f"{kind:#06x}"), frame[at + 2:]


def _datagram(kind: str, packet: bytes) -> bytes | None:
    """The content of an unfragmented UDP packet without extension headers."""
    if kind == IPV4 and len(packet) >= 20 and packet[9] == UDP:
        udp = packet[4 * (packet[0] & 15):]
    elif kind == IPV6 and len(packet) >= 40 and packet[6] == UDP:
        udp = packet[40:]
    else:
        return None
    return udp[8:int.from_bytes(udp[4:6])] if len(udp) >= 8 else None
