#!/usr/bin/python3
"""What an operator does with a forwarder that works: changes, reloads, signals, restarts, questions.

    operations_test.py TAP_FORWARDER KUCTL [unittest's options]
"""

import hashlib
import json
import os
import re
import signal
import socket
import sys
import time
import unittest
from pathlib import Path

from load import Load, get
from network import PROCESSORS, VIP_POOL, VIP_POOL6, Forwarder, Network, need, run, slice_of, wait_until

VIP, VIP64 = "10.96.0.1", "fd00:96::64"


def ku(pods=VIP_POOL):
    return (f"ku conf snat4 198.18.0.1\n"
            f"ku vip {VIP} port 80 target_port 8080\nku pod {VIP} {' '.join(pods)}\n"
            f"ku vip {VIP64} port 80 target_port 8080 nat4\nku pod {VIP64} {' '.join(pods)}\n")


class WithForwarder(unittest.TestCase):
    def setUp(self):
        self.net = Network(PROGRAM, KUCTL)
        self.addCleanup(self.net.remove)
        self.config = self.net.folder / "services.ku"
        self.config.write_text(ku())
        self.big = self.net.folder / "big"
        self.big.write_bytes(os.urandom(8 << 20))
        self.net.start(*self.options())
        self.net.serve(self.net.pods, *VIP_POOL, *VIP_POOL6, big=self.big)

    def options(self):
        """Of the forwarder."""
        return ("--config", self.config)

    def long_download(self, address, patience=10):
        """A download of /big that reads as it is told: a generator of the bytes so far, then the digest."""
        with self.net.client.inside():
            connection = socket.create_connection((address, 80), patience)
        with connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
            connection.sendall(b"GET /big HTTP/1.1\r\nConnection: close\r\n\r\n")
            file = connection.makefile("rb")
            while file.readline() != b"\r\n":
                pass
            digest, size = hashlib.sha256(), 0
            while piece := file.read(1 << 16):
                digest.update(piece)
                size += len(piece)
                yield size
        yield digest.hexdigest()

    def digest(self):
        return hashlib.sha256(self.big.read_bytes()).hexdigest()


class Changes(WithForwarder):
    def test_a_pod_is_removed_under_load(self):
        load = Load(self.net.client, VIP)
        wait_until(lambda: len(load.answers) == 4, "all pods answer")
        downloads = [self.long_download(VIP, patience=3) for _ in range(8)]
        for one in downloads:
            next(one)
        gone = VIP_POOL[2]
        done = self.net.kuctl(f"ku pod {VIP} {gone} del")
        returned = time.monotonic()
        self.assertEqual(done.stdout, "ok\n")
        count = load.count()
        wait_until(lambda: load.count() > count + 500, "others are served")
        load.stop()
        late = [pod for began, pod in load.log if began > returned]
        self.assertGreater(len(late), 500)
        self.assertNotIn(gone, late, "a new connection came to the removed pod")
        self.assertEqual([why for began, why in load.failures if began > returned], [])
        ended, whole = 0, 0
        for one in downloads:
            try:
                *_, digest = one
                whole += digest == self.digest()
            except (ConnectionError, TimeoutError):
                ended += 1  # its pod was removed
        self.assertEqual(ended + whole, 8)
        self.assertGreater(whole, 0, "connections to the others go on")

    def test_a_thousand_reloads_lose_nothing(self):
        load = Load(self.net.client, VIP, threads=2)
        download = self.long_download(VIP)
        next(download)
        at = 0
        for i in range(1000):
            more = f"ku pod {VIP} {VIP_POOL[i % 4]} weight 3\nku vip 10.96.0.{10 + i % 7} port 80\n"
            self.config.write_text(ku() + more * (i % 2))
            self.net.forwarder.process.send_signal(signal.SIGHUP)
            _, at = self.net.forwarder.wait_for(f"read again, {2 + i % 2} services", at)
        self.assertEqual(load.stop().failures, [])
        self.assertGreater(load.count(), 100)
        *_, digest = download
        self.assertEqual(digest, self.digest())

    def test_a_bad_file_is_refused_and_the_old_state_stays(self):
        self.config.write_text(ku() + "ku vip 10.96.0.9 prot 80\n")
        self.net.forwarder.process.send_signal(signal.SIGHUP)
        line, at = self.net.forwarder.wait_for("everything stays as it was")
        self.assertIn(f"{self.config}: line 6: unknown word \"prot\"", line)
        self.config.unlink()
        self.net.forwarder.process.send_signal(signal.SIGHUP)
        line, _ = self.net.forwarder.wait_for("everything stays as it was", at)
        self.assertIn("No such file", line)
        with self.net.client.inside():
            self.assertIn(get(VIP), VIP_POOL)


class Control(WithForwarder):
    def socat(self, text):
        return run("socat", "-t", "5", "-", f"UNIX-CONNECT:{self.net.control}", input=text).stdout

    def test_lines_by_socat_and_kuctl(self):
        self.assertEqual(self.socat("ku pod 10.96.0.1 10.244.1.2 del\nshow endpoints 10.96.0.1/32:80 json\n").count("address"), 3)
        self.assertEqual(self.net.kuctl("ku pod 10.96.0.1 10.244.1.2").stdout, "ok\n")
        self.assertEqual(len(json.loads(self.net.kuctl("show services json").stdout)), 2)
        self.assertIn("10.244.1.2:8080", self.net.kuctl("show ku vip verbose").stdout)
        refused = self.net.kuctl("ku vip 10.96.0.1 port 80", check=False)
        self.assertEqual((refused.returncode, refused.stdout), (1, ""))
        self.assertEqual(refused.stderr, "error: duplicate VIP: 10.96.0.1/32:80 is there\n")
        nobody = run(KUCTL, "-s", self.net.folder / "none", "show", "ku", check=False)
        self.assertEqual(nobody.returncode, 2)
        self.assertIn("No such file or directory", nobody.stderr)
        several = run(KUCTL, "-s", self.net.control, input="show ku\nbad\nshow counters\n", check=False)
        self.assertEqual(several.returncode, 1)
        self.assertIn("received", several.stdout)

    def test_the_socket_is_the_owners(self):
        self.assertEqual(os.stat(self.net.control).st_mode & 0o7777, 0o600)
        self.net.stop()
        self.assertFalse(self.net.control.exists())

    def test_the_configuration_is_saved_as_lines_that_make_it_again(self):
        self.net.kuctl("ku pod 10.96.0.1 10.244.1.9 weight 3")
        file = self.net.folder / "saved.ku"
        self.assertIn("saved", self.net.kuctl(f"ku save config {file}").stdout)
        self.assertEqual(os.stat(file).st_mode & 0o7777, 0o600)
        shown = self.net.kuctl("show config").stdout
        self.assertEqual(file.read_text(), shown)
        self.assertIn("ku pod 10.96.0.1/32 10.244.1.9 weight 3", shown)
        self.net.stop()
        self.net.start("--config", file)
        self.assertEqual(self.net.kuctl("show config").stdout, shown)
        failed = self.net.kuctl("ku save config /no/such/folder/x", check=False)
        self.assertEqual(failed.stderr, "error: cannot write /no/such/folder/x: No such file or directory\n")

    def test_bad_clients_harm_nobody(self):
        clients = []
        for _ in range(10):
            one = socket.socket(socket.AF_UNIX)
            one.connect(str(self.net.control))
            one.setblocking(False)
            clients.append(one)
            try:
                for _ in range(1000):
                    one.send(b"show ku vip verbose\n" * 100)  # and nobody reads
            except BlockingIOError:
                pass
        self.assertTrue(json.loads(self.net.http("/healthz"))["healthy"])
        self.assertEqual(len(json.loads(self.net.kuctl("show services json").stdout)), 2)
        for one in clients:
            one.close()

    def test_metrics_and_health(self):
        with self.net.client.inside():
            for _ in range(50):
                get(VIP)
            for _ in range(50):
                get(VIP64)
        text = self.net.http("/metrics")
        checked = run("promtool", "check", "metrics", input=text)
        self.assertEqual((checked.stdout, checked.stderr), ("", ""))
        for path in ("/healthz", "/livez"):
            health = json.loads(self.net.http(path))
            self.assertTrue(health["healthy"])
            self.assertEqual(health.get("nodeEligible"), True if path == "/healthz" else None)
        values = self.net.read_metrics()
        flows = [v for k, v in values.items() if k.startswith("kubeproxy_service_flows_total")]
        self.assertEqual(sum(flows), 100)
        backends = [v for k, v in values.items() if k.startswith("kubeproxy_backend_packets_total")]
        services = [v for k, v in values.items() if k.startswith("kubeproxy_service_packets_total")]
        self.assertEqual(sum(backends), sum(services))
        self.assertEqual(values['kubeproxy_flows_created_total'], 100)
        self.assertEqual(values['kubeproxy_source_ports_in_use{protocol="tcp"}'], 50)
        self.assertEqual(values['kubeproxy_burst_packets_bucket{le="+Inf"}'], values["kubeproxy_burst_packets_count"])
        fate = lambda name: values[f'kubeproxy_router_packets_total{{fate="{name}"}}']
        self.assertEqual(fate("received") + fate("made"), fate("sent") + fate("consumed") + fate("dropped") +
                         fate("dropped_by_library") + values["kubeproxy_router_waiting_packets"])


class Restart(WithForwarder):
    def setUp(self):
        super().setUp()
        self.net.stop()
        for where, name, mtu in ((self.net.client, "kc", 1500), (self.net.pods, "kp", 1500)):  # they outlive a kill -9
            where.ip("tuntap", "add", name, "mode", "tap", "vnet_hdr")
        self.net.start("--config", self.config)

    def test_downloads_go_on_after_kill_9(self):
        flows = self.net.folder / "flows"
        for vip in (VIP, VIP64):
            with self.subTest(vip=vip):
                download = self.long_download(vip)
                for _ in range(4):
                    next(download)
                said = self.net.kuctl(f"ku save flows {flows}").stdout
                self.assertRegex(said, r"^saved [1-9][0-9]* flows to ")
                self.net.stop(signal.SIGKILL)
                self.net.start("--config", self.config, "--restore", flows)
                self.net.forwarder.wait_for(r"--restore .*: [1-9][0-9]* flows go on, 0 have expired, 0 wait")
                *_, digest = download
                self.assertEqual(digest, self.digest())

    def test_without_the_file_a_translated_one_cannot(self):
        download = self.long_download(VIP64, patience=2)
        next(download)
        self.net.stop(signal.SIGKILL)
        self.net.start("--config", self.config)
        with self.assertRaises((ConnectionError, TimeoutError)):
            for _ in download:
                pass

    def test_flows_wait_for_services_that_come_later(self):
        download = self.long_download(VIP64)
        next(download)
        flows = self.net.folder / "flows"
        self.net.kuctl(f"ku save flows {flows}")
        self.net.stop(signal.SIGKILL)
        self.net.start("--restore", flows)
        for line in ku().splitlines():
            self.net.kuctl(line)
        *_, digest = download
        self.assertEqual(digest, self.digest())

    def test_bad_files_are_refused_whole(self):
        flows = self.net.folder / "flows"
        with self.net.client.inside():
            get(VIP)
        self.net.kuctl(f"ku save flows {flows}")
        whole = flows.read_bytes()
        self.net.stop()
        for content, why in ((whole[:-1], "is truncated"), (b"#!/bin/sh\n", "is no file of flows"),
                             (whole[:8] + b"\x00\x00" + whole[10:], "is of version 0, and this program reads versions 1 to 2"),
                             (whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:], "is damaged: its checksum is wrong")):
            flows.write_bytes(content)
            done = self.net.router.run(PROGRAM, *self.net.taps(), "--config", self.config, "--restore", flows, check=False)
            self.assertEqual((done.returncode, done.stderr), (2, f"tap_forwarder: --restore {flows} {why}\n"))


def service(name, address):
    return {"kind": "Service", "metadata": {"namespace": "shop", "name": name},
            "spec": {"clusterIPs": [address], "ports": [{"name": "http", "port": 80}]}}


def event(kind, what):
    return json.dumps({"type": kind, "object": what}).encode() + b"\n"


class Kubernetes(unittest.TestCase):
    def test_watch_streams_over_a_fifo(self):
        net = Network(PROGRAM, KUCTL)
        self.addCleanup(net.remove)
        fifo = net.folder / "watch"
        os.mkfifo(fifo)
        net.start("--kubernetes", fifo)
        net.serve(net.pods, *VIP_POOL)
        web = service("web", VIP)

        def answers():
            with net.client.inside():
                try:
                    return {get(VIP, timeout=1) for _ in range(20)}
                except OSError:
                    return set()

        watch = open(fifo, "wb", buffering=0)
        for byte in event("ADDED", web) + event("ADDED", slice_of("web", 4, VIP_POOL[:1])):
            watch.write(bytes([byte]))  # cut anywhere
        wait_until(lambda: answers() == {VIP_POOL[0]}, "the first pod serves")
        watch.write(event("MODIFIED", slice_of("web", 4, VIP_POOL[1:3])))
        wait_until(lambda: answers() == set(VIP_POOL[1:3]), "the next two serve")
        watch.close()
        net.forwarder.wait_for("the stream ended .*stay in force")
        self.assertEqual(answers(), set(VIP_POOL[1:3]))
        with open(fifo, "wb", buffering=0) as watch:
            watch.write(b"{\"type\": \"ADDED\", \"object\": {\"kind\": \"Service\", \"metadata\": {\"name\": \"bad\"}}}\n")
            net.forwarder.wait_for("Service .*bad")
            watch.write(event("DELETED", web))
            wait_until(lambda: answers() == set(), "the service is gone")


class Health(unittest.TestCase):
    """kube-proxy's health checks: of the node, of the proxy, and of a Service with externalTrafficPolicy Local."""

    PORT = 32123

    def node(self, **spec):
        return {"kind": "Node", "metadata": {"name": "n1"}, "spec": spec,
                "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.10"}]}}

    def status(self, path, where=None):
        return self.net.router.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "10",
                                   f"http://{where or self.net.metrics}{path}", check=False).stdout

    def test_the_node_and_the_service(self):
        self.net = net = Network(PROGRAM, KUCTL)
        self.addCleanup(net.remove)
        file, fifo = net.folder / "node.json", net.folder / "watch"
        file.write_text(json.dumps(self.node()))
        os.mkfifo(fifo)
        net.router.ip("addr", "add", "192.0.2.10/32", "dev", "lo")
        net.start("--node", file, "--kubernetes", fifo)
        local = service("web", VIP)
        local["spec"].update(type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=self.PORT)
        pods = slice_of("web", 4, VIP_POOL[:3])
        for endpoint in pods["endpoints"][:2]:
            endpoint["nodeName"] = "n1"
        watch = open(fifo, "wb", buffering=0)
        self.addCleanup(watch.close)
        watch.write(event("ADDED", local) + event("ADDED", pods))
        ask = lambda: net.router.run("curl", "-si", "--max-time", "10", f"http://192.0.2.10:{self.PORT}/",
                                     check=False).stdout
        wait_until(lambda: ask().startswith("HTTP/1.1 200 OK"), "the service is healthy")
        self.assertIn("\nX-Load-Balancing-Endpoint-Weight: 2\n", ask())
        self.assertEqual(json.loads(ask().split("\n\n")[1]),
                         {"service": {"namespace": "shop", "name": "web"}, "localEndpoints": 2,
                          "serviceProxyHealthy": True})
        self.assertEqual(self.status("/", f"127.0.0.1:{self.PORT}"), "000", "it is no address of nodePortAddresses")
        self.assertEqual([self.status(p) for p in ("/healthz", "/livez")], ["200", "200"])
        watch.write(event("MODIFIED", self.node(taints=[{"key": "ToBeDeletedByClusterAutoscaler"}])))
        wait_until(lambda: self.status("/healthz") == "503", "the node is to be deleted")
        self.assertEqual(self.status("/livez"), "200")
        self.assertTrue(ask().startswith("HTTP/1.1 200 OK"), "the proxy still works")
        net.forwarder.process.send_signal(signal.SIGHUP)  # the file has no taint
        wait_until(lambda: self.status("/healthz") == "200", "the node stays")


class Followed(WithForwarder):
    """Services from a FIFO for each kind, as `kubectl get --watch` writes one, and one more in a file."""

    DB, KEPT = "10.96.0.2", "10.96.0.3"

    def options(self):
        self.services, self.slices = self.net.folder / "services", self.net.folder / "slices"
        os.mkfifo(self.services)
        os.mkfifo(self.slices)
        file = self.net.folder / "kept.json"
        file.write_text(json.dumps([service("kept", self.KEPT), slice_of("kept", 4, VIP_POOL[3:])]))
        node = self.net.folder / "node.json"
        node.write_text(json.dumps({"name": "n1", "drainSeconds": 2}))
        return ("--node", node, "--kubernetes", self.services, "--kubernetes", file, "--kubernetes", self.slices)

    def write(self, fifo, *events):
        """A new writer of it, that has written these, and is there."""
        writer = open(fifo, "wb", buffering=0)
        self.addCleanup(writer.close)
        for one in events:
            writer.write(one)
        return writer

    def answers(self, address):
        with self.net.client.inside():
            try:
                return get(address, timeout=1)
            except OSError:
                return None

    def wait_for_answer(self, address, pod):
        wait_until(lambda: self.answers(address) == pod, f"{address} is answered by {pod}")

    def first_writers(self):
        """They tell of two services, and go."""
        web, db = slice_of("web", 4, VIP_POOL[:1]), slice_of("db", 4, VIP_POOL[1:2])
        writers = [self.write(self.services, event("ADDED", service("web", VIP)), event("ADDED", service("db", self.DB))),
                   self.write(self.slices, event("ADDED", web), event("ADDED", db))]
        self.wait_for_answer(VIP, VIP_POOL[0])
        self.wait_for_answer(self.DB, VIP_POOL[1])
        at = 0
        for one in writers:
            one.close()
            _, at = self.net.forwarder.wait_for("the stream ended", at)
        return web, at

    def test_what_was_deleted_while_nobody_wrote_is_gone_and_the_rest_goes_on(self):
        web, at = self.first_writers()
        load, download = Load(self.net.client, VIP, threads=1), self.long_download(VIP)
        next(download)
        began = time.monotonic()
        self.write(self.services, event("ADDED", service("web", VIP)))
        self.write(self.slices, event("ADDED", web))
        self.assertEqual(self.answers(self.DB), VIP_POOL[1], "nothing ends before the list does")
        for _ in range(2):
            line, at = self.net.forwarder.wait_for("not in the new list, so gone", at)
            self.assertRegex(line, "--kubernetes .*/(services|slices): .*: 1 object$")
        self.assertGreater(time.monotonic() - began, 4)
        self.wait_for_answer(self.DB, None)
        self.assertNotIn("shop/db", self.net.kuctl("show endpoints").stdout)
        self.assertEqual(self.answers(self.KEPT), VIP_POOL[3], "no list of a FIFO is about a file")
        self.assertEqual(load.stop().failures, [])
        *_, digest = download
        self.assertEqual(digest, self.digest())

    def test_a_bookmark_ends_the_list_at_once(self):
        web, at = self.first_writers()
        mark = {"kind": "EndpointSlice", "metadata": {"annotations": {"k8s.io/initial-events-end": "true"}}}
        began = time.monotonic()
        self.write(self.slices, event("ADDED", web), event("BOOKMARK", mark))
        self.net.forwarder.wait_for("/slices: not in the new list, so gone: 1 object", at)
        self.assertLess(time.monotonic() - began, 2)
        self.wait_for_answer(self.DB, None)
        self.assertEqual(self.answers(VIP), VIP_POOL[0])

    def test_bad_lists_end_nothing(self):
        _, at = self.first_writers()
        whole = event("ADDED", service("new", "10.96.0.4"))
        writer = self.write(self.services, whole, event("ADDED", service("web", VIP))[:40])
        writer.close()
        _, at = self.net.forwarder.wait_for("the text ends inside an object", at)
        self.write(self.services, whole, b'{"type": "ADDED", "object": }\n', b"\xff\x00\n", whole)
        self.net.forwarder.wait_for("/services: at byte", at)
        self.write(self.slices, event("ERROR", {"kind": "Status", "message": "too old resource version"}),
                   event("ADDED", slice_of("new", 4, VIP_POOL[2:3])))
        self.wait_for_answer("10.96.0.4", VIP_POOL[2])
        time.sleep(7)  # longer than a list is waited for
        self.assertEqual(self.answers(VIP), VIP_POOL[0])
        self.assertEqual(self.answers(self.DB), VIP_POOL[1])
        self.assertFalse(any("so gone" in line for line in self.net.forwarder.lines))

    def test_a_terminating_endpoint_ends_with_its_drain_time(self):
        leaving, staying = ({"addresses": [a]} for a in VIP_POOL[:2])
        web = slice_of("web", 4, [])
        self.write(self.services, event("ADDED", service("web", VIP)))
        slices = self.write(self.slices, event("ADDED", {**web, "endpoints": [leaving]}))
        self.wait_for_answer(VIP, VIP_POOL[0])
        ends = self.long_download(VIP, patience=3)
        next(ends)
        leaving["conditions"] = {"ready": False, "serving": True, "terminating": True}
        slices.write(event("MODIFIED", {**web, "endpoints": [leaving, staying]}))
        began = time.monotonic()
        self.wait_for_answer(VIP, VIP_POOL[1])
        goes_on = self.long_download(VIP)
        next(goes_on)
        with self.assertRaises((ConnectionError, TimeoutError)):
            for _ in ends:
                self.assertLess(time.monotonic() - began, 5, "its flow should have ended")
                time.sleep(0.1)
        self.assertGreater(time.monotonic() - began, 2, "the flow stays for the drain time")
        *_, digest = goes_on
        self.assertEqual(digest, self.digest())


class Devices(WithForwarder):
    def sleeps(self):
        """How often the forwarder's threads have gone to sleep."""
        tasks = Path(f"/proc/{self.net.forwarder.process.pid}/task")
        return sum(int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)$", (task / "status").read_text(), re.M)[1])
                   for task in tasks.iterdir())

    def test_one_that_is_deleted_is_given_up_and_the_others_go_on(self):
        self.net.pods.ip("link", "del", "kp")
        done = self.net.client.run("ping", "-n", "-c", "3", "-i", "0.05", "-W", "5", "10.0.0.1")
        self.assertIn("3 received", done.stdout)
        before = self.sleeps()
        time.sleep(1)
        self.assertLess(self.sleeps() - before, 300, "it looks at the device again and again")
        self.assertEqual(self.net.stop(), 0)


class Signals(WithForwarder):
    def test_it_ends_within_a_second_and_leaves_nothing(self):
        for how in (signal.SIGTERM, signal.SIGINT):
            if self.net.forwarder is None:
                self.net.start("--config", self.config)
            load = Load(self.net.client, VIP, threads=1)
            wait_until(lambda: load.count() > 10, "traffic runs")
            began = time.monotonic()
            self.assertEqual(self.net.stop(how), 0)
            took = time.monotonic() - began
            load.stop()
            self.assertLess(took, 1.0)
            for where, device in ((self.net.client, "kc"), (self.net.pods, "kp")):
                self.assertNotEqual(where.ip("link", "show", device, check=False).returncode, 0, f"{device} is left")
            self.assertFalse(self.net.control.exists())


class StartUp(unittest.TestCase):
    def test_errors_are_one_line_that_names_option_and_cause(self):
        net = Network(PROGRAM, KUCTL)
        self.addCleanup(net.remove)
        bad, used = net.folder / "bad.ku", net.folder / "used"
        bad.write_text("ku vip 10.96.0.1 port 80\nku vip 10.96.0.1 port 80\n")
        used.write_text("x")
        net.router.ip("link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
        tap = ["--tap", "t0,10.0.0.1/24"]
        for options, words in (
            ([], ["--tap is missing"]),
            (["--tap", "a-name-that-is-too-long,10.0.0.1/24"], ["--tap a-name", "1 to 15 characters"]),
            (["--tap", "veth0,10.0.0.1/24"], ["--tap veth0", "no TAP"]),
            (["--tap", "t0@nowhere,10.0.0.1/24"], ["--tap t0@nowhere", "network namespace nowhere"]),
            (["--tap", "t0,10.0.0.1"], ["--tap", "10.0.0.1"]),
            (["--tap", "t0,10.0.0.999/24"], ["--tap", "10.0.0.999"]),
            ([*tap, "--route", "10.1.0.0/16@192.0.2.1"], ["--route", "192.0.2.1"]),
            ([*tap, "--route", "10.1.0.0/16"], ["--route", "10.1.0.0/16"]),
            ([*tap, "--config", bad], [f"--config {bad}: line 2: duplicate VIP"]),
            ([*tap, "--config", net.folder / "none"], ["--config", "No such file"]),
            ([*tap, "--node", bad], ["--node", "no JSON"]),
            ([*tap, "--kubernetes", net.folder / "none"], ["--kubernetes", "No such file"]),
            ([*tap, "--control", used], [f"--control {used}: is there, and is no socket"]),
            ([*tap, "--control", "/no/such/x"], ["--control /no/such/x: No such file or directory"]),
            ([*tap, "--metrics", "nowhere"], ["--metrics nowhere: ADDRESS:PORT is wanted"]),
            ([*tap, "--metrics", "192.0.2.1:80"], ["--metrics 192.0.2.1:80: Cannot assign requested address"]),
            ([*tap, "--restore", net.folder / "none"], ["--restore", "No such file"]),
            ([*tap, "--workers", "0"], ["--workers 0: a number from 1 to 20"]),
            ([*tap, "--workers", "many"], ["--workers many: a number from 1 to 20"]),
            ([*tap, "--workers", "-1"], ["--workers -1: a number"]),
            ([*tap, "--workers", "2x"], ["--workers 2x: a number"]),
            ([*tap, "--workers", "21"], ["--workers 21: a number"]),
            ([*tap, "--workers", "99999999999999999999"], ["--workers 99999999999999999999: a number"]),
            ([*tap, "--reverse-path", "some"], ["--reverse-path some: strict, loose or off"]),
            ([*tap, "--mtu", "10"], ["--mtu 10"]),
            ([*tap, "--capture", "/no/such/file.pcap"], ["--capture", "/no/such/file.pcap"]),
            ([*tap, "--frobnicate"], ["--frobnicate"]),
            ([*tap, "more"], ["positional"]),
        ):
            with self.subTest(options=options):
                done = net.router.run(PROGRAM, *options, check=False, timeout=10)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
                for word in words:
                    self.assertIn(word, done.stderr)
                self.assertEqual(net.router.ip("link", "show", "t0", check=False).returncode, 1, "t0 is left")

    def test_a_name_and_a_socket_in_use(self):
        net = Network(PROGRAM, KUCTL)
        self.addCleanup(net.remove)
        net.start()
        done = net.router.run(PROGRAM, *net.taps(), check=False)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1), done.stderr)
        self.assertIn("in use", done.stderr)
        done = net.router.run(PROGRAM, "--tap", "t1,10.9.0.1/24", "--control", net.control, check=False)
        self.assertEqual(done.stderr, f"tap_forwarder: --control {net.control}: another process listens there\n")

    def test_without_permission(self):
        done = run("setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--clear-groups", "--reuid", "65534", PROGRAM,
                   "--tap", "t0,10.0.0.1/24", check=False)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1), done.stderr)
        self.assertIn("--tap t0", done.stderr)
        self.assertIn("permission", done.stderr.lower())

    def test_without_permission_to_steer_the_kernel_chooses_queues(self):
        workers = len(PROCESSORS)
        if not 2 <= workers <= 20 or PROCESSORS != list(range(workers)):
            self.skipTest(f"the processors are {PROCESSORS}")
        with open("/proc/sys/kernel/unprivileged_bpf_disabled") as setting:
            if setting.read() == "0\n":
                self.skipTest("anybody may load programs into this kernel")
        net = Network(PROGRAM, KUCTL)
        self.addCleanup(net.remove)
        less = ["--bounding-set", "-bpf,-sys_admin", "--inh-caps", "-bpf,-sys_admin", "--"]
        net.forwarder = Forwarder(net, "setpriv", *less, PROGRAM, "--tap", "t0,10.0.0.1/24", "--workers", workers)
        self.assertIn("no steering by processor (Operation not permitted)", net.forwarder.banner[0])
        self.assertNotIn("one for each processor", " ".join(net.forwarder.banner))
        self.assertEqual(net.stop(), 0)

    def test_as_many_workers_as_are_possible(self):
        net = Network(PROGRAM, KUCTL)
        self.addCleanup(net.remove)
        net.start("--workers", "20", "--answer-services")
        with net.client.inside():
            self.assertEqual(net.client.run("ping", "-c", "3", "-i", "0.1", "-W", "5", "10.244.1.2").returncode, 0)
        self.assertEqual(net.stop(), 0)

    def test_help_is_for_people(self):
        done = run(PROGRAM, "--help")
        for word in ("--tap", "--control", "--metrics", "--restore", "SIGHUP"):
            self.assertIn(word, done.stdout)
        self.assertEqual(done.stderr, "")


if __name__ == "__main__":
    need("curl", "ping", "socat", "promtool", "setpriv")
    PROGRAM, KUCTL = sys.argv[1:3]
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2, warnings="ignore")
