#!/usr/bin/env python3
"""dpdk_forwarder, end to end on virtual devices: frames in, frames and counters out.

    dpdk_forwarder_test.py path/to/dpdk_forwarder [unittest's arguments]

Exit status 77 without scapy (Debian: python3-scapy).
"""

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

try:
    from scapy.layers.inet import ICMP, IP, TCP, UDP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.l2 import ARP, Dot1Q, Ether
    from scapy.packet import Raw
    from scapy.utils import PcapWriter, RawPcapReader
except ImportError:
    print("SKIP: no scapy")
    sys.exit(77)

TOOL = ""
LCORE = f"0@({','.join(map(str, os.sched_getaffinity(0)))})"
# No huge pages, no hardware, nothing in the file system.
ENVIRONMENT = ["--no-huge", "--no-shconf", "--no-pci", "--no-telemetry", "--log-level", "error", "-m", "256"]
CLIENT, NODE, GATEWAY = "02:00:00:00:00:01", "02:00:00:00:00:fe", "02:00:00:00:01:01"
CONFIG = """
ku conf snat4 198.18.0.1 nat64_prefix 64:ff9b::/96
ku vip 90.0.0.0/8 port 3306 target_port 3307 nat4
ku pod 90.0.0.0/8 10.0.0.1
ku vip 91.0.0.0/8 port 3306 target_port 3307 nat6
ku pod 91.0.0.0/8 2002::1
ku vip 2001::/16 port 3306 target_port 3307 nat4
ku pod 2001::/16 10.0.0.1
ku vip 2003::/16 port 3306 target_port 3307 nat6
ku pod 2003::/16 2002::1
ku vip 92.0.0.0/8 port 3306 target_port 3307 nat4
"""


def network(destination):
    return IPv6(src="2005::1", dst=destination) if ":" in destination else IP(src="192.0.2.1", dst=destination)


def frame(destination, size=20, port=3306, source_port=5000):
    message = UDP(sport=source_port, dport=port) / Raw(bytes(i % 256 for i in range(size)))
    return bytes(Ether(src=CLIENT, dst=NODE) / network(destination) / message)


class Forwarder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.config(CONFIG)

    def path(self, name):
        return str(self.folder / name)

    def config(self, text):
        (self.folder / "services.ku").write_text(text)

    def write(self, name, frames, times=None):
        with PcapWriter(self.path(name), linktype=1, sync=False) as writer:
            writer.write_header(None)
            for number, data in enumerate(frames):
                second = times[number] if times else 1_500_000_000
                writer.write_packet(data, sec=second, usec=0)

    def read(self, name):
        with contextlib.closing(RawPcapReader(self.path(name))) as reader:
            return [bytes(data) for data, _ in reader]

    def call(self, devices, options, lcores=LCORE):
        vdevs = [word for device in devices for word in ("--vdev", device)]
        return [TOOL, *ENVIRONMENT, "--lcores", lcores, *vdevs, "--", *options]

    def run_tool(self, devices, *options, lcores=LCORE, status=0):
        done = subprocess.run(self.call(devices, options, lcores), capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, status, done.stderr)
        return done

    def one_port(self, frames, *options, times=None):
        """What comes out of a port that sends back by itself, and what the program printed."""
        self.write("in.pcap", frames, times)
        done = self.run_tool([f"net_pcap0,rx_pcap={self.path('in.pcap')},tx_pcap={self.path('out.pcap')}"], "--config",
                             self.path("services.ku"), "--stop-when-idle", "50", "--stats", *options)
        return self.read("out.pcap"), done.stdout

    def row(self, printed, name):
        found = re.search(rf"^ *{re.escape(name)} +(\d+)", printed, re.MULTILINE)
        self.assertIsNotNone(found, f"no row {name!r} in:\n{printed}")
        return int(found[1])

    def test_requests_leave_by_the_other_port_and_rejections_by_their_own(self):
        self.write("in.pcap", [frame("90.1.1.1"), frame("92.1.1.1"), frame("91.1.1.1")])
        self.write("nothing.pcap", [])
        devices = [f"net_pcap0,rx_pcap={self.path('in.pcap')},tx_pcap={self.path('back.pcap')}",
                   f"net_pcap1,rx_pcap={self.path('nothing.pcap')},tx_pcap={self.path('onward.pcap')}"]
        done = self.run_tool(devices, "--config", self.path("services.ku"), "--stop-when-idle", "50", "--stats")
        onward, back = self.read("onward.pcap"), self.read("back.pcap")
        self.assertEqual([Ether(f).payload.dst for f in onward], ["10.0.0.1", "2002::1"])
        self.assertEqual(len(back), 1)
        answer = Ether(back[0])
        self.assertEqual((answer.src, answer.dst), (NODE, CLIENT))
        self.assertEqual((answer[ICMP].type, answer[ICMP].code), (3, 3))
        self.assertRegex(done.stdout, r"net_pcap0 +3 +0 +0 +1 +0\n +net_pcap1 +0 +0 +0 +2 +0\n")

    def test_every_translation_keeps_the_frame_around_its_packet(self):
        for vip, pod, ether_type in (("90.1.1.1", "10.0.0.1", 0x0800), ("91.1.1.1", "2002::1", 0x86DD),
                                     ("2001::5", "10.0.0.1", 0x0800), ("2003::5", "2002::1", 0x86DD)):
            tagged = bytes(Ether(src=CLIENT, dst=NODE) / Dot1Q(vlan=7) / Ether(frame(vip)).payload)
            for sent, tag in ((frame(vip), b""), (tagged, bytes.fromhex("81000007"))):
                with self.subTest(vip=vip, tag=tag.hex()):
                    out, _ = self.one_port([sent])
                    self.assertEqual(len(out), 1)
                    self.assertEqual(out[0][:12], sent[:12])
                    self.assertEqual(out[0][12:12 + len(tag)], tag)
                    packet = Ether(out[0])
                    self.assertEqual((packet.lastlayer(Dot1Q) if tag else packet).type if not tag else
                                     packet[Dot1Q].type, ether_type)
                    self.assertEqual((packet[IPv6] if ":" in pod else packet[IP]).dst, pod)
                    self.assertEqual(packet[UDP].dport, 3307)
                    checked = packet.copy()
                    del checked[UDP].chksum
                    self.assertEqual(Ether(bytes(checked))[UDP].chksum, packet[UDP].chksum)

    def test_frames_without_an_ip_packet_keep_their_bytes_and_their_place(self):
        arp = bytes(Ether(src=CLIENT, dst="ff:ff:ff:ff:ff:ff") / ARP(psrc="192.0.2.1", pdst="192.0.2.2"))
        short = bytes.fromhex("0200000000fe020000")
        others = frame("203.0.113.1") + bytes(7)
        out, printed = self.one_port([arp, frame("90.1.1.1"), short, others, frame("90.1.1.1"), arp])
        self.assertEqual([out[i] for i in (0, 2, 3, 5)], [arp, short, others, arp])
        self.assertEqual([Ether(out[i])[IP].dst for i in (1, 4)], ["10.0.0.1", "10.0.0.1"])
        self.assertEqual(self.row(printed, "not IP"), 3)

    def test_a_packet_in_several_segments_is_refused_and_counted(self):
        big = frame("90.1.1.1", size=3000)
        out, printed = self.one_port([big, frame("90.1.1.1")])
        self.assertEqual(len(out), 1)
        self.assertEqual(self.row(printed, "dropped: chained"), 1)
        out, printed = self.one_port([big, frame("90.1.1.1")], "--mtu", "4000")
        self.assertEqual([len(f) for f in out], [len(big), len(frame("90.1.1.1"))])
        self.assertNotIn("chained", printed)

    def test_packets_that_become_several_leave_in_the_place_of_their_own(self):
        whole = Ether(frame("91.1.1.1", size=1472))
        whole[IP].flags = 0
        out, printed = self.one_port([bytes(whole), frame("90.1.1.1")])
        self.assertEqual([Ether(f).payload.dst for f in out], ["2002::1", "2002::1", "10.0.0.1"])
        self.assertTrue(all(len(f) <= 1514 for f in out))
        self.assertEqual(self.row(printed, "forward"), 3)

    def test_early_fragments_wait_for_the_first(self):
        ip = IP(src="192.0.2.1", dst="90.1.1.1", id=7)
        message = bytes(IP(bytes(ip / UDP(sport=5000, dport=3306) / Raw(bytes(100)))).payload)
        first = bytes(Ether(src=CLIENT, dst=NODE) / IP(src=ip.src, dst=ip.dst, id=7, proto=17, flags="MF") / Raw(message[:64]))
        last = bytes(Ether(src=CLIENT, dst=NODE) / IP(src=ip.src, dst=ip.dst, id=7, proto=17, frag=8) / Raw(message[64:]))
        out, _ = self.one_port([last, first])
        self.assertEqual([(Ether(f)[IP].dst, Ether(f)[IP].frag) for f in out], [("10.0.0.1", 0), ("10.0.0.1", 8)])

    def test_every_hostile_frame_is_counted_once(self):
        noise = random.Random(20)
        frames = []
        for vip in ("90.1.1.1", "91.1.1.1", "2001::5", "2003::5", "92.1.1.1"):
            tcp = bytes(Ether(src=CLIENT, dst=NODE) / network(vip) / TCP(sport=9, dport=3306, flags="S"))
            for seed in (frame(vip), frame(vip, size=600), tcp):
                for _ in range(100):
                    damaged = bytearray(seed)
                    for _ in range(noise.randint(1, 4)):
                        damaged[noise.randrange(12, min(len(damaged), 80))] = noise.randrange(256)
                    frames.append(bytes(damaged[:noise.choice([len(damaged), noise.randint(1, len(damaged))])]))
        out, printed = self.one_port(frames)
        everything = self.row(printed, "all")
        outcomes = {name: self.row(printed, name) for name in ("forward", "pass", "reply", "drop")}
        self.assertEqual(sum(outcomes.values()), everything)
        made = everything - len(frames)  # pieces of packets that were cut; fragments still held count later
        self.assertLessEqual(abs(made), 64, printed)
        self.assertEqual(len(out), everything - outcomes["drop"], printed)
        self.assertGreater(outcomes["drop"], 100)
        self.assertGreater(outcomes["forward"], 100)

    def test_frames_go_to_the_gateway_or_back_to_where_they_came_from(self):
        out, _ = self.one_port([frame("90.1.1.1"), frame("203.0.113.1")], "--gateway", GATEWAY)
        self.assertEqual({Ether(f).dst for f in out}, {GATEWAY})
        self.assertNotIn(CLIENT, {Ether(f).src for f in out})
        out, _ = self.one_port([frame("90.1.1.1")], "--swap")
        self.assertEqual([(Ether(f).dst, Ether(f).src) for f in out], [(CLIENT, NODE)])

    def test_the_baseline_forwards_what_came(self):
        sent = [frame("90.1.1.1"), frame("2001::5")]
        out, printed = self.one_port(sent, "--baseline")
        self.assertEqual(out, sent)
        self.assertEqual(self.row(printed, "forward"), 2)

    def test_flows_end_by_the_time_that_the_capture_tells(self):
        def flows(*options):
            _, printed = self.one_port([frame("90.1.1.1")] * 2, *options, times=[1_500_000_000, 1_500_001_000])
            return int(re.search(r"10\.0\.0\.1:3307.* (\d+) +(\d+)$", printed, re.MULTILINE)[2])
        self.assertEqual(flows(), 1)
        self.assertEqual(flows("--packet-time"), 2)

    def test_what_is_wrong_is_said_in_one_line(self):
        self.config("ku vip 90.0.0.0/8 port 70000\n")
        for devices, options, status, reason in (
                (["net_null0"], ["--config", self.path("services.ku")], 2, r"services\.ku:1: .*port"),
                (["net_null0"], ["--config", self.path("none.ku")], 2, r"none\.ku: cannot read"),
                (["net_null0"], ["--gateway", "elsewhere"], 2, r'"elsewhere" is no Ethernet address'),
                (["net_null0"], ["--gateway", GATEWAY, "--swap"], 2, "two ways"),
                (["net_null0"], ["--unknown"], 2, "unknown"),
                (["net_null0"], ["--conf", self.path("services.ku")], 2, "--conf"),  # names are not abbreviated
                (["net_null0"], ["--mtu", "67"], 2, "--mtu 67: a number from 68 to 65535"),  # RFC 791 section 3.2
                (["net_null0"], ["--mtu=-1"], 2, "--mtu -1: a number"),
                (["net_null0"], ["--stop-when-idle", "1s"], 2, "--stop-when-idle 1s: a number"),
                (["net_null0"], ["--seed", "0x1"], 2, "--seed 0x1: a number"),
                (["net_null0"], ["--measure", "0"], 2, "--measure: a time above 0"),
                (["net_null0"], ["--control", self.path("none/socket")], 2, "--control .*No such file"),
                (["net_null0"], ["--measure", "--config", self.path("services.ku")], 2, "configuration of its own"),
                (["net_ring0"], ["--measure"], 1, "net_null"),
                ([], [], 1, "no port")):
            with self.subTest(options=options, devices=devices):
                done = self.run_tool(devices, *options, status=status)
                self.assertRegex(done.stderr, rf"\Adpdk_forwarder: .*{reason}.*\n\Z")

    def test_each_lcore_needs_a_queue_to_send(self):
        self.write("in.pcap", [])
        device = f"net_pcap0,rx_pcap={self.path('in.pcap')},tx_pcap={self.path('out.pcap')}"
        processors = ",".join(map(str, os.sched_getaffinity(0)))
        done = self.run_tool([device], "--stop-when-idle", "50", lcores=f"0@({processors}),1@({processors})", status=1)
        self.assertRegex(done.stderr, "net_pcap0: .*each of 2 lcores")

    def test_ku_lines_are_answered_on_the_socket_and_a_signal_ends_the_program(self):
        command = self.call(["net_ring0"], ["--control", self.path("socket"), "--config", self.path("services.ku"), "--stats"])
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
            try:
                answer = self.ask("ku pod 92.0.0.0/8 10.0.0.9\nshow ku vip\nku vip nonsense\nshow counters\nshow flows\n")
                self.assertRegex(answer, r"\Aok\n\n")
                self.assertRegex(answer, r"92\.0\.0\.0/8:3306 .*NAT44 +1 ")
                self.assertRegex(answer, r"\nerror: .*nonsense")
                self.assertRegex(answer, r"net_ring0\.received +0\n")
                self.assertRegex(answer, r"library\.forward +0\n")
                running.send_signal(signal.SIGTERM)
                printed, _ = running.communicate(timeout=60)
            finally:
                running.kill()
        self.assertEqual(running.returncode, 0)
        self.assertEqual(self.row(printed, "all"), 0)
        self.assertFalse(Path(self.path("socket")).exists())

    def ask(self, lines):
        deadline = time.monotonic() + 60
        while True:
            try:
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(self.path("socket"))
                    client.sendall(lines.encode())
                    client.shutdown(socket.SHUT_WR)
                    return b"".join(iter(lambda: client.recv(65536), b"")).decode()
            except (FileNotFoundError, ConnectionRefusedError):
                self.assertLess(time.monotonic(), deadline, "the socket did not appear")
                time.sleep(0.02)

    def test_the_measurement_compares_library_and_baseline(self):
        processors = ",".join(map(str, os.sched_getaffinity(0)))
        done = self.run_tool(["net_null0"], "--measure", "0.005", lcores=f"0@({processors}),1@({processors})")
        for lcores in ("1 lcore", "2 lcores"):
            self.assertRegex(done.stdout, rf"(?s)\n{lcores}\n  receive and send .*\n  count and forward .* Mpps .*\n  NAT44 .* Mpps ")
        self.assertRegex(done.stdout, r"NAT44 of one lcore +\d+\.\d+ times\n")


if __name__ == "__main__":
    TOOL = os.path.abspath(sys.argv.pop(1))
    unittest.main()
