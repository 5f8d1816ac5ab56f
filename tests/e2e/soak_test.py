#!/usr/bin/python3
"""Mixed traffic, changes every 100 ms, clients that die, a flood: nothing grows, nothing fails, everything adds up.

    soak_test.py TAP_FORWARDER KUCTL [unittest's options]

KUBEPROXY_LONG=1: ten minutes instead of twenty seconds.
"""

import json
import os
import random
import socket
import struct
import sys
import threading
import time
import unittest

from load import Load
from network import VIP_POOL, VIP_POOL6, Network, need, run

SECONDS = 600 if os.environ.get("KUBEPROXY_LONG") else 20
VIPS = {"10.96.0.44": ("nat4", VIP_POOL), "fd00:96::66": ("nat6", VIP_POOL6), "10.96.0.46": ("nat6", VIP_POOL6),
        "fd00:96::64": ("nat4", VIP_POOL)}
# Flows of the flood that are answered may not be evicted: with the usual five minutes they would fill any table.
KU = "ku conf timeout 5 snat4 198.18.0.1 node 10.0.0.1 node fd00:a::1\n" + "".join(
    f"ku vip {vip} port {port} target_port {target} {nat}\nku pod {vip} {' '.join(pods)}\n"
    for vip, (nat, pods) in VIPS.items() for port, target in ((80, 8080), (9000, 9000)))


class Soak(unittest.TestCase):
    def setUp(self):
        self.net = net = Network(PROGRAM, KUCTL)
        self.addCleanup(net.remove)
        (net.folder / "services.ku").write_text(KU)
        net.start("--config", net.folder / "services.ku", "--flows", "16384")
        net.serve(net.pods, *VIP_POOL, *VIP_POOL6)
        self.ends = threading.Event()
        self.counts = {"changes": 0, "health checks": 0, "datagrams": 0, "dead": 0}
        self.wrong = []

    def begin(self, work):
        def guarded():
            try:
                work()
            except Exception as wrong:  # a thread's end must not go unseen
                self.wrong.append(f"{work.__name__}: {wrong!r}")

        thread = threading.Thread(target=guarded, daemon=True)
        thread.start()
        return thread

    def change(self):
        """Another VIP comes and goes, and pods that no connection of the loads goes to."""
        control = socket.socket(socket.AF_UNIX)
        control.settimeout(10)
        control.connect(str(self.net.control))
        answers = control.makefile("r")
        while not self.ends.wait(0.1):
            turn = self.counts["changes"]
            line = (f"ku vip 10.96.7.{turn // 3 % 250} port 80", f"ku pod 10.96.7.{turn // 3 % 250} 10.244.1.{turn % 200 + 2}",
                    f"ku vip 10.96.7.{turn // 3 % 250} del")[turn % 3]
            control.sendall(f"{line}\n".encode())
            answer = answers.readline()
            if answer != "ok\n" or answers.readline() != "\n":
                self.wrong.append(f"{line}: {answer}")
            self.counts["changes"] += 1

    def check_health(self):
        while not self.ends.wait(0.2):
            if not json.loads(self.net.http("/healthz"))["healthy"]:
                self.wrong.append("a health check failed")
            self.counts["health checks"] += 1

    def flood(self):
        """Datagrams of ever new flows, to a VIP and to nobody, in bursts; answers are not read."""
        with self.net.client.inside():
            while not self.ends.wait(0.02):
                for vip, family in (("10.96.0.44", socket.AF_INET), ("fd00:96::64", socket.AF_INET6), ("10.96.9.9", socket.AF_INET)):
                    for _ in range(20):
                        with socket.socket(family, socket.SOCK_DGRAM) as one:
                            one.sendto(os.urandom(random.choice((1, 100, 1400))), (vip, 9000))
                            self.counts["datagrams"] += 1

    def die(self):
        """Clients that are reset, that say half a line, or nothing."""
        kept = []
        with self.net.client.inside():
            while not self.ends.wait(0.01):
                one = socket.create_connection((random.choice(list(VIPS)), 80), 10)
                one.sendall(random.choice((b"", b"GET / HT", b"GET / HTTP/1.1\r\n\r\n")))
                self.counts["dead"] += 1
                if self.counts["dead"] % 3 == 0:
                    kept = [*kept[-50:], one]
                    continue
                if self.counts["dead"] % 3 == 1:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                one.close()

    def test_nothing_grows_and_everything_adds_up(self):
        loads = [Load(self.net.client, vip, threads=1, pause=0.002) for vip in VIPS]
        threads = [self.begin(work) for work in (self.change, self.check_health, self.flood, self.die)]
        time.sleep(SECONDS / 4)
        warm = self.net.read_metrics()
        time.sleep(SECONDS * 3 / 4)
        self.ends.set()
        for thread in threads:
            thread.join(20)
        for load in loads:
            self.assertEqual(load.stop().failures, [])
            self.assertGreater(load.count(), SECONDS)
        self.assertEqual(self.wrong, [])
        self.assertGreater(self.counts["changes"], SECONDS)
        self.assertGreater(self.counts["health checks"], SECONDS / 10)
        print(self.counts, "short connections:", sum(load.count() for load in loads))
        self.check_metrics(warm, self.net.read_metrics())

    def check_metrics(self, warm, last):
        total = lambda name, **labels: sum(v for k, v in last.items() if k.split("{")[0] == name and all(
            f'{label}="{value}"' in k for label, value in labels.items()))
        memory = "process_resident_memory_bytes"
        # The flow table's pages are touched as the flows come, up to what its size says.
        self.assertLess(last[memory] - warm[memory], 16 << 20, "memory grows")
        self.assertLessEqual(last["process_open_fds"], warm["process_open_fds"] + 2)
        self.assertEqual(last["kubeproxy_snapshots"], 1)
        fate = lambda name: total("kubeproxy_router_packets_total", fate=name)
        self.assertEqual(fate("received") + fate("made"), fate("sent") + fate("consumed") + fate("dropped") +
                         fate("dropped_by_library") + last["kubeproxy_router_waiting_packets"])
        self.assertEqual(total("kubeproxy_router_dropped_packets_total"), fate("dropped"))
        packets = "kubeproxy_packets_total"
        self.assertEqual(total(packets, verdict="drop"), fate("dropped_by_library"))
        self.assertEqual(total(packets, verdict="forward"), total("kubeproxy_service_packets_total"))
        self.assertEqual(total("kubeproxy_service_packets_total"), total("kubeproxy_backend_packets_total"))
        self.assertEqual(total("kubeproxy_flows_created_total") - total("kubeproxy_flows_ended_total"), total("kubeproxy_flows"))
        checked = run("promtool", "check", "metrics", input=self.net.http("/metrics"))
        self.assertEqual((checked.stdout, checked.stderr), ("", ""))


if __name__ == "__main__":
    need("curl", "promtool")
    PROGRAM, KUCTL = sys.argv[1:3]
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2, warnings="ignore")
