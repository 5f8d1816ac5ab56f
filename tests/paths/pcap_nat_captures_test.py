#!/usr/bin/env python3
"""pcap_nat on captures that lack something: cut by a snapshot length, taken with offloads, of uncommon link types.

    pcap_nat_captures_test.py path/to/pcap_nat [unittest's arguments]

Packets are made by scapy. What a cut capture must become is told by the same capture uncut, whose translation the other
tests judge. Exit status 77 without scapy (Debian: python3-scapy).
"""

import os
import struct
import sys
import unittest
from pathlib import Path

import pcap_nat_test as base
from pcap_nat_test import (ETHERNET, CLIENT, FORWARDED, NODE, RAW, Capture, PcapNat, Record, ether_type, ethernet,
                           packet, version_of)
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.sctp import SCTP, SCTPChunkData
from scapy.packet import Raw
from scapy.utils import checksum

NULL, PPP, PPP_SERIAL, PPP_ETHER, LOOP = 0, 9, 50, 51, 108  # LINKTYPE_ of pcap-linktype(7)

CONFIG = """
ku conf snat4 198.18.0.1 nat64_prefix 64:ff9b::/96
ku vip 90.0.0.0/8 nat4
ku pod 90.0.0.0/8 10.0.0.1
ku vip 91.0.0.0/8 nat6
ku pod 91.0.0.0/8 2002::1
ku vip 2001::/16 nat4
ku pod 2001::/16 10.0.0.1
ku vip 2003::/16 nat6
ku pod 2003::/16 2002::1
"""


def network(destination, **fields):
    if ":" in destination:
        return IPv6(src="2005::1", dst=destination, **fields)
    return IP(src="192.0.2.1", dst=destination, **fields)


def echo(destination, payload):
    kind = ICMPv6EchoRequest(id=7, data=payload) if ":" in destination else ICMP(id=7) / Raw(payload)
    return bytes(network(destination) / kind)


def pseudo_sum(p, protocol, length):
    """The folded sum of the pseudo-header, which an offloading sender leaves in the checksum field."""
    def bytes_of(address):
        return bytes(IPv6(src=address))[8:24] if ":" in address else bytes(IP(src=address))[12:16]
    return checksum(bytes_of(p.src) + bytes_of(p.dst) + struct.pack("!II", length, protocol)) ^ 0xFFFF


def told(frame, captured):
    """The bytes of a frame, but for the identification and the header checksum that a translator draws for a packet that
    came without an identification (RFC 7915 section 5.1)."""
    if version_of(captured[14:]) == version_of(frame[14:]) or version_of(frame[14:]) == 6:
        return frame
    return frame[:18] + b"??" + frame[20:24] + b"??" + frame[26:]


class Cut(PcapNat):
    """A snapshot length: the beginning of each packet (pcap-savefile(5): captured length and original length)."""

    MESSAGES = {
        "UDP": lambda d: bytes(network(d) / UDP(sport=5000, dport=3306) / Raw(bytes(range(200)))),
        "UDP, odd length": lambda d: bytes(network(d) / UDP(sport=5000, dport=3306) / Raw(bytes(range(201)))),
        "TCP SYN with options": lambda d: bytes(network(d) / TCP(sport=5001, dport=3306, flags="S",
                                                                options=[("MSS", 1400)])),
        "TCP data": lambda d: bytes(network(d) / TCP(sport=5001, dport=3306, flags="PA") / Raw(bytes(range(150)))),
        "echo": lambda d: echo(d, bytes(range(120))),
        "SCTP": lambda d: bytes(network(d) / SCTP(sport=5002, dport=3306, tag=1) / SCTPChunkData(data=bytes(99))),
    }

    def setUp(self):
        super().setUp()
        (self.dir / "test.ku").write_text(CONFIG)

    def assert_beginnings(self, sent, lengths, link=ETHERNET, **options):
        """Each record cut to a length becomes the beginning of what the whole record becomes."""
        seed = ("--seed", "1")  # the same source ports in each run
        whole, _, _ = self.run_on(Capture(link, sent), *seed, **options)
        for length in lengths:
            records = [Record(f[:length], r.time, len(f)) for f, r in zip(sent, Capture(link, sent).records)]
            out, lines, _ = self.run_on(Capture(link, records), *seed, **options)
            self.assertEqual(len(out.records), len(whole.records), f"records at snapshot length {length}: {lines}")
            for f, got, want in zip(sent, out.records, whole.records):
                self.assertEqual(told(got.data, f), told(want.data, f)[:len(got.data)], f"bytes at snapshot length {length}")
                self.assertEqual(got.wire, want.wire, f"size on the wire at snapshot length {length}")
                growth = len(want.data) - len(f)
                self.assertEqual(len(got.data), min(length, len(f)) + growth, f"captured at {length}")

    def test_every_translation_and_protocol(self):
        for name, make in self.MESSAGES.items():
            for pair, destination, _ in FORWARDED:
                with self.subTest(message=name, pair=pair):
                    frame = ethernet(make(destination))
                    headers = 14 + (40 if ":" in destination else 20)
                    self.assert_beginnings([frame], sorted({headers + 8, headers + 13, headers + 20, 96, len(frame) - 5,
                                                            len(frame) - 2, len(frame) - 1, len(frame)}))

    def test_a_conversation_keeps_its_flow(self):
        """The handshake of cut segments opens a flow: replies are translated."""
        a = IP(src="192.0.2.1", dst="90.1.2.3")
        b = IP(src="10.0.0.1", dst="192.0.2.1")
        to, back = TCP(sport=5001, dport=3306, seq=1), TCP(sport=3306, dport=5001, seq=9, ack=2)
        to.options = back.options = [("MSS", 1400), ("Timestamp", (1, 0))]
        syn, data = to.copy(), to.copy()
        syn.flags, data.flags = "S", "PA"
        syn_ack, ack = back.copy(), back.copy()
        syn_ack.flags, ack.flags = "SA", "A"
        sent = [a / syn, b / syn_ack, a / data / Raw(bytes(500)), b / ack / Raw(bytes(900)), b / ack]
        self.assert_beginnings([ethernet(bytes(p)) for p in sent], (60, 66, 70, 96, 500))

    def test_icmp_errors_are_judged_by_what_was_captured(self):
        """An error about a known flow whose quotation ends at the snapshot length."""
        request = IP(src="192.0.2.1", dst="90.1.2.3") / UDP(sport=5000, dport=3306) / Raw(bytes(600))
        moved = IP(src="192.0.2.1", dst="10.0.0.1") / UDP(sport=5000, dport=3306) / Raw(bytes(600))
        error = IP(src="10.0.0.1", dst="192.0.2.1") / ICMP(type=3, code=3) / Raw(bytes(IP(bytes(moved)))[:520])
        frames = [ethernet(bytes(request)), ethernet(bytes(error))]
        self.assert_beginnings(frames, (14 + 28 + 28, 96, 300, len(frames[1]) - 1))

    def test_a_packet_that_is_cut_into_fragments(self):
        """RFC 7915 section 4: the part of each fragment that was not captured is not made up."""
        whole = ethernet(bytes(IP(src="192.0.2.1", dst="91.1.2.3") / UDP(sport=5000, dport=3306) / Raw(bytes(range(250)) * 6)))
        uncut, _, _ = self.run_on(Capture(ETHERNET, [whole]))
        self.assertEqual(len(uncut.records), 2)
        for length, captured in ((200, [200 - 14 - 20 + 62, 62]), (1400, [None, None])):
            out, _, _ = self.run_on(Capture(ETHERNET, [Record(whole[:length], 0, len(whole))]))
            self.assertEqual([r.wire for r in out.records], [r.wire for r in uncut.records])
            for got, want, size in zip(out.records, uncut.records, captured):
                self.assertEqual(got.data, want.data[:len(got.data)])
                if size is not None:
                    self.assertEqual(len(got.data), size)
            headers = 2 * 62
            self.assertEqual(sum(len(r.data) for r in out.records), length - 34 + headers)

    def test_too_little_to_tell_whose_it_is(self):
        """Without ports nobody can tell the service; a router forwards such a packet, so it passes."""
        for pair, destination, _ in FORWARDED:
            frame = ethernet(self.MESSAGES["UDP"](destination))
            for length in (14 + 21, 14 + (40 if ":" in destination else 20) + 7):
                with self.subTest(pair=pair, length=length):
                    record = Record(frame[:length], 1_700_000_000_000_000_000, len(frame))
                    out, lines, _ = self.run_on(Capture(ETHERNET, [record]))
                    self.assertEqual((out.records, lines[0]["verdict"]), ([record], "pass"))


class Lengths(PcapNat):
    """Length fields that contradict the frame."""

    def test_what_is_not_for_a_service_passes(self):
        """A router between looks at the destination and no further than the header (RFC 1812 section 5.2)."""
        good = packet("203.0.113.1")
        rows = {"total length beyond the frame": good[:2] + b"\x10\x00" + good[4:],
                "total length below the header": good[:2] + b"\x00\x0b" + good[4:],
                "IHL 4": b"\x44" + good[1:], "IHL beyond the frame": b"\x4f" + good[1:2] + b"\x00\x1e" + good[4:30],
                "IPv6 payload length beyond the frame": packet("2009::1")[:4] + b"\x10\x00" + packet("2009::1")[6:]}
        for name, data in rows.items():
            with self.subTest(name):
                sent = Record(NODE + CLIENT + ether_type(version_of(data)) + data, 1_700_000_000_000_000_000)
                out, lines, _ = self.run_on(Capture(ETHERNET, [sent]))
                self.assertEqual((out.records, lines[0]["verdict"]), ([sent], "pass"))

    def test_what_is_for_a_service_is_dropped_with_its_reason(self):
        good = packet("90.1.2.3")
        _, lines, _ = self.run_on(Capture(ETHERNET, [ethernet(good[:2] + b"\x10\x00" + good[4:])]))
        self.assertEqual((lines[0]["verdict"], lines[0]["reason"]), ("drop", "bad_length"))

    def test_length_zero_means_the_frame(self):
        """Segmentation offload: IPv4 total length 0, and IPv6 payload length 0 beyond 65,535 bytes (RFC 2675)."""
        (self.dir / "test.ku").write_text(CONFIG)
        for pair, destination, version in FORWARDED:
            for size in (3000, 60000, 100000):
                with self.subTest(pair=pair, size=size):
                    segment = TCP(sport=5000, dport=3306, flags="PA") / Raw(bytes(size))
                    fields = {"plen": 0} if ":" in destination else {"len": 0, "flags": "DF"}
                    sent = ethernet(bytes(network(destination, **fields) / segment))
                    out, lines, _ = self.run_on(Capture(ETHERNET, [sent]))
                    self.assertEqual([line["verdict"] for line in lines], ["forward"])
                    got = out.records[0]
                    header = 20 if version == 4 else 40
                    self.assertEqual(got.wire, 14 + header + 20 + size)
                    self.assertEqual(len(got.data), got.wire)
                    same = (":" in destination) == (version == 6)
                    announced = struct.unpack_from("!H", got.data, 14 + (2 if version == 4 else 4))[0]
                    real = header + 20 + size if version == 4 else 20 + size
                    self.assertEqual(announced, 0 if same or real > 65535 else real)
                    if version == 4:
                        self.assertEqual(checksum(got.data[14:34]), 0, "header checksum")


class Offloads(PcapNat):
    """--offloads: checksums and lengths as the sending host leaves them to its device."""

    def setUp(self):
        super().setUp()
        (self.dir / "test.ku").write_text(CONFIG)

    def partial(self, destination, transport, protocol, payload=b"x" * 31, **fields):
        p = network(destination, **fields)
        length = len(bytes(transport)) + len(payload)
        transport.chksum = pseudo_sum(p, protocol, length)
        return bytes(p / transport / Raw(payload))

    def test_partial_checksums_stay_partial(self):
        for pair, destination, version in FORWARDED:
            for transport, protocol in ((TCP(sport=1, dport=2, flags="S"), 6), (UDP(sport=1, dport=2), 17)):
                with self.subTest(pair=pair, protocol=protocol):
                    sent = self.partial(destination, transport, protocol)
                    out, lines, _ = self.run_on(Capture(RAW, [sent]), "--offloads")
                    self.assertEqual([line["verdict"] for line in lines], ["forward"])
                    got = (IP if version == 4 else IPv6)(out.records[0].data)
                    size = len(bytes(got.payload))
                    self.assertEqual(got.payload.chksum, pseudo_sum(got, protocol, size))

    def test_a_flow_is_opened_by_partial_checksums(self):
        syn = self.partial("2001::5", TCP(sport=1, dport=2, flags="S"), 6, b"")
        out, lines, _ = self.run_on(Capture(RAW, [syn]), "--offloads")
        self.assertEqual((lines[0]["verdict"], lines[0]["flow"]), ("forward", "new"))

    def test_header_checksum_zero_stays_zero(self):
        for destination, version in (("90.1.2.3", 4), ("91.1.2.3", 6)):
            sent = self.partial(destination, UDP(sport=1, dport=2), 17, chksum=0)
            out, lines, _ = self.run_on(Capture(RAW, [sent]), "--offloads")
            self.assertEqual([line["verdict"] for line in lines], ["forward"], lines)
            if version == 4:
                self.assertEqual(out.records[0].data[10:12], b"\0\0")

    def test_super_packets_are_neither_cut_nor_answered(self):
        for pair, destination, version in FORWARDED:
            for fields in ({}, {} if ":" in destination else {"flags": "DF"}):
                with self.subTest(pair=pair, **fields):
                    sent = self.partial(destination, TCP(sport=1, dport=2, flags="PA"), 6, bytes(30000), **fields)
                    out, lines, _ = self.run_on(Capture(RAW, [sent]), "--offloads")
                    self.assertEqual([line["verdict"] for line in lines], ["forward"])
                    self.assertEqual(len(out.records[0].data), (20 if version == 4 else 40) + 20 + 30000)

    def test_complete_checksums_are_left_complete(self):
        for pair, destination, version in FORWARDED:
            with self.subTest(pair=pair):
                sent = bytes(network(destination) / TCP(sport=1, dport=2, flags="S"))
                with_option, _, _ = self.run_on(Capture(RAW, [sent]), "--offloads", "--seed", "1")
                without, _, _ = self.run_on(Capture(RAW, [sent]), "--seed", "1")
                self.assertEqual(with_option.records, without.records)


class Links(PcapNat):
    """Where the IP packet starts, and what the link header says of its version and size."""

    PPPOE = NODE + CLIENT + bytes.fromhex("8864 11 00 0001")

    @staticmethod
    def pppoe(version, size):
        return Links.PPPOE + struct.pack("!H", size + 2) + (b"\x00\x21" if version == 4 else b"\x00\x57")

    def headers(self):
        """Name: link type, header of a version and size, and of what the packet becomes."""
        def ppp(version, _):
            return b"\x00\x21" if version == 4 else b"\x00\x57"
        def family(version, six, order):
            return struct.pack(order + "I", 2 if version == 4 else six)
        mpls = NODE + CLIENT + bytes.fromhex("8847")
        rows = {
            "PPP": (PPP, ppp), "PPP with HDLC": (PPP, lambda v, n: b"\xff\x03" + ppp(v, n)),
            "PPP, compressed": (PPP, lambda v, n: ppp(v, n)[1:]), "PPP serial": (PPP_SERIAL, lambda v, n: b"\xff\x03" + ppp(v, n)),
            "PPPoE": (ETHERNET, self.pppoe), "PPPoE without Ethernet": (PPP_ETHER, lambda v, n: self.pppoe(v, n)[14:]),
            "VLAN 0x9100": (ETHERNET, lambda v, n: NODE + CLIENT + bytes.fromhex("9100 0064 8100 0007") + ether_type(v)),
            "MPLS, two labels": (ETHERNET, lambda v, n: mpls + bytes.fromhex("000640ff 000c81ff")),
            "MPLS, explicit null": (ETHERNET, lambda v, n: mpls + (b"\0\0\1\xff" if v == 4 else b"\0\x00\x21\xff")),
            "VLAN and PPPoE": (ETHERNET, lambda v, n: NODE + CLIENT + bytes.fromhex("8100 0007") + self.pppoe(v, n)[12:]),
        }
        for order in "<>":
            rows[f"loopback {order}"] = (NULL, lambda v, n, o=order: family(v, 24, o))
        rows["OpenBSD loopback"] = (LOOP, lambda v, n: family(v, 24, ">"))
        return rows

    def test_the_header_follows_the_packet(self):
        for name, (link, header) in self.headers().items():
            for pair, destination, version in FORWARDED:
                with self.subTest(link=name, pair=pair):
                    sent = packet(destination)
                    out, lines, _ = self.run_on(Capture(link, [header(version_of(sent), len(sent)) + sent]))
                    self.assertEqual([line["verdict"] for line in lines], ["forward"])
                    size = (20 if version == 4 else 40) + 8 + 20
                    self.assertEqual(out.link, link)
                    self.assert_forwarded(out.records[0].data, header(version, size), version, bytes(range(20)))

    def test_a_system_s_own_number_of_ipv6_stays(self):
        for number in (10, 24, 28, 30):
            header = struct.pack("<I", number)
            out, _, _ = self.run_on(Capture(NULL, [header + packet("2003::5")]))
            self.assert_forwarded(out.records[0].data, header, 6, bytes(range(20)))

    def test_other_payloads_pass(self):
        rows = [(PPP, b"\xff\x03\xc0\x21" + bytes(20)), (PPP, b""), (NULL, b"\x02\0\0"), (NULL, struct.pack("<I", 7) + bytes(20)),
                (LOOP, struct.pack(">I", 2) + packet("2001::5")), (ETHERNET, self.PPPOE + b"\0\x02\xc0\x21"),
                (ETHERNET, NODE + CLIENT + bytes.fromhex("8863 11 09 0000 0000")), (PPP_ETHER, b"\x11\0\0"),
                (ETHERNET, NODE + CLIENT + bytes.fromhex("8847 00064000")), (ETHERNET, NODE + CLIENT + bytes.fromhex("8847 000641ff") + b"\0" * 9)]
        for link, data in rows:
            with self.subTest(link=link, data=data.hex()):
                sent = Record(data, 1_700_000_000_000_000_000)
                out, lines, _ = self.run_on(Capture(link, [sent]))
                self.assertEqual((out.records, lines[0]["verdict"]), ([sent], "pass"))

    def test_an_unsupported_link_type_names_the_remedy(self):
        (self.dir / "in.pcap").write_bytes(Capture(105, [b"\0" * 60]).pack())  # IEEE 802.11
        self.assert_fails(1, r"IEEE802_11 .*editcap -F pcap -T ether", "--read", "in.pcap", "--write", "out.pcap")

    def test_interfaces_that_cannot_be_read_together_name_the_remedy(self):
        """libpcap reads pcapng files whose interfaces have one link type and one snapshot length."""
        one = Capture(ETHERNET, [ethernet(packet("90.1.2.3"))]).pack_ng()
        other = struct.pack("<IIHHII", 1, 20, RAW, 0, 262144, 20)
        (self.dir / "in.pcap").write_bytes(one + other + one[28:])
        self.assert_fails(1, r"after packet 1: .*interface.*editcap -F pcap -T ether",
                          "--read", "in.pcap", "--write", "out.pcap")


if __name__ == "__main__":
    if len(sys.argv) < 2 or not os.access(sys.argv[1], os.X_OK):
        sys.exit(__doc__)
    base.TOOL = str(Path(sys.argv.pop(1)).resolve())
    unittest.main()
