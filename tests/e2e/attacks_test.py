#!/usr/bin/python3
"""Hosts on the links of a forwarder that try to make it useless for others. All traffic stays in namespaces made here.

    attacks_test.py TAP_FORWARDER KUCTL [unittest's options]
"""

import contextlib
import ipaddress
import json
import re
import socket
import struct
import sys
import threading
import time
import unittest

from network import VIP_POOL, Network, need, slice_of, wait_until

VIP, HEALTH_PORT = "10.96.0.1", 32123
UNUSED = [f"10.244.1.{i}" for i in range(100, 164)]
POD_MAC = bytes.fromhex("02000000000d")


def internet_checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def arp_request(sender, target):
    """RFC 826"""
    addresses = [socket.inet_aton(a) for a in (sender, target)]
    return (b"\xff" * 6 + POD_MAC + b"\x08\x06" + bytes.fromhex("0001080006040001") + POD_MAC + addresses[0] +
            bytes(6) + addresses[1])


def solicitation(sender, target):
    """RFC 4861 section 4.3"""
    source, wanted = (ipaddress.IPv6Address(a).packed for a in (sender, target))
    group = bytes.fromhex("ff0200000000000000000001ff") + wanted[13:]
    message = struct.pack("!BBHI", 135, 0, 0, 0) + wanted + b"\x01\x01" + POD_MAC
    checksum = internet_checksum(source + group + struct.pack("!II", len(message), 58) + message)
    message = message[:2] + struct.pack("!H", checksum) + message[4:]
    header = struct.pack("!IHBB", 6 << 28, len(message), 58, 255) + source + group
    return b"\x33\x33" + group[12:] + POD_MAC + b"\x86\xdd" + header + message


class Attacks(unittest.TestCase):
    def start(self, *options):
        self.net = Network(PROGRAM, KUCTL)
        self.addCleanup(self.net.remove)
        self.net.start(*options)
        self.ping(self.net.client, "10.244.1.2", 1)

    def ping(self, where, address, count=3, source=None):
        """The longest time of an answer in milliseconds; all must come."""
        said = where.run("ping", "-n", "-i", "0.05", "-W", "5", "-c", count, *(["-I", source] if source else []),
                         address).stdout
        return float(re.search(r"= [\d.]+/[\d.]+/([\d.]+)/", said)[1])

    def send_frames(self, where, device, frames):
        with where.inside(), contextlib.closing(socket.socket(socket.AF_PACKET, socket.SOCK_RAW)) as link:
            link.bind((device, 0))
            for frame in frames:
                link.send(frame)

    def dropped(self, reason):
        return self.net.read_metrics()[f'kubeproxy_router_dropped_packets_total{{reason="{reason}"}}']

    @contextlib.contextmanager
    def flood(self, send_one, rate):
        """Calls send_one(i) in the client's namespace, about `rate` times a second."""
        ends = threading.Event()

        def work():
            with self.net.client.inside(), contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as out:
                began, i = time.monotonic(), 0
                while not ends.wait(0.01):
                    while i < (time.monotonic() - began) * rate:
                        send_one(out, i)
                        i += 1

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ends.set()
            thread.join(20)

    def test_packets_to_unused_addresses_delay_nobody(self):
        self.start()
        with self.flood(lambda out, i: out.sendto(b"x" * 100, (UNUSED[i % len(UNUSED)], 9)), rate=400):
            time.sleep(2.5)  # so that as many packets wait as may
            longest = self.ping(self.net.client, "10.244.1.2", 60)
            values = self.net.read_metrics()
        self.assertLess(longest, 250, "milliseconds")
        self.assertLessEqual(values["kubeproxy_router_waiting_packets"], 1024 / 4)
        self.assertGreater(values['kubeproxy_router_dropped_packets_total{reason="unresolved"}'], 100)
        self.assertEqual(values['kubeproxy_router_dropped_packets_total{reason="no_buffer"}'], 0)

    def test_neighbour_messages_of_a_pod_make_no_station_unreachable(self):
        self.start()
        foreign = (arp_request(str(ipaddress.IPv4Address("172.16.0.1") + i), "10.244.1.1") for i in range(4200))
        self.send_frames(self.net.pods, "kp", foreign)
        wait_until(lambda: self.dropped("bad_neighbour") >= 4000, "senders of other networks are dropped")
        self.send_frames(self.net.pods, "kp", (arp_request(f"10.244.1.{i}", "10.244.1.1") for i in range(100, 255)))
        self.send_frames(self.net.pods, "kp", (solicitation(f"fd00:b::1:{i:x}", "fd00:b::1") for i in range(1, 4201)))
        for where, device, addresses in ((self.net.client, "kc", ("10.0.0.77/24", "fd00:a::77/64")),
                                         (self.net.pods, "kp", ("10.244.1.77/24", "fd00:b::77/64"))):
            for address in addresses:
                where.ip("addr", "add", address, "dev", device, *(["nodad"] if ":" in address else []))
        self.ping(self.net.client, "10.244.1.2", source="10.0.0.77")
        self.ping(self.net.client, "fd00:b::2", source="fd00:a::77")
        self.ping(self.net.pods, "10.0.0.2", source="10.244.1.77")
        self.ping(self.net.client, "fd00:b::77")

    def spoof(self):
        """A pod sends as the client."""
        self.net.pods.ip("addr", "add", "10.0.0.2/32", "dev", "lo")
        self.net.pods.run("ping", "-n", "-c", "2", "-i", "0.1", "-W", "1", "-I", "10.0.0.2", "10.0.0.1", check=False)

    def test_a_pod_cannot_send_as_the_client(self):
        self.start()
        self.spoof()
        self.assertEqual(self.dropped("reverse_path"), 2)

    def test_reverse_path_filtering_can_be_loose(self):
        self.start("--reverse-path", "loose")
        self.spoof()
        self.assertEqual(self.dropped("reverse_path"), 0)

    def connections(self, count, addresses, port, text=b""):
        opened = []
        with self.net.router.inside():
            for i in range(count):
                one = socket.socket()
                self.addCleanup(one.close)
                one.bind((addresses[i % len(addresses)], 0))
                one.settimeout(10)
                one.connect(("127.0.0.1", port))
                one.sendall(text)
                opened.append(one)
        return opened

    def test_idle_connections_block_no_health_check(self):
        self.start()
        web = {"kind": "Service", "metadata": {"namespace": "shop", "name": "web"},
               "spec": {"type": "LoadBalancer", "clusterIPs": [VIP], "externalTrafficPolicy": "Local",
                        "healthCheckNodePort": HEALTH_PORT, "ports": [{"name": "http", "port": 80}]}}
        pods = slice_of("web", 4, VIP_POOL[:1])
        pods["endpoints"][0]["nodeName"] = "n1"
        node, objects = self.net.folder / "node.json", self.net.folder / "objects.json"
        node.write_text(json.dumps({"name": "n1"}))
        objects.write_text(json.dumps(web) + json.dumps(pods))
        self.net.stop()
        self.net.start("--node", node, "--kubernetes", objects)
        for port in (9100, HEALTH_PORT):
            for addresses in (["127.0.0.1"], [f"127.0.0.{i}" for i in range(1, 51)]):
                for text in (b"", b"GET /healthz HTTP/1.1\r\nX: "):
                    with self.subTest(port=port, addresses=len(addresses), text=text):
                        self.connections(70, addresses, port, text)
                        began = time.monotonic()
                        said = self.net.router.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time",
                                                   "10", f"http://127.0.0.1:{port}/healthz").stdout
                        self.assertEqual(said, "200")
                        self.assertLess(time.monotonic() - began, 2)


if __name__ == "__main__":
    need("curl", "ping")
    PROGRAM, KUCTL = sys.argv[1:3]
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2, warnings="ignore")
