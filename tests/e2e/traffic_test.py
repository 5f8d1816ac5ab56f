#!/usr/bin/python3
"""Real clients, real servers, real kernel stacks on both sides of a forwarder.

    traffic_test.py TAP_FORWARDER KUCTL [unittest's options]
"""

import concurrent.futures
import json
import os
import re
import socket
import sys
import unittest

from load import get
from network import PROCESSORS, VIP_POOL, VIP_POOL6, Network, digest_of, slice_of, need, readable, wait_until

BIG = 100 << 20
FAR4, FAR6 = "10.244.2.2", "fd00:c::2"
# (client's version, pods' version): the address that clients speak to
VIPS = {(4, 4): "10.96.0.44", (6, 6): "fd00:96::66", (4, 6): "10.96.0.46", (6, 4): "fd00:96::64"}
PORTS = {80: (8080, ""), 81: (8081, ""), 53: (53, ""), 9000: (9000, "")}

KU = "ku conf snat4 198.18.0.1 nat64_prefix 64:ff9b:1::/96 node 10.0.0.1 node fd00:a::1\n"
for (client, pods), vip in VIPS.items():
    for port, (target, words) in PORTS.items():
        KU += f"ku vip {vip} port {port} target_port {target} nat{pods}{words}\n"
    KU += f"ku pod {vip} {' '.join(VIP_POOL if pods == 4 else VIP_POOL6)}\n"
KU += f"ku vip 10.96.0.50\nku pod 10.96.0.50 {VIP_POOL[1]}\nku vip fd00:96::50\nku pod fd00:96::50 {VIP_POOL6[1]}\n"
KU += f"ku vip 10.96.0.52 port 5201\nku pod 10.96.0.52 {VIP_POOL[0]}\n"
for (client, pods), last in {(4, 4): "10.96.0.74", (6, 6): "fd00:96::76", (4, 6): "10.96.0.76", (6, 4): "fd00:96::74"}.items():
    KU += f"ku vip {last} port 80 target_port 8080 nat{pods}\nku pod {last} {FAR4 if pods == 4 else FAR6}\n"

SERVICE = {
    "kind": "Service", "metadata": {"namespace": "shop", "name": "web"},
    "spec": {"type": "LoadBalancer", "clusterIPs": ["10.97.0.1", "fd00:97::1"], "clusterIP": "10.97.0.1",
             "ipFamilies": ["IPv4", "IPv6"],
             "ports": [{"name": "http", "port": 80, "nodePort": 30080, "protocol": "TCP"}]},
    "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.10"}, {"ip": "2001:db8:10::1"}]}},
}


def url(address, port=80, path="/"):
    return f"http://{f'[{address}]' if ':' in address else address}:{port}{path}"


class Translated:
    """What every forwarder does, however many workers it has."""

    workers = 1

    @classmethod
    def setUpClass(cls):
        cls.net = net = Network(PROGRAM, KUCTL)
        (net.folder / "services.ku").write_text(KU)
        (net.folder / "node.json").write_text(json.dumps(
            {"name": "n1", "addresses": ["10.0.0.1", "fd00:a::1"], "podCIDRs": ["10.244.0.0/16", "fd00:b::/48"]}))
        (net.folder / "objects.json").write_text(
            "\n".join(json.dumps(o) for o in (SERVICE, slice_of("web", 4, VIP_POOL), slice_of("web", 6, VIP_POOL6))))
        net.start("--workers", cls.workers, "--node", net.folder / "node.json", "--config", net.folder / "services.ku", "--kubernetes",
                  net.folder / "objects.json")
        net.add_far(mtu=1300)
        cls.big = net.folder / "big"
        cls.big.write_bytes(os.urandom(BIG))
        cls.digest = digest_of(cls.big)
        net.serve(net.pods, *VIP_POOL, *VIP_POOL6, big=cls.big)
        net.serve(net.far, FAR4, FAR6, big=cls.big)

    @classmethod
    def tearDownClass(cls):
        said, status = cls.net.forwarder.lines, cls.net.stop()
        cls.net.remove()
        assert status == 0, f"the forwarder ended with {status}: {said}"


    def curl(self, *words, **more):
        return self.net.client.run("curl", "-sS", "--max-time", "60", *words, **more).stdout

    def test_http_in_all_translations(self):
        for (client, pods), vip in VIPS.items():
            with self.subTest(client=client, pods=pods):
                self.assertIn(self.curl(url(vip)), VIP_POOL if pods == 4 else VIP_POOL6)

    def test_large_files_come_whole(self):
        for (client, pods), vip in VIPS.items():
            with self.subTest(client=client, pods=pods):
                self.curl("-o", self.net.folder / "got", url(vip, path="/big"))
                self.assertEqual(digest_of(self.net.folder / "got"), self.digest)
                self.assertEqual(self.curl("-T", self.big, url(vip, path="/")), self.digest, "the way there")

    def test_ten_thousand_short_connections(self):
        def some(vip, count):
            with self.net.client.inside():
                return {get(vip) for _ in range(count)}

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            seen = list(pool.map(some, list(VIPS.values()) * 2, [1250] * 8))
        for vip, pods in zip(list(VIPS.values()), seen):
            self.assertEqual(len(pods), 4, f"{vip}: every pod gets some")

    def test_datagrams_of_8_kib_in_fragments(self):
        payload = os.urandom(8192)
        for (client, pods), vip in VIPS.items():
            with self.subTest(client=client, pods=pods), self.net.client.inside():
                with socket.socket(socket.AF_INET if client == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as s:
                    if client == 4:  # fragments of a packet that may be cut: DF clear
                        s.setsockopt(socket.IPPROTO_IP, 10, 0)  # IP_MTU_DISCOVER, IP_PMTUDISC_DONT
                    s.connect((vip, 9000))
                    for _ in range(10):
                        s.send(payload)
                        self.assertTrue(readable(s, 5), "no answer")
                        self.assertEqual(s.recv(65536), payload)


class Traffic(Translated, unittest.TestCase):
    def test_http_by_every_kind_of_address(self):
        for address, port, pods in (("10.97.0.1", 80, VIP_POOL), ("fd00:97::1", 80, VIP_POOL6),  # ClusterIP
                                    ("10.0.0.1", 30080, VIP_POOL), ("fd00:a::1", 30080, VIP_POOL6),  # NodePort
                                    ("203.0.113.10", 80, VIP_POOL), ("2001:db8:10::1", 80, VIP_POOL6)):  # LoadBalancer
            with self.subTest(address=address):
                seen = {self.curl(url(address, port)) for _ in range(25)}
                self.assertLessEqual(seen, set(pods))
                self.assertGreater(len(seen), 1, "one pod only")

    def test_dns(self):
        for (client, pods), vip in VIPS.items():
            expected = VIP_POOL if pods == 4 else [f"192.0.2.{a.rsplit(':', 1)[1]}" for a in VIP_POOL6]
            answer = self.net.client.run("dig", f"@{vip}", "+short", "+tries=1", "+time=5", "example.org", "A").stdout
            self.assertIn(answer.strip(), expected)

    def test_socat_speaks_to_a_pod_through_a_vip(self):
        done = self.net.client.run("socat", "-t", "5", "-", f"TCP:{VIPS[4, 4]}:81", input="through and back\n")
        self.assertEqual(done.stdout, "through and back\n")

    def test_ping_to_the_router_to_pods_and_to_vips(self):
        for address in ("10.0.0.1", "fd00:a::1", VIP_POOL[0], VIP_POOL6[0], "10.96.0.50", "fd00:96::50"):
            with self.subTest(address=address):
                done = self.net.client.run("ping", "-n", "-c", "3", "-i", "0.05", "-W", "5", "-s", "1000", address)
                self.assertIn("3 received", done.stdout)

    def test_traceroute_shows_the_router(self):
        for address, router in ((VIP_POOL[0], "10.0.0.1"), (VIP_POOL6[0], "fd00:a::1"),
                                (VIPS[4, 4], "10.0.0.1"), (VIPS[6, 6], "fd00:a::1")):
            with self.subTest(address=address):
                hops = self.net.client.run("traceroute", "-n", "-q", "1", "-m", "3", "-w", "5", "-T", "-p", "80", address).stdout
                self.assertRegex(hops.splitlines()[1], rf"^\s*1\s+{re.escape(router)}\s")

    def test_tracepath_finds_the_smaller_mtu(self):
        for address, router in ((FAR4, "10.0.0.1"), (FAR6, "fd00:a::1")):
            with self.subTest(address=address):
                found = self.net.client.run("tracepath", "-n", "-m", "4", address).stdout
                self.assertRegex(found, rf"1:\s+{re.escape(router)}\s")
                self.assertRegex(found, "pmtu 1300")

    def test_path_mtu_discovery_lets_uploads_through(self):
        for (client, pods), vip in {(4, 4): "10.96.0.74", (6, 6): "fd00:96::76", (4, 6): "10.96.0.76",
                                    (6, 4): "fd00:96::74"}.items():
            with self.subTest(client=client, pods=pods):
                self.assertEqual(self.curl("-T", self.big, url(vip, path="/")), self.digest)
                learned = self.net.client.ip("route", "get", vip).stdout
                self.assertIn(" mtu ", learned, "the client was told nothing")
                self.curl("-o", self.net.folder / "got", url(vip, path="/big"))
                self.assertEqual(digest_of(self.net.folder / "got"), self.digest)

    def test_iperf3(self):
        server = self.net.remember(self.net.pods.start("iperf3", "-s", "-1", "-B", VIP_POOL[0], stdout=-1, stderr=-1))
        wait_until(lambda: ":5201" in self.net.pods.run("ss", "-ltn").stdout, "iperf3 listens")
        done = self.net.client.run("iperf3", "-c", "10.96.0.52", "-t", "2", "-J")
        server.wait(10)
        self.assertGreater(json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"], 1e8)

    def test_a_closed_port_and_an_unknown_address_are_refused_at_once(self):
        done = self.net.client.run("curl", "-sS", "--max-time", "5", url("10.97.0.1", 81), check=False)
        self.assertEqual(done.returncode, 7, done.stderr)  # connection refused
        done = self.net.client.run("curl", "-sS", "--max-time", "5", url("198.51.100.9"), check=False)
        self.assertEqual(done.returncode, 7, done.stderr)  # no route


class TrafficOfAWorkerForEachProcessor(Translated, unittest.TestCase):
    """Workers that stay on their processors, and the senders' choice of queues."""

    workers = min(len(PROCESSORS), 32)

    @classmethod
    def setUpClass(cls):
        if cls.workers < 2 or PROCESSORS != list(range(cls.workers)):
            raise unittest.SkipTest(f"the processors are {PROCESSORS}")
        super().setUpClass()

    def test_each_worker_stays_on_its_processor(self):
        self.assertIn(f"{self.workers} workers, one for each processor", " ".join(self.net.forwarder.banner))
        threads = [os.sched_getaffinity(int(t)) for t in os.listdir(f"/proc/{self.net.forwarder.process.pid}/task")]
        for processor in PROCESSORS:
            self.assertIn({processor}, threads)


class TrafficOfMoreWorkersThanProcessors(Translated, unittest.TestCase):
    """Workers that run anywhere, and the kernel's choice of queues."""

    workers = min(len(PROCESSORS) + 1, 32)

    def test_they_run_anywhere(self):
        self.assertNotIn("one for each processor", " ".join(self.net.forwarder.banner))
        for thread in os.listdir(f"/proc/{self.net.forwarder.process.pid}/task"):
            self.assertEqual(os.sched_getaffinity(int(thread)), set(PROCESSORS))


if __name__ == "__main__":
    need("curl", "dig", "ping", "traceroute", "tracepath", "socat", "iperf3", "ss")
    PROGRAM, KUCTL = sys.argv[1:3]
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2, warnings="ignore")
