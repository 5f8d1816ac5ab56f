#!/usr/bin/env python3
"""What kubectl itself prints of a cluster with more than 500 objects, through pcap_nat --kubernetes.

    pcap_nat_kubectl_test.py path/to/pcap_nat [unittest's arguments]

The API server is a small one on the loopback interface: it answers discovery, lists in pages (limit, continue) and
watches, for Services and EndpointSlices. The environment variable KUBECTL names the kubectl to run; without it, the one
in the path is run (Debian: kubernetes-client). Exit status 77 without kubectl.
"""

import http.server
import ipaddress
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import unittest
import urllib.parse
from pathlib import Path

KUBECTL = os.environ.get("KUBECTL") or shutil.which("kubectl")
TOOL = ""
COUNT, DELETED = 600, 3  # kubectl asks for 500 objects at a time
SECONDS = 120  # for each run of kubectl
RESOURCES = {"/api/v1/services": ("v1", "Service"),
             "/apis/discovery.k8s.io/v1/endpointslices": ("discovery.k8s.io/v1", "EndpointSlice")}
RAW = 101  # LINKTYPE_RAW, pcap-linktype(7)


def address(network, i):
    return str(ipaddress.ip_address(network) + i + 1)


def metadata(i, **more):
    return {"namespace": "default", "name": f"web-{i}", "uid": f"uid-{i}", "resourceVersion": str(i + 1), **more}


def service(i):
    ip = address("10.96.0.0", i)
    return {"metadata": metadata(i), "spec": {"clusterIP": ip, "clusterIPs": [ip], "type": "ClusterIP",
                                              "ports": [{"port": 80, "protocol": "UDP", "targetPort": 8080}]}}


def endpoint_slice(i):
    return {"metadata": metadata(i, labels={"kubernetes.io/service-name": f"web-{i}"}), "addressType": "IPv4",
            "endpoints": [{"addresses": [address("10.244.0.0", i)], "conditions": {"ready": True}}],
            "ports": [{"name": "", "port": 8080, "protocol": "UDP"}]}


OBJECTS = {"Service": service, "EndpointSlice": endpoint_slice}


def resource_list(version, kind, name):
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version,
            "resources": [{"name": name, "singularName": kind.lower(), "namespaced": True, "kind": kind,
                           "verbs": ["get", "list", "watch"]}]}


# What a client of the Kubernetes API asks for before anything else ("API Overview", discovery).
GROUP_VERSION = {"groupVersion": "discovery.k8s.io/v1", "version": "v1"}
DISCOVERY = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1",
              "groups": [{"name": "discovery.k8s.io", "versions": [GROUP_VERSION], "preferredVersion": GROUP_VERSION}]},
    "/api/v1": resource_list("v1", "Service", "services"),
    "/apis/discovery.k8s.io/v1": resource_list("discovery.k8s.io/v1", "EndpointSlice", "endpointslices"),
}


class ApiServer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, value, status=200):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if url.path in RESOURCES and query.get("watch") in ("1", "true"):
            self.watch(*RESOURCES[url.path])
        elif url.path in RESOURCES:
            self.list(*RESOURCES[url.path], int(query.get("limit", 0)) or COUNT, int(query.get("continue", 0)))
        elif url.path in DISCOVERY:
            self.answer(DISCOVERY[url.path])
        else:
            self.answer({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404}, 404)

    def list(self, version, kind, limit, start):
        rest = COUNT - start - limit
        more = {"continue": str(start + limit), "remainingItemCount": rest} if rest > 0 else {}
        self.answer({"kind": kind + "List", "apiVersion": version, "metadata": {"resourceVersion": "1000", **more},
                     "items": [OBJECTS[kind](i) for i in range(start, min(COUNT, start + limit))]})

    def watch(self, version, kind):
        """One Service is deleted; then the watch ends, and kubectl with it."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        gone = {"kind": kind, "apiVersion": version, **OBJECTS[kind](DELETED)}
        gone["metadata"]["resourceVersion"] = "1001"
        if kind == "Service":
            self.wfile.write(json.dumps({"type": "DELETED", "object": gone}).encode() + b"\n")
        self.close_connection = True


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packet(i):
    """UDP from a client to a Service; the checksum 0 says that there is none (RFC 768)."""
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 32, i, 0, 64, 17, 0, ipaddress.ip_address("192.0.2.1").packed,
                       ipaddress.ip_address(address("10.96.0.0", i)).packed)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + struct.pack("!HHHH4s", 4000, 80, 12, 0, b"data")


def capture(packets):
    data = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, RAW)
    for i, p in enumerate(packets):  # a second apart, so that no limit of answers per second is met
        data += struct.pack("<IIII", 1_700_000_000 + i, 0, len(p), len(p)) + p
    return data


class Kubectl(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), ApiServer)
        cls.server.daemon_threads = True
        threading.Thread(target=cls.server.serve_forever, daemon=True).start()
        cls.addClassCleanup(cls.server.server_close)
        cls.addClassCleanup(cls.server.shutdown)

    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.dir = Path(holder.name)

    def kubectl(self, *arguments):
        """What kubectl prints; it sees neither the caller's configuration nor a proxy."""
        environment = {"HOME": str(self.dir), "PATH": os.environ.get("PATH", ""), "KUBECONFIG": os.devnull}
        done = subprocess.run([KUBECTL, "--server", f"http://127.0.0.1:{self.server.server_port}", *arguments],
                              env=environment, cwd=self.dir, capture_output=True, check=False, timeout=SECONDS)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done.stdout

    def pcap_nat(self, *printed):
        """The lines of the report for a packet to each Service."""
        (self.dir / "in.pcap").write_bytes(capture([packet(i) for i in range(COUNT)]))
        (self.dir / "node.json").write_text(json.dumps({"name": "here", "serviceCIDRs": ["10.96.0.0/16"]}))
        arguments = ["--read", "in.pcap", "--write", "out.pcap", "--node", "node.json", "--report", "report"]
        for i, text in enumerate(printed):
            (self.dir / f"{i}.json").write_bytes(text)
            arguments += ["--kubernetes", f"{i}.json"]
        done = subprocess.run([TOOL, *arguments], cwd=self.dir, capture_output=True, check=False, timeout=SECONDS)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        return [json.loads(line) for line in (self.dir / "report").read_text().splitlines()]

    def check(self, lines, gone=()):
        self.assertEqual(len(lines), COUNT)
        for i, line in enumerate(lines):
            got = line["verdict"], line["reason"], line["service"], line["backend"]
            self.assertEqual(got, ("drop", "unallocated_address", None, None) if i in gone else
                             ("forward", None, f"default/web-{i}:80", f"{address('10.244.0.0', i)}:8080"))

    def test_get(self):
        self.check(self.pcap_nat(self.kubectl("get", "services,endpointslices", "-A", "-o", "json")))

    def test_get_of_each_kind(self):
        self.check(self.pcap_nat(*(self.kubectl("get", kind, "-A", "-o", "json")
                                   for kind in ("endpointslices", "services"))))

    def test_watch(self):
        """The list comes in ADDED events that hold whole pages; what was deleted afterwards is gone."""
        printed = [self.kubectl("get", kind, "-A", "--watch", "--output-watch-events", "-o", "json")
                   for kind in ("services", "endpointslices")]
        self.assertIn(b'"ServiceList"', printed[0], "this kubectl prints no pages: the test proves nothing new")
        self.check(self.pcap_nat(*printed), gone=[DELETED])


if __name__ == "__main__":
    if len(sys.argv) < 2 or not os.access(sys.argv[1], os.X_OK):
        sys.exit(__doc__)
    if not KUBECTL:
        print("SKIP: no kubectl")
        sys.exit(77)
    TOOL = str(Path(sys.argv.pop(1)).resolve())
    unittest.main()
