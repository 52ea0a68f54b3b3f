"""The reader of captures finds what is in them, told apart, and is not fooled by what is not there yet."""

import struct
import tempfile
import unittest
from pathlib import Path

from .pcap import ARP, GUEST, IPV4, IPV6, RARP, NotACapture, read

OTHER = bytes.fromhex("52550a000202")
HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65536, 1)


def frame(kind: int, content: bytes, source: bytes = GUEST, tags: bytes = b"") -> bytes:
    return OTHER + source + tags + kind.to_bytes(2) + content


def udp(content: bytes) -> bytes:
    return bytes(4) + (8 + len(content)).to_bytes(2) + bytes(2) + content


def ipv4(content: bytes, protocol: int = 17, options: bytes = b"") -> bytes:
    words = 5 + len(options) // 4
    return bytes([0x40 | words]) + bytes(8) + bytes([protocol]) + bytes(10) + options + content


def ipv6(content: bytes, following: int = 17) -> bytes:
    return b"\x60" + bytes(5) + bytes([following]) + bytes(33) + content


def record(content: bytes, seconds: int = 0, micros: int = 0) -> bytes:
    return struct.pack("<IIII", seconds, micros, len(content), len(content)) + content


class Reading(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name, "wire")

    def read(self, *frames: bytes, header: bytes = HEADER, rest: bytes = b""):
        self.path.write_bytes(header + b"".join(map(record, frames)) + rest)
        return read(self.path)

    def test_packets_of_ip_and_arp_and_others_are_told_apart(self) -> None:
        wire = self.read(frame(0x0800, ipv4(b"", 6)), frame(0x86DD, ipv6(b"", 58)), frame(0x86DD, ipv6(b"", 58)),
                         frame(0x0806, bytes(28)), frame(0x8035, bytes(28)), frame(0x88CC, bytes(8)))
        self.assertEqual(wire.counts, {IPV4: 1, IPV6: 2, ARP: 1, RARP: 1, "0x88cc": 1})
        self.assertEqual(str(wire), "1 IPv4, 2 IPv6, 1 ARP, 1 RARP, 1 other")
        self.assertEqual(len(wire.ip), 3)

    def test_what_the_guest_received_does_not_count(self) -> None:
        self.assertEqual(self.read(frame(0x0800, ipv4(b"", 6), source=OTHER)).packets, [])

    def test_a_packet_behind_a_vlan_tag_is_a_packet_of_ip_all_the_same(self) -> None:
        tags = bytes.fromhex("88a80001" "81000002")
        wire = self.read(frame(0x0800, ipv4(udp(b"tagged")), tags=tags))
        self.assertEqual((wire.counts, wire.packets[0].datagram), ({IPV4: 1}, b"tagged"))

    def test_datagrams_are_found_behind_options_and_before_padding(self) -> None:
        padded = ipv4(udp(b"four"), options=bytes(8)) + bytes(20)
        wire = self.read(frame(0x0800, padded), frame(0x86DD, ipv6(udp(b"six"))), frame(0x0800, ipv4(udp(b"tcp"), 6)))
        self.assertEqual([packet.datagram for packet in wire.packets], [b"four", b"six", None])

    def test_times_are_in_microseconds(self) -> None:
        self.path.write_bytes(HEADER + record(frame(0x0806, b""), 3, 4))
        self.assertEqual(read(self.path).packets[0].microseconds, 3_000_004)

    def test_a_record_that_is_not_complete_yet_is_left(self) -> None:
        whole = record(frame(0x0806, bytes(28)))
        for length in range(len(whole)):
            self.assertEqual(self.read(frame(0x0806, b""), rest=whole[:length]).counts, {ARP: 1})
        self.assertEqual(self.read(frame(0x0806, b""), rest=whole).counts, {ARP: 2})

    def test_a_file_that_is_no_capture_is_refused_and_an_empty_one_has_no_packets(self) -> None:
        self.assertEqual(self.read(header=b"").packets, [])
        for wrong in (b"\n\r\r\n" + HEADER[4:], HEADER[:20] + b"\x65\0\0\0", HEADER[:23]):
            with self.assertRaises(NotACapture):
                self.read(header=wrong)


def holds() -> bool:
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(Reading)
    return unittest.TextTestRunner(verbosity=2).run(suite).wasSuccessful()
