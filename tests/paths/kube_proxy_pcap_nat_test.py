#!/usr/bin/env python3
"""What kube-proxy does with packets, through pcap_nat --kubernetes --node --report.

    kube_proxy_pcap_nat_test.py path/to/pcap_nat [unittest's arguments]

Clusters and flows are those of kube_proxy/ beside this file and, where it is, of the conformance folder's kube_proxy (the
environment variable KUBEPROXY_CONFORMANCE, else ../shared/conformance from the project's root). Exit status 77 without
scapy (Debian: python3-scapy).
"""

import json
import os
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

try:
    from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, UDPerror
    from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPerror6, IPv6
    from scapy.layers.sctp import SCTP, SCTPChunkInit
except ImportError:
    print("SKIP: no scapy")
    sys.exit(77)

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("KUBEPROXY_CONFORMANCE") or ROOT / "../shared/conformance") / "kube_proxy"
FILES = [*sorted(FOLDER.glob("*.json")), *sorted((ROOT / "tests/paths/kube_proxy").glob("*.json"))]
TOOL = ""
VERDICTS = {"forward": "forward", "reject": "reply", "drop": "drop", "pass": "pass"}
RAW = 101  # LINKTYPE_RAW, pcap-linktype(7)
TRIES = 32


def packet(flow, source_port):
    network = (IPv6 if ":" in flow["destination"] else IP)(src=flow["source"], dst=flow["destination"])
    ports = {"sport": source_port, "dport": flow["port"]}
    transport = {"TCP": TCP(flags="S", **ports), "UDP": UDP(**ports) / b"data",
                 "SCTP": SCTP(**ports) / SCTPChunkInit()}[flow["protocol"]]
    return bytes(network / transport)


def capture(packets):
    data = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, RAW)
    for i, p in enumerate(packets):  # a second apart, so that no limit of answers per second is met
        data += struct.pack("<IIII", 1_700_000_000 + i, 0, len(p), len(p)) + p
    return data


def packets_of(data):
    at = 24
    while at < len(data):
        size = struct.unpack_from("<8xII", data, at)[0]
        yield data[at + 16:at + 16 + size]
        at += 16 + size


def side(address, port):
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def key(kind, meta):
    return kind, meta["namespace"], meta["name"]


def services_at(objects, flow):
    """namespace/name:port of the services that the flow can be for."""
    return {f"{o['metadata']['namespace']}/{o['metadata']['name']}:{p.get('name') or p['port']}"
            for o in objects if o["kind"] == "Service" for p in o["spec"]["ports"]
            if flow["port"] in (p["port"], p.get("nodePort")) and flow["protocol"] == (p.get("protocol") or "TCP")}


class PcapNat(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.dir = Path(temporary.name)

    def run_tool(self, node, documents, packets):
        (self.dir / "node.json").write_text(json.dumps(node))
        (self.dir / "in.pcap").write_bytes(capture(packets))
        arguments = ["--read", "in.pcap", "--write", "out.pcap", "--node", "node.json", "--report", "out.jsonl"]
        for i, document in enumerate(documents):
            (self.dir / f"{i}.json").write_text(document)
            arguments += ["--kubernetes", f"{i}.json"]
        done = subprocess.run([TOOL, *arguments], cwd=self.dir, capture_output=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        lines = [json.loads(line) for line in (self.dir / "out.jsonl").read_text().splitlines()]
        return lines, list(packets_of((self.dir / "out.pcap").read_bytes()))


class KubeProxy(PcapNat):
    def check(self, node, objects, flow, lines, outputs):
        expected = flow["expect"]
        self.assertEqual({line["verdict"] for line in lines}, {VERDICTS[expected["verdict"]]})
        if expected["verdict"] in ("reject", "drop") and lines[0]["service"]:
            self.assertIn(lines[0]["service"], services_at(objects, flow))
        if expected["verdict"] != "forward":
            return
        for line, output in zip(lines, outputs, strict=True):
            out = (IPv6 if output[0] >> 4 == 6 else IP)(output)
            self.assertIn(line["backend"], expected["backends"])
            self.assertEqual(side(out.dst, out.payload.dport), line["backend"])
            self.assertEqual(line["masquerade"], expected["masquerade"])
            if expected["masquerade"]:
                self.assertIn(out.src, node["addresses"])
            else:
                self.assertEqual((out.src, out.payload.sport), (flow["source"], line["sent_from"]))
            self.assertIn(line["service"], services_at(objects, flow))

    def run_flows(self, node, objects, documents, flows):
        sent, port = [], 2000
        for flow in flows:
            for _ in range(TRIES if flow["expect"]["verdict"] == "forward" else 1):
                sent.append((flow, port))
                port += 1
        lines, outputs = self.run_tool(node, documents, [packet(*s) for s in sent])
        outputs = iter(outputs)
        rows = [(flow, {**line, "sent_from": port}, None if line["verdict"] == "drop" else next(outputs))
                for (flow, port), line in zip(sent, lines, strict=True)]
        for flow in flows:
            with self.subTest(flow=flow["name"]):
                mine = [(line, output) for f, line, output in rows if f is flow]
                self.check(node, objects, flow, [m[0] for m in mine], [m[1] for m in mine])

    def test_flows_of_every_file(self):
        for file in FILES:
            data = json.loads(file.read_text())
            state = {}
            for step in data["steps"]:
                for gone in step["delete"]:
                    state.pop(key(gone["kind"], gone))
                for o in step["apply"]:
                    state[key(o["kind"], o["metadata"])] = o
                objects = list(state.values())
                documents = [json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}, indent=4)]
                with self.subTest(file=file.name, step=data["steps"].index(step)):
                    self.run_flows(data["node"], objects, documents, step["flows"])

    def test_steps_as_a_watch_stream(self):
        """The last step's flows after a stream of all steps' events, and the node inside the whole file."""
        for file in FILES:
            data = json.loads(file.read_text())
            state, stream = {}, ""
            for step in data["steps"]:
                for gone in step["delete"]:
                    o = state.pop(key(gone["kind"], gone))
                    stream += json.dumps({"type": "DELETED", "object": o}, indent=4) + "\n"
                for o in step["apply"]:
                    known = "MODIFIED" if key(o["kind"], o["metadata"]) in state else "ADDED"
                    state[key(o["kind"], o["metadata"])] = o
                    stream += json.dumps({"type": known, "object": o}, indent=4) + "\n"
            with self.subTest(file=file.name):
                self.run_flows(data["node"], list(state.values()), [stream], data["steps"][-1]["flows"])


class SourceRanges(PcapNat):
    """loadBalancerSourceRanges hold for the sender of an ICMP error that belongs to no flow, and for the client whose
    answer it quotes: both may be forged (RFC 5927 section 4). A host may complain of a known flow from anywhere, for
    kube-proxy asks the ranges for new connections only (nftables mode, chain firewall-check)."""

    NODE = {"name": "here", "serviceCIDRs": ["10.96.0.0/16", "fd00:96::/112"]}
    SERVICE = {"kind": "Service", "metadata": {"namespace": "ns", "name": "web"},
               "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "fd00:96::1"],
                        "externalIPs": ["203.0.113.41"], "externalTrafficPolicy": "Local",
                        "loadBalancerSourceRanges": ["198.51.100.0/24", "2001:db8:51::/48"],
                        "ports": [{"port": 80, "protocol": "UDP", "targetPort": 8080}]},
               "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.40"}, {"ip": "2001:db8:40::1"}]}}}
    SLICES = [{"kind": "EndpointSlice", "addressType": family, "endpoints": [{"addresses": [pod], "nodeName": "here"}],
               "metadata": {"namespace": "ns", "name": family.lower(), "labels": {"kubernetes.io/service-name": "web"}},
               "ports": [{"name": "", "port": 8080, "protocol": "UDP"}]}
              for family, pod in (("IPv4", "10.244.0.1"), ("IPv6", "fd00:244::1"))]
    IN4, OUT4, IN6, OUT6 = "198.51.100.7", "192.0.2.7", "2001:db8:51::7", "2001:db8:66::7"
    LB4, LB6 = "203.0.113.40", "2001:db8:40::1"
    ERRORS = {4: [ICMP(type=3, code=3), ICMP(type=3, code=4, nexthopmtu=1400), ICMP(type=11, code=0)],
              6: [ICMPv6DestUnreach(code=4), ICMPv6PacketTooBig(mtu=1400), ICMPv6TimeExceeded()]}
    ROWS = [  # rule, sender, address of the service, client whose answer is quoted, is it let in
        ("sender and client are in the ranges", IN4, LB4, IN4, True),
        ("another sender in the ranges", "198.51.100.99", LB4, IN4, True),
        ("the sender is outside", OUT4, LB4, IN4, False),
        ("the client is outside", IN4, LB4, OUT4, False),
        ("both are outside", OUT4, LB4, OUT4, False),
        ("IPv6: sender and client are in the ranges", IN6, LB6, IN6, True),
        ("IPv6: the sender is outside", OUT6, LB6, IN6, False),
        ("IPv6: the client is outside", IN6, LB6, OUT6, False),
        ("the cluster IP has no ranges", OUT4, "10.96.0.1", OUT4, True),
        ("nor has it in IPv6", OUT6, "fd00:96::1", OUT6, True),
        ("nor has an external IP", OUT4, "203.0.113.41", OUT4, True),
    ]

    def error(self, what, sender, address, client):
        ip = IPv6 if ":" in sender else IP
        return bytes(ip(src=sender, dst=address) / what
                     / ip(src=address, dst=client) / UDP(sport=80, dport=4000) / b"an answer")

    def run_packets(self, packets):
        documents = [json.dumps({"kind": "List", "items": [self.SERVICE, *self.SLICES]})]
        return self.run_tool(self.NODE, documents, packets)

    def check_forwarded(self, output):
        """It goes to the pod, and quotes what the pod itself sent."""
        pod = "fd00:244::1" if output[0] >> 4 == 6 else "10.244.0.1"
        out = (IPv6 if output[0] >> 4 == 6 else IP)(output)
        quoted = out[IPerror6 if output[0] >> 4 == 6 else IPerror]
        self.assertEqual((out.dst, quoted.src, quoted[UDPerror].sport), (pod, pod, 8080))

    def test_errors_that_belong_to_no_flow(self):
        rows = [(row, what) for row in self.ROWS for what in self.ERRORS[6 if ":" in row[1] else 4]]
        lines, outputs = self.run_packets([self.error(what, *row[1:4]) for row, what in rows])
        outputs = iter(outputs)
        for (row, what), line in zip(rows, lines, strict=True):
            output = None if line["verdict"] == "drop" else next(outputs)
            with self.subTest(row[0], error=what.summary()):
                self.assertEqual((line["verdict"], line["reason"], line["service"]),
                                 ("forward", None, "ns/web:80") if row[4] else
                                 ("drop", "source_not_allowed", "ns/web:80"))
                if row[4]:
                    self.check_forwarded(output)

    def test_errors_about_a_known_flow_come_from_anywhere(self):
        packets = []
        for client, router, vip, pod in ((self.IN4, self.OUT4, self.LB4, "10.244.0.1"),
                                         (self.IN6, self.OUT6, self.LB6, "fd00:244::1")):
            ip = IPv6 if ":" in client else IP
            packets += [bytes(ip(src=client, dst=vip) / UDP(sport=4000, dport=80) / b"a question"),
                        bytes(ip(src=pod, dst=client) / UDP(sport=8080, dport=4000) / b"an answer")]
            packets += [self.error(what, router, vip, client) for what in self.ERRORS[6 if ":" in client else 4]]
        lines, outputs = self.run_packets(packets)
        self.assertEqual({line["verdict"] for line in lines}, {"forward"})
        for at in (0, 5):
            for output in outputs[at + 2:at + 5]:
                self.check_forwarded(output)


class Refusals(PcapNat):
    def test_files_that_are_not_there_or_hold_no_node(self):
        (self.dir / "in.pcap").write_bytes(capture([]))
        (self.dir / "bad.json").write_text('{"addresses": ["x"]}')
        for arguments, why in ((["--kubernetes", "none.json"], "none.json: cannot read"),
                               (["--node", "bad.json"], r'bad.json: node: addresses\[0\]: "x" is no address')):
            done = subprocess.run([TOOL, "--read", "in.pcap", "--write", "out.pcap", *arguments], cwd=self.dir,
                                  capture_output=True, check=False)
            self.assertEqual(done.returncode, 2)
            self.assertRegex(done.stderr.decode(), rf"\Apcap_nat: {why}")

    def test_a_broken_object_is_named_and_the_rest_is_taken(self):
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "a", "name": "b"},
                   "spec": {"clusterIP": "10.96.0.1", "ports": [{"port": 80, "protocol": "TCP"}]}}
        broken = json.loads(json.dumps(service).replace("80", '"x"'))
        (self.dir / "in.pcap").write_bytes(capture([packet(
            {"source": "192.0.2.1", "destination": "10.96.0.1", "port": 80, "protocol": "TCP"}, 9)]))
        (self.dir / "objects.json").write_text(json.dumps(broken) + json.dumps(service))
        done = subprocess.run([TOOL, "--read", "in.pcap", "--write", "out.pcap", "--kubernetes", "objects.json", "--report",
                               "out.jsonl"], cwd=self.dir, capture_output=True, check=False)
        self.assertEqual(done.returncode, 0)
        self.assertEqual(done.stderr.decode(), 'pcap_nat: objects.json: Service a/b: spec.ports[0].port: "x": '
                                               "a number from 1 to 65535 is wanted\n")
        line = json.loads((self.dir / "out.jsonl").read_text())
        self.assertEqual((line["verdict"], line["reason"], line["service"]), ("reply", "no_endpoints", "a/b:80"))


if __name__ == "__main__":
    if len(sys.argv) < 2 or not os.access(sys.argv[1], os.X_OK):
        sys.exit(__doc__)
    if not FOLDER.is_dir():
        print("the conformance data is not here: name its folder in KUBEPROXY_CONFORMANCE")
    TOOL = str(Path(sys.argv.pop(1)).resolve())
    unittest.main()
