"""What the machine's beacon said of itself on the wire (guest/src/beacon.rs)."""

from collections import Counter
from dataclasses import dataclass

from .pcap import Wire


@dataclass(frozen=True)
class Beacon:
    id: str
    sent: int  # microseconds on the guest's clock
    captured: int  # microseconds on the machine's

    @property
    def delay(self) -> int:
        return self.captured - self.sent


def beacons(wire: Wire) -> list[Beacon]:
    found = []
    for packet in wire.ip:
        if packet.datagram and packet.datagram.startswith(b"beacon "):
            _, id, _, sent = packet.datagram.decode().split(" ")
            found.append(Beacon(id, int(sent), packet.microseconds))
    return found


def ids(wire: Wire) -> Counter:
    """How many packets carried each id."""
    return Counter(beacon.id for beacon in beacons(wire))


def first_packet_after(moment: int, wire: Wire) -> float | None:
    """How many milliseconds after this moment on the guest's clock the first IP packet left.

    The clocks of guest and capture run alike, and the quickest beacon tells how they differ. A packet is
    taken to have left at its latest possible moment, but for the time that the quickest one took.
    """
    said = beacons(wire)
    if not said:
        return None
    difference = min(beacon.delay for beacon in said)
    return (wire.ip[0].microseconds - difference - moment) / 1000
