#!/usr/bin/env python3
"""pcap_nat's command line, end to end: captures in, captures and reports out.

    pcap_nat_test.py path/to/pcap_nat [unittest's arguments]

Packets and captures are made here or by scapy, so nothing is compared with what the tool printed before.
Exit status 77 without scapy (Debian: python3-scapy).
"""

import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import unittest
from dataclasses import dataclass
from pathlib import Path

try:
    from scapy.layers.inet import ICMP, IP, UDP, fragment
    from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
    from scapy.packet import Raw
except ImportError:
    print("SKIP: no scapy")
    sys.exit(77)

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TOOL = ""
CLIENT, NODE = bytes.fromhex("020000000001"), bytes.fromhex("0200000000fe")
ETHERNET, RAW, COOKED, IPV4_ONLY, IPV6_ONLY, COOKED_V2 = 1, 101, 113, 228, 229, 276  # LINKTYPE_ of pcap-linktype(7)
KEYS = ["packet", "verdict", "reason", "service", "backend", "masquerade", "flow"]

CONFIG = """
ku conf snat4 198.18.0.1 nat64_prefix 64:ff9b::/96
ku vip 90.0.0.0/8 port 3306 target_port 3307 nat4
ku pod 90.0.0.0/8 10.0.0.1 10.0.0.2
ku vip 91.0.0.0/8 port 3306 target_port 3307 nat6
ku pod 91.0.0.0/8 2002::1 2002::2
ku vip 2001::/16 port 3306 target_port 3307 nat4
ku pod 2001::/16 10.0.0.1 10.0.0.2
ku vip 92.0.0.0/8 port 3306 target_port 3307 nat4
ku vip 2003::/16 port 3306 target_port 3307 nat6
ku pod 2003::/16 2002::1 2002::2
"""
# What goes in, and the version that comes out: a row for each pair of families.
FORWARDED = [("44", "90.1.2.3", 4), ("46", "91.1.2.3", 6), ("64", "2001::5", 4), ("66", "2003::5", 6)]
PODS = {"10.0.0.1", "10.0.0.2", "2002::1", "2002::2"}


def packet(destination, client=1, size=20, port=3306):
    network = IPv6(src=f"2005::{client}", dst=destination) if ":" in destination else IP(
        src=f"192.0.2.{client}", dst=destination)
    return bytes(network / UDP(sport=5000 + client, dport=port) / Raw(bytes(range(size))))


def ether_type(version):
    return struct.pack("!H", 0x0800 if version == 4 else 0x86DD)


def version_of(ip_packet):
    return ip_packet[0] >> 4


# Link headers as their specifications draw them, with the type of an IP version.
LINKS = {
    "Ethernet": (ETHERNET, lambda v: NODE + CLIENT + ether_type(v)),
    "802.1Q": (ETHERNET, lambda v: NODE + CLIENT + bytes.fromhex("8100 2007") + ether_type(v)),
    "QinQ 802.1ad": (ETHERNET, lambda v: NODE + CLIENT + bytes.fromhex("88a8 0064 8100 0007") + ether_type(v)),
    "QinQ 0x8100 twice": (ETHERNET, lambda v: NODE + CLIENT + bytes.fromhex("8100 0064 8100 0007") + ether_type(v)),
    "cooked v1": (COOKED, lambda v: bytes.fromhex("0000 0001 0006") + CLIENT + b"\0\0" + ether_type(v)),
    "cooked v2": (COOKED_V2, lambda v: ether_type(v) + bytes.fromhex("0000 00000003 0001 00 06") + CLIENT + b"\0\0"),
    "raw IP": (RAW, lambda v: b""),
}


def ethernet(ip_packet):
    return LINKS["Ethernet"][1](version_of(ip_packet)) + ip_packet


@dataclass
class Record:
    data: bytes
    time: int = 0  # nanoseconds since 1970
    wire: int = 0  # size on the wire; 0: as captured

    def __post_init__(self):
        self.wire = self.wire or len(self.data)


class Capture:
    """A pcap file, written and read here so that precision and sizes are seen as they are in the file."""

    def __init__(self, link, records, nano=False):
        self.link, self.nano = link, nano
        self.records = [r if isinstance(r, Record) else Record(r, 1_700_000_000_000_000_000 + i * 10_000)
                        for i, r in enumerate(records)]

    def pack(self, order="<"):
        data = struct.pack(order + "IHHiIII", 0xA1B23C4D if self.nano else 0xA1B2C3D4, 2, 4, 0, 0, 262144, self.link)
        for r in self.records:
            seconds, nanoseconds = divmod(r.time, 1_000_000_000)
            fraction = nanoseconds if self.nano else nanoseconds // 1000
            data += struct.pack(order + "IIII", seconds, fraction, len(r.data), r.wire) + r.data
        return data

    def pack_ng(self):
        """pcapng (draft-ietf-opsawg-pcapng): a section, an interface with nanoseconds, enhanced packets."""
        def block(kind, body):
            return struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12)
        data = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
        data += block(1, struct.pack("<HHI", self.link, 0, 262144) + struct.pack("<HHBxxxI", 9, 1, 9, 0))
        for r in self.records:
            padding = b"\0" * (-len(r.data) % 4)
            head = struct.pack("<IIIII", 0, r.time >> 32, r.time & 0xFFFFFFFF, len(r.data), r.wire)
            data += block(6, head + r.data + padding)
        return data

    @classmethod
    def unpack(cls, data):
        magic, _, _, _, _, _, link = struct.unpack_from("<IHHiIII", data)
        nano = {0xA1B2C3D4: False, 0xA1B23C4D: True}[magic]
        records, at = [], 24
        while at < len(data):
            seconds, fraction, size, wire = struct.unpack_from("<IIII", data, at)
            time = seconds * 1_000_000_000 + fraction * (1 if nano else 1000)
            records.append(Record(data[at + 16:at + 16 + size], time, wire))
            at += 16 + size
        return cls(link, records, nano)


class PcapNat(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.dir = Path(holder.name)
        (self.dir / "test.ku").write_text(CONFIG)

    def call(self, *arguments, **options):
        return subprocess.run([TOOL, *map(str, arguments)], cwd=self.dir, capture_output=True, timeout=60, **options)

    def run_on(self, capture, *more, config="test.ku", status=0):
        """The output capture, the report's lines and the process."""
        (self.dir / "in.pcap").write_bytes(capture if isinstance(capture, bytes) else capture.pack())
        arguments = ["--read", "in.pcap", "--write", "out.pcap", "--report", "out.jsonl", *more]
        done = self.call(*arguments, *(["--config", config] if config else []))
        self.assertEqual(done.returncode, status, done.stderr.decode())
        if status == 0:
            self.assertEqual(done.stderr, b"")
        lines = [json.loads(line) for line in (self.dir / "out.jsonl").read_text().splitlines()]
        return Capture.unpack((self.dir / "out.pcap").read_bytes()), lines, done

    def assert_fails(self, status, pattern, *arguments, **options):
        """Exit status, and one line on stderr that matches."""
        done = self.call(*arguments, **options)
        said = done.stderr.decode()
        self.assertEqual(done.returncode, status, said)
        self.assertRegex(said, r"\Apcap_nat: [^\n]*\n\Z")
        self.assertRegex(said, pattern)

    def assert_forwarded(self, frame, header, version, payload):
        """The frame is the link header and a whole, valid IP packet to a pod, with nothing behind it."""
        self.assertEqual(frame[:len(header)], header)
        data = frame[len(header):]
        self.assertEqual(version_of(data), version)
        ip = IP(data) if version == 4 else IPv6(data)
        self.assertEqual(ip.len if version == 4 else ip.plen + 40, len(data), "IP length and frame length")
        self.assertIn(ip.dst, PODS)
        self.assertEqual((ip[UDP].dport, bytes(ip[UDP].payload)), (3307, payload))
        found, computed = ip[UDP].chksum, ip.copy()
        computed[UDP].chksum = None
        self.assertEqual(type(ip)(bytes(computed))[UDP].chksum, found, "UDP checksum")


class LinkTypes(PcapNat):
    def test_header_stays_and_its_type_follows_the_family(self):
        for name, (link, header) in LINKS.items():
            for pair, destination, version in FORWARDED:
                with self.subTest(link=name, pair=pair):
                    sent = packet(destination)
                    out, lines, _ = self.run_on(Capture(link, [header(version_of(sent)) + sent]))
                    self.assertEqual((out.link, len(out.records)), (link, 1))
                    self.assert_forwarded(out.records[0].data, header(version), version, bytes(range(20)))
                    self.assertEqual(lines[0]["verdict"], "forward")

    def test_raw_capture_of_one_family_becomes_raw_where_the_other_may_appear(self):
        for link, destination, version in [(IPV4_ONLY, "91.1.2.3", 6), (IPV6_ONLY, "2001::5", 4)]:
            with self.subTest(link=link):
                out, _, _ = self.run_on(Capture(link, [packet(destination)]))
                self.assertEqual(out.link, RAW)
                self.assert_forwarded(out.records[0].data, b"", version, bytes(range(20)))

    def test_raw_capture_of_one_family_stays_where_no_service_changes_it(self):
        (self.dir / "same.ku").write_text("ku vip 90.0.0.0/8 port 3306 nat4\nku pod 90.0.0.0/8 10.0.0.1\n")
        for config in ("same.ku", None):
            out, _, _ = self.run_on(Capture(IPV4_ONLY, [packet("90.1.2.3")]), config=config)
            self.assertEqual((out.link, len(out.records)), (IPV4_ONLY, 1))

    def test_link_padding_is_left_behind(self):
        for name, (link, header) in LINKS.items():
            for pair, destination, version in FORWARDED:
                with self.subTest(link=name, pair=pair):
                    sent = packet(destination, size=2)
                    out, _, _ = self.run_on(Capture(link, [header(version_of(sent)) + sent + b"\xa5" * 17]))
                    self.assert_forwarded(out.records[0].data, header(version), version, bytes(range(2)))

    def test_reply_goes_back_where_the_packet_came_from(self):
        swapped = CLIENT + NODE
        expected = {"Ethernet": swapped + ether_type(4), "802.1Q": swapped + bytes.fromhex("8100 2007 0800"),
                    "QinQ 802.1ad": swapped + bytes.fromhex("88a8 0064 8100 0007 0800"),
                    "cooked v1": LINKS["cooked v1"][1](4), "cooked v2": LINKS["cooked v2"][1](4), "raw IP": b""}
        for name, header in expected.items():
            with self.subTest(link=name):
                link, before = LINKS[name]
                out, lines, _ = self.run_on(Capture(link, [before(4) + packet("92.0.0.1") + b"\xa5" * 9]))
                self.assertEqual((lines[0]["verdict"], lines[0]["reason"]), ("reply", "no_endpoints"))
                frame = out.records[0]
                self.assertEqual(frame.data[:len(header)], header)
                answer = IP(frame.data[len(header):])
                self.assertEqual((answer.dst, answer[ICMP].type, answer[ICMP].code), ("192.0.2.1", 3, 3))
                self.assertEqual((answer.len, frame.wire), (len(frame.data) - len(header), len(frame.data)))

    def test_unknown_link_type_is_refused(self):
        (self.dir / "in.pcap").write_bytes(Capture(105, [b"\0" * 60]).pack())  # IEEE 802.11
        self.assert_fails(1, r"in\.pcap.*link type", "--read", "in.pcap", "--write", "out.pcap")
        self.assertFalse((self.dir / "out.pcap").exists())


class Passed(PcapNat):
    FRAMES = {
        "another address": ethernet(packet("203.0.113.1")),
        "another port of a VIP": ethernet(packet("90.1.2.3", port=80)),
        "IPv4 with padding and trailer": ethernet(packet("203.0.113.1", size=1)) + b"\xa5" * 21,
        "IPv6 with trailer": ethernet(packet("2009::1", size=1)) + b"\xa5" * 5,
        "tagged": LINKS["QinQ 802.1ad"][1](4) + packet("203.0.113.1"),
        "ARP": b"\xff" * 6 + CLIENT + bytes.fromhex("0806 0001 0800 0604 0001") + CLIENT + bytes(18),
        "length instead of type (802.3)": NODE + CLIENT + bytes.fromhex("0026 4242 03") + bytes(40),
        "nothing": b"",
        "shorter than a link header": NODE + CLIENT + b"\x08",
        "ends inside its tag": NODE + CLIENT + bytes.fromhex("8100 00"),
        "IPv6 behind the type of IPv4": NODE + CLIENT + ether_type(4) + packet("2001::5"),
        "thirty tags": NODE + CLIENT + bytes.fromhex("8100 0001") * 30 + ether_type(4) + packet("90.1.2.3"),
    }

    def test_bytes_and_times_are_kept(self):
        capture = Capture(ETHERNET, self.FRAMES.values())
        for config in ("test.ku", None):
            with self.subTest(config=config):
                out, lines, _ = self.run_on(capture, config=config)
                for name, sent, got, line in zip(self.FRAMES, capture.records, out.records, lines, strict=True):
                    self.assertEqual(got, sent, name)
                    self.assertEqual(line, {**dict.fromkeys(KEYS), "packet": line["packet"], "verdict": "pass",
                                            "masquerade": False, "flow": "none"}, name)

    def test_without_configuration_everything_passes(self):
        capture = Capture(ETHERNET, [ethernet(packet(d, client=i)) for i in (1, 2) for _, d, _ in FORWARDED])
        out, lines, _ = self.run_on(capture, config=None)
        self.assertEqual(out.records, capture.records)
        self.assertEqual({line["verdict"] for line in lines}, {"pass"})

    def test_input_order_is_kept_across_bursts(self):
        destinations = ["90.0.0.1", "203.0.113.1", "91.0.0.1", "2001::1", "2009::1"] * 40
        frames = [ethernet(packet(d, client=i % 200, size=i)) for i, d in enumerate(destinations)]
        arp = self.FRAMES["ARP"]
        out, _, _ = self.run_on(Capture(ETHERNET, [f for frame in frames for f in (frame, arp)]))
        self.assertEqual([r.data for r in out.records[1::2]], [arp] * 200)
        for number, record in enumerate(out.records[::2]):
            self.assertTrue(record.data.endswith(bytes(range(number))), f"payload of packet {number}")

    def test_link_padding_that_was_not_captured_is_not_missed(self):
        whole = ethernet(packet("90.1.2.3"))
        capture = Capture(ETHERNET, [Record(ethernet(packet("203.0.113.1")), 0, 900), Record(whole, 0, len(whole) + 12)])
        out, lines, _ = self.run_on(capture)
        self.assertEqual([line["verdict"] for line in lines], ["pass", "forward"])
        self.assertEqual([(len(r.data), r.wire) for r in out.records],
                         [(len(capture.records[0].data), 900), (len(whole), len(whole))])


class Several(PcapNat):
    """Frames that the library needs for packets that were none before."""

    HEADERS = {name: LINKS[name] for name in ("Ethernet", "QinQ 802.1ad", "cooked v2", "raw IP")}

    def test_a_packet_that_must_be_cut_becomes_two_frames_of_its_time(self):
        """RFC 7915 section 4: no longer than 1280 bytes where DF is not set."""
        whole = bytes(IP(src="192.0.2.1", dst="91.1.2.3") / UDP(sport=5001, dport=3306) / Raw(bytes(1472)))
        for name, (link, header) in self.HEADERS.items():
            with self.subTest(link=name):
                out, lines, _ = self.run_on(Capture(link, [header(4) + whole, header(4) + packet("90.0.0.1")]))
                self.assertEqual([line["verdict"] for line in lines], ["forward", "forward"])
                *pieces, last = out.records
                self.assertEqual(len({r.time for r in pieces}), 1)
                data = b""
                for r in pieces:
                    self.assertEqual((r.data[:len(header(6))], r.wire), (header(6), len(r.data)))
                    ip = IPv6(r.data[len(header(6)):])
                    self.assertEqual((ip.plen + 40, ip[IPv6ExtHdrFragment].offset * 8), (len(bytes(ip)), len(data)))
                    self.assertLessEqual(ip.plen + 40, 1280)
                    data += bytes(ip[IPv6ExtHdrFragment].payload)
                self.assertEqual(len(data), 8 + 1472)
                self.assert_forwarded(last.data, header(4), 4, bytes(range(20)))

    def test_fragments_before_their_first_one_follow_it(self):
        datagram = IP(src="192.0.2.1", dst="90.1.2.3", id=7) / UDP(sport=5001, dport=3306) / Raw(bytes(2000))
        parts = [bytes(f) for f in fragment(datagram, fragsize=800)]
        for name, (link, header) in self.HEADERS.items():
            with self.subTest(link=name):
                out, _, _ = self.run_on(Capture(link, [header(4) + part for part in reversed(parts)]))
                self.assertEqual([r.data[:len(header(4))] for r in out.records], [header(4)] * 3)
                got = sorted((IP(r.data[len(header(4)):]) for r in out.records), key=lambda ip: ip.frag)
                self.assertEqual([bytes(ip.payload)[8 * (ip.frag == 0):] for ip in got],
                                 [part[20 + 8 * (part == parts[0]):] for part in parts])
                self.assertEqual(len({ip.dst for ip in got} & PODS), 1)


class Files(PcapNat):
    def capture(self, **options):
        frames = [ethernet(packet(d, client=i)) for i in range(1, 60) for _, d, _ in FORWARDED]
        start = 1_700_000_000_123_456_789
        return Capture(ETHERNET, [Record(f, start + i * 1001) for i, f in enumerate(frames)], **options)

    def test_runs_with_one_seed_write_the_same_bytes(self):
        outputs, reports = [], []
        for seed in ([], [], ["--seed", "7"], ["--seed", "7"]):
            self.run_on(self.capture(), *seed)
            outputs.append((self.dir / "out.pcap").read_bytes())
            reports.append((self.dir / "out.jsonl").read_bytes())
        self.assertTrue((outputs[2], reports[2]) == (outputs[3], reports[3]), "runs with one seed differ")
        self.assertTrue((outputs[0], reports[0]) == (outputs[1], reports[1]), "runs without a seed differ")
        self.assertTrue(reports[0] != reports[2], "another seed, another choice of pods for 236 flows")

    def test_precision_of_times_is_kept(self):
        for nano in (False, True):
            with self.subTest(nano=nano):
                capture = self.capture(nano=nano)
                out, _, _ = self.run_on(capture)
                self.assertEqual(out.nano, nano)
                step = 1 if nano else 1000
                self.assertEqual([r.time // step for r in out.records], [r.time // step for r in capture.records])

    def test_big_endian_and_pcapng_are_read(self):
        capture = self.capture(nano=True)
        expected, _, _ = self.run_on(capture)
        for name, data in {"big-endian": capture.pack(">"), "pcapng": capture.pack_ng()}.items():
            with self.subTest(name):
                out, _, _ = self.run_on(data)
                self.assertTrue(out.nano)
                self.assertEqual(out.records, expected.records)
        micro, _, _ = self.run_on(self.capture(nano=False).pack(">"))
        self.assertEqual([r.time for r in micro.records], [r.time // 1000 * 1000 for r in expected.records])

    def test_pipe(self):
        self.run_on(self.capture())
        expected = (self.dir / "out.pcap").read_bytes()
        done = self.call("--read", "-", "--write", "-", "--config", "test.ku", "--stats", input=self.capture().pack())
        self.assertEqual((done.returncode, done.stdout), (0, expected))
        self.assertIn("forward", done.stderr.decode(), "the table makes way for the capture")

    def test_flows_live_by_the_time_of_the_capture(self):
        """RFC 4787 REQ-5: a UDP mapping lives two minutes at least; the default here is below an hour."""
        frame = ethernet(packet("90.1.2.3"))
        seconds = [0, 1, 3601, 3602]
        _, lines, _ = self.run_on(Capture(ETHERNET, [Record(frame, (1_700_000_000 + s) * 10**9) for s in seconds]))
        self.assertEqual([line["flow"] for line in lines], ["new", "original", "new", "original"])

    def test_a_clock_that_steps_back_does_no_harm(self):
        frame = ethernet(packet("90.1.2.3"))
        records = [Record(frame, (1_700_000_000 + s) * 10**9) for s in (0, -3600, 1)]
        out, lines, _ = self.run_on(Capture(ETHERNET, records))
        self.assertEqual([line["flow"] for line in lines], ["new", "original", "original"])
        self.assertEqual([r.time for r in out.records], [r.time for r in records])


class Reports(PcapNat):
    def test_a_line_for_each_packet_with_its_keys_in_order(self):
        destinations = [d for _, d, _ in FORWARDED] + ["92.0.0.1", "9.9.9.9"]
        frames = [ethernet(packet(d)) for d in destinations]
        _, lines, _ = self.run_on(Capture(ETHERNET, frames + frames[:1]))
        self.assertEqual([list(line) for line in lines], [KEYS] * 7)
        self.assertEqual([line["packet"] for line in lines], list(range(1, 8)))
        self.assertEqual([line["verdict"] for line in lines], ["forward"] * 4 + ["reply", "pass", "forward"])
        self.assertEqual([line["flow"] for line in lines], ["new"] * 4 + ["none", "none", "original"])
        for line, version in zip(lines, (4, 6, 4, 6)):
            self.assertRegex(line["backend"], r"^10\.0\.0\.[12]:3307$" if version == 4 else r"^\[2002::[12]\]:3307$")
            self.assertIsInstance(line["service"], str)
            self.assertEqual((line["reason"], type(line["masquerade"])), (None, bool))
        self.assertIsInstance(lines[4]["service"], str)
        self.assertIsNone(lines[4]["backend"])

    def test_replies_of_a_flow_are_told_from_its_requests(self):
        request = ethernet(packet("90.1.2.3"))
        out, _, _ = self.run_on(Capture(ETHERNET, [request]))
        pod = IP(out.records[0].data[14:]).dst
        answer = ethernet(bytes(IP(src=pod, dst="192.0.2.1") / UDP(sport=3307, dport=5001) / Raw(b"answer")))
        out, lines, _ = self.run_on(Capture(ETHERNET, [request, answer]))
        self.assertEqual([lines[1][k] for k in ("verdict", "flow", "backend")], ["forward", "reply", f"{pod}:3307"])
        answer = IP(out.records[1].data[14:])
        self.assertEqual((answer.src, answer.dst, answer[UDP].sport), ("90.1.2.3", "192.0.2.1", 3306))

    def test_a_port_that_is_kept_is_the_backends(self):
        (self.dir / "any.ku").write_text("ku vip 90.0.0.0/8 nat6\nku pod 90.0.0.0/8 2002::1\n")
        frames = [ethernet(packet("90.1.2.3", port=port)) for port in (53, 4433)]
        _, lines, _ = self.run_on(Capture(ETHERNET, frames), config="any.ku")
        self.assertEqual([line["backend"] for line in lines], ["[2002::1]:53", "[2002::1]:4433"])

    def test_show_lines_of_the_configuration_are_answered(self):
        (self.dir / "show.ku").write_text(CONFIG + "show ku vip verbose\n")
        _, _, done = self.run_on(Capture(ETHERNET, []), config="show.ku")
        for pod in PODS:
            self.assertIn(pod, done.stdout.decode())
        done = self.call("--read", "in.pcap", "--write", "-", "--config", "show.ku")
        self.assertEqual(done.stdout, (self.dir / "out.pcap").read_bytes())
        self.assertIn("2002::1", done.stderr.decode())

    def test_the_table_adds_up_to_the_report(self):
        frames = [ethernet(packet("90.1.2.3", client=c)) for c in range(1, 101)] * 2
        frames += [ethernet(packet("92.0.0.1"))] * 3 + [ethernet(packet("9.9.9.9"))] * 5
        _, lines, done = self.run_on(Capture(ETHERNET, frames), "--stats")
        table = done.stdout.decode()
        for verdict, packets in {"forward": 200, "pass": 5, "reply": 3, "drop": 0}.items():
            self.assertRegex(table, rf"(?m)^ *{verdict} +{packets} +[\d.]+ %$")
        self.assertRegex(table, r"(?m)^ *no_endpoints +3 ")
        flows = {}
        for pod in ("10.0.0.1:3307", "10.0.0.2:3307"):
            of_pod = [line for line in lines if line["backend"] == pod and line["service"].startswith("90.")]
            flows[pod] = sum(line["flow"] == "new" for line in of_pod)
            row = re.search(rf"(?m)^ *{re.escape(pod)} +{len(of_pod)} +{flows[pod]} +([\d.]+) % +(#+)$", table)
            self.assertIsNotNone(row, table)
            self.assertAlmostEqual(float(row[1]), flows[pod], delta=0.05)
        self.assertEqual(sum(flows.values()), 100)


class Failures(PcapNat):
    def setUp(self):
        super().setUp()
        (self.dir / "in.pcap").write_bytes(Capture(ETHERNET, [ethernet(packet("90.1.2.3"))] * 3).pack())

    def test_command_line(self):
        rows = {"": "--read", "--read in.pcap": "--write", "--read in.pcap --write o --nonsense": "nonsense",
                "--read in.pcap --write o extra": "positional", "--read": "read",
                "--read in.pcap --write o --seed x": "seed", "--read in.pcap --write in.pcap": r"in\.pcap"}
        for arguments, pattern in rows.items():
            with self.subTest(arguments):
                self.assert_fails(2, pattern, *arguments.split())
        self.assertEqual(len(Capture.unpack((self.dir / "in.pcap").read_bytes()).records), 3)

    def test_help(self):
        done = self.call("--help")
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        for option in ("--read", "--write", "--config", "--report", "--stats", "--seed"):
            self.assertIn(option, done.stdout.decode())

    def test_configuration(self):
        rows = [("nonsense 1", 1, "nonsense"), ("ku vip 90.0.0.0/33 nat4", 1, "33"),
                ("ku vip 90.0.0.0/8 port 70000 nat4", 1, "70000"), ("ku pod 9.0.0.0/8 10.0.0.1", 1, "9.0.0.0/8"),
                ("# a comment\n\nku vip 90.0.0.0/8 nat4\nku pod 90.0.0.0/8 2002::1", 4, "2002::1")]
        for text, line, reason in rows:
            with self.subTest(text):
                (self.dir / "bad.ku").write_text(text + "\n")
                arguments = ["--read", "in.pcap", "--write", "out.pcap", "--config", "bad.ku"]
                self.assert_fails(2, rf" bad\.ku:{line}: .*{reason}", *arguments)
                self.assertFalse((self.dir / "out.pcap").exists())
        for name in ("none.ku", "."):
            self.assert_fails(2, rf" {re.escape(name)}: ", "--read", "in.pcap", "--write", "o", "--config", name)
        (self.dir / "empty.ku").write_bytes(b"")
        done = self.call("--read", "in.pcap", "--write", "o", "--config", "empty.ku")
        self.assertEqual((done.returncode, done.stderr), (0, b""))

    def test_capture_that_cannot_be_read(self):
        (self.dir / "empty.pcap").write_bytes(b"")
        (self.dir / "text.pcap").write_text("this is no capture, but long enough for its header\n")
        for name in ("none.pcap", "empty.pcap", "text.pcap", "."):
            with self.subTest(name):
                self.assert_fails(1, rf": {re.escape(name)}: ", "--read", name, "--write", "out.pcap")
                self.assertFalse((self.dir / "out.pcap").exists())

    def test_capture_that_cannot_be_written(self):
        for name in ("no/such/folder.pcap", "/dev/full"):
            with self.subTest(name):
                self.assert_fails(1, re.escape(name), "--read", "in.pcap", "--write", name)
        self.assert_fails(1, "no/such", "--read", "in.pcap", "--write", "o", "--report", "no/such/folder.jsonl")
        self.assert_fails(1, "/dev/full", "--read", "in.pcap", "--write", "o", "--report", "/dev/full")

    def test_truncated_capture_is_processed_as_far_as_it_is_whole(self):
        data = Capture(ETHERNET, [ethernet(packet("90.1.2.3"))] * 3).pack()
        for cut in (1, 60, 70):
            with self.subTest(cut=cut):
                out, lines, done = self.run_on(data[:-cut], "--stats", status=1)
                self.assertEqual((len(out.records), len(lines)), (2, 2))
                self.assertRegex(done.stderr.decode(), r"\Apcap_nat: in\.pcap: [^\n]*\n\Z")
                self.assertRegex(done.stdout.decode(), r"(?m)^ *forward +2 ")


class Demo(PcapNat):
    def test_the_capture_is_what_its_script_writes(self):
        made = self.dir / "made.pcap"
        subprocess.run([sys.executable, "-B", EXAMPLES / "make_demo.py", made], check=True)
        self.assertEqual(made.read_bytes(), (EXAMPLES / "demo.pcap").read_bytes())

    def test_every_service_shows_in_the_table(self):
        done = self.call("--read", EXAMPLES / "demo.pcap", "--write", "out.pcap", "--config", EXAMPLES / "demo.ku",
                         "--stats", "--report", "out.jsonl")
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        lines = [json.loads(line) for line in (self.dir / "out.jsonl").read_text().splitlines()]
        self.assertEqual({line["verdict"] for line in lines}, {"forward", "pass", "reply"})
        services = {line["service"] for line in lines if line["service"]}
        self.assertEqual(len(services), 5)
        for text in services | {line["backend"] for line in lines if line["backend"]}:
            self.assertIn(text, done.stdout.decode())


if __name__ == "__main__":
    if len(sys.argv) < 2 or not os.access(sys.argv[1], os.X_OK):
        sys.exit(__doc__)
    TOOL = str(Path(sys.argv.pop(1)).resolve())
    unittest.main()
