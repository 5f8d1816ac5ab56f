#!/usr/bin/env python3
"""Writes the inputs that fuzz_kubernetes starts from: ./make_kubernetes_corpus.py corpus/kubernetes

What libFuzzer found and a merge kept is in corpus/kubernetes/found.

An input is a byte, the length of the pieces that the text is read in (128: as a watch), and objects (fuzz_kubernetes.cpp).
"""

import json
import pathlib
import sys

AS_A_WATCH = 128
DISCOVERY, NETWORKING = "discovery.k8s.io/v1", "networking.k8s.io/v1"


def pieces(size, *objects, watch=False):
    text = "\n".join(o if isinstance(o, str) else json.dumps(o, separators=(",", ":")) for o in objects)
    return bytes((size | (AS_A_WATCH if watch else 0),)) + text.encode()


def meta(name, **more):
    return {"name": name, "namespace": "s", **more}


def service(name="a", address="10.96.0.1", ports=({"port": 80},), status=None, metadata=None, **spec):
    spec = {"clusterIP": address, "ports": list(ports), **spec}
    result = {"apiVersion": "v1", "kind": "Service", "metadata": meta(name, **(metadata or {})), "spec": spec}
    return result if status is None else {**result, "status": status}


def endpoint(address, **more):
    return {"addresses": [address], **more}


def pods(*endpoints, of="a", version=4, ports=({"port": 8080},), name=None):
    labels = {"kubernetes.io/service-name": of}
    return {
        "apiVersion": DISCOVERY,
        "kind": "EndpointSlice",
        "metadata": meta(name or f"{of}-{version}", labels=labels),
        "addressType": f"IPv{version}",
        "ports": list(ports),
        "endpoints": list(endpoints),
    }


def service_cidr(name, *cidrs):
    return {"apiVersion": NETWORKING, "kind": "ServiceCIDR", "metadata": {"name": name}, "spec": {"cidrs": list(cidrs)}}


def event(kind, thing):
    return {"type": kind, "object": thing}


def bookmark(kind, version="v1"):
    annotations = {"k8s.io/initial-events-end": "true"}
    return event("BOOKMARK", {"kind": kind, "apiVersion": version, "metadata": {"annotations": annotations}})


def list_of(kind, version, *items):
    return {"kind": kind, "apiVersion": version, "items": list(items)}


NAMED = ({"name": "dns", "port": 53, "protocol": "UDP", "targetPort": "dns"}, {"name": "web", "port": 80, "nodePort": 30080})
NAMED_PODS = ({"name": "dns", "port": 5353, "protocol": "UDP"}, {"name": "web", "port": 8080, "protocol": "TCP"})
CONDITIONS = {"ready": False, "serving": True, "terminating": True}
STATUS = {"loadBalancer": {"ingress": [{"ip": "203.0.113.10", "ipMode": "VIP"}, {"ip": "203.0.113.11", "ipMode": "Proxy"}, {"hostname": "h"}]}}
AFFINITY = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 600}}}
LOCAL = {"externalTrafficPolicy": "Local", "internalTrafficPolicy": "Local", "type": "LoadBalancer", "healthCheckNodePort": 32123}

INPUTS = {
    "service": pieces(7, service(), pods(endpoint("10.1.0.1"), endpoint("10.1.0.2"))),
    "named_ports": pieces(64, service(ports=NAMED, type="NodePort"), pods(endpoint("10.1.0.1"), ports=NAMED_PODS)),
    "dual_stack": pieces(64, service(clusterIPs=["10.96.0.1", "fd00::1"], ipFamilies=["IPv4", "IPv6"]), pods(endpoint("10.1.0.1")), pods(endpoint("fd00:1::1"), version=6)),
    "conditions": pieces(64, service(), pods(endpoint("10.1.0.1", conditions=CONDITIONS, nodeName="n1"), endpoint("10.1.0.2", conditions={"ready": None}, nodeName="n2"))),
    "hints": pieces(64, service(), pods(endpoint("10.1.0.1", zone="z", hints={"forZones": [{"name": "z"}]}), endpoint("10.1.0.2", zone="y", hints={"forZones": [{"name": "y"}], "forNodes": [{"name": "n1"}]}))),
    "load_balancer": pieces(64, service(status=STATUS, loadBalancerSourceRanges=["198.51.100.0/24"], **LOCAL), pods(endpoint("10.1.0.1", nodeName="n1"))),
    "external_ips": pieces(64, service(externalIPs=["192.0.2.80", "2001:db8::80"], **AFFINITY), pods(endpoint("10.1.0.1"))),
    "no_address": pieces(64, service("a", "None"), service("b", "", type="ExternalName", externalName="x"), service("c", metadata={"labels": {"service.kubernetes.io/headless": ""}})),
    "conflict": pieces(127, service("a", metadata={"creationTimestamp": "2026-01-02T00:00:00Z"}), service("b", metadata={"creationTimestamp": "2026-01-01T00:00:00Z"}), pods(endpoint("10.1.0.1"), of="b")),
    "node_port_conflict": pieces(127, service("a", ports=NAMED), service("b", "10.96.0.2", ports=NAMED)),
    "ranges": pieces(1, service_cidr("k", "10.96.0.0/16", "fd00::/112"), service_cidr("l", "10.97.0.0/16"), service()),
    "list": pieces(127, list_of("ServiceList", "v1", service(), service("b", "10.96.0.2")), list_of("List", "v1", pods(endpoint("10.1.0.1")))),
    "array": pieces(127, [service(), pods(endpoint("10.1.0.1"))]),
    "others": pieces(64, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}, {"apiVersion": "v1", "kind": "Pod", "metadata": meta("p")}, {"kind": ""}, {"kind": "Service", "apiVersion": "v2"}),
    "relist": pieces(64, event("ADDED", service()), event("ADDED", pods(endpoint("10.1.0.1"))), bookmark("Service"), bookmark("EndpointSlice", DISCOVERY), event("ERROR", {"message": "gone"}), watch=True),
    "watch": pieces(100, event("ADDED", service(ports=NAMED)), event("MODIFIED", service()), event("DELETED", service()), watch=True),
    "pods_come_and_go": pieces(127, service(), pods(endpoint("10.1.0.1")), event("DELETED", pods()), watch=True),
    "ranges_come_and_go": pieces(127, event("ADDED", service_cidr("k", "10.96.0.0/16")), event("MODIFIED", service_cidr("k", "10.97.0.0/16")), event("DELETED", service_cidr("k")), watch=True),
    "slice_moves": pieces(127, service("a"), pods(endpoint("10.1.0.1"), name="x"), service("b", "10.96.0.2"), pods(endpoint("10.1.0.1"), of="b", name="x"), watch=True),
    "broken_text": pieces(3, '{"a":tru3}', "7", '[1,"x",{"kind":7}]', service(), '{"kind":"Service"', "{", service("b", "10.96.0.2")),
    "broken_fields": pieces(64, service("b", ports=({"port": 0},)), service("c", "10.96.0.300"), service("d", ports=({"port": "80"},)), event("GONE", {}), pods(endpoint("x"), endpoint("1.2.3.4", nodeName=7))),
    "indented": pieces(64, json.dumps(service(), indent=4), json.dumps(pods(endpoint("10.1.0.1")), indent=4)),
}


def main():
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FOLDER")
    for name, text in INPUTS.items():
        (pathlib.Path(sys.argv[1]) / name).write_bytes(text)


main()
