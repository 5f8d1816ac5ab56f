#!/usr/bin/env python3
"""Writes the inputs that fuzz_packet starts from: ./make_packet_corpus.py corpus/packet

What libFuzzer found and a merge kept is in corpus/packet/found.

Five bytes say which services and settings, and how the host hands the packet in (hostile_input.hpp); the packet follows.
Checksums are zero: the target fills them in, unless a bit says that it should not.
"""

import pathlib
import struct
import sys

CLIENT4, CLIENT6 = bytes((192, 0, 2, 1)), bytes.fromhex("20010db8000000000000000000000001")
VIPS = {  # translation: the address that a packet goes to (hostile_services.hpp)
    "44": bytes((198, 51, 100, 7)),
    "46": bytes((198, 51, 100, 135)),
    "66": bytes.fromhex("20010db8000100000000000000000007"),
    "64": bytes.fromhex("20010db8000100010000000000000007"),
}
UDP, TCP, SCTP, ICMP, ICMPV6, GRE, FRAGMENT, DESTINATION = 17, 6, 132, 1, 58, 47, 44, 60
ALL_PORTS, NAMED_PORTS, WITHOUT_PODS, NODE_PORTS, HAIRPIN, CLUSTER, SHORT, NOTHING = range(8)
PARTIAL, GSO, WRONG_HEADER, WRONG_TRANSPORT, SPARES = 8, 16, 32, 64, 128


def v4(protocol, payload, destination, source=CLIENT4, options=b"", fragment=0):  # RFC 791 section 3.1
    size = 20 + len(options)
    fixed = struct.pack("!BBHHHBBH", 0x40 + size // 4, 0, size + len(payload), 1, fragment, 64, protocol, 0)
    return fixed + source + destination + options + payload


def v6(protocol, payload, destination, source=CLIENT6):  # RFC 8200 section 3
    return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + source + destination + payload


def to(translation, protocol, payload):
    return (v4 if translation[0] == "4" else v6)(protocol, payload, VIPS[translation])


def error(translation, kind, code, rest):  # the client's answer to a packet that came from the VIP
    if translation[0] == "4":
        about = v4(UDP, struct.pack("!HHHH", 53, 40000, 12, 0) + b"data", CLIENT4, VIPS[translation])
        return v4(ICMP, struct.pack("!BBHI", kind, code, 0, rest) + about, VIPS[translation])
    about = v6(UDP, struct.pack("!HHHH", 53, 40000, 12, 0) + b"data", CLIENT6, VIPS[translation])
    return v6(ICMPV6, struct.pack("!BBHI", kind, code, 0, rest) + about, VIPS[translation])


def from_pod(translation):  # an answer whose flow nobody knows
    answer = struct.pack("!HHHH", 5353, 40000, 12, 0) + b"data"
    if translation[1] == "4":
        return v4(UDP, answer, CLIENT4, bytes((10, 244, 1, 7)))
    client = bytes.fromhex("0064ff9b0001000000000000c0000201") if translation == "46" else CLIENT6
    return v6(UDP, answer, client, bytes.fromhex("fd000244000000000000000000000007"))


def shaped(packet, services=ALL_PORTS, settings=0, bits=0, more=0, stretch=0):
    return bytes((services, settings, bits, more, stretch)) + packet


udp = struct.pack("!HHHH", 40000, 53, 12, 0) + b"data"
syn = struct.pack("!HHIIBBHHH", 40000, 80, 1, 0, 0x50, 2, 8192, 0, 0)
init = struct.pack("!HHII", 40000, 5060, 1, 0) + bytes((1, 0, 0, 4))
echo4 = struct.pack("!BBHHH", 8, 0, 0, 7, 1)
echo6 = struct.pack("!BBHHH", 128, 0, 0, 7, 1)

INPUTS = {
    "44_udp": shaped(to("44", UDP, udp), NAMED_PORTS),
    "46_udp": shaped(to("46", UDP, udp), NAMED_PORTS),
    "66_udp": shaped(to("66", UDP, udp), NAMED_PORTS),
    "64_udp": shaped(to("64", UDP, udp), NAMED_PORTS),
    "44_tcp": shaped(to("44", TCP, syn), NAMED_PORTS, settings=1),
    "46_tcp": shaped(to("46", TCP, syn), HAIRPIN),
    "66_tcp": shaped(to("66", TCP, syn), HAIRPIN),
    "64_tcp": shaped(to("64", TCP, syn), NODE_PORTS),
    "44_sctp": shaped(to("44", SCTP, init), NAMED_PORTS),
    "44_echo": shaped(to("44", ICMP, echo4)),
    "46_echo": shaped(to("46", ICMP, echo4)),
    "66_echo": shaped(to("66", ICMPV6, echo6)),
    "64_echo": shaped(to("64", ICMPV6, echo6)),
    "echo_reply_0": shaped(to("44", ICMP, bytes(8)), HAIRPIN),  # the tuple of a request, and only one port shows
    "44_too_big": shaped(error("44", 3, 4, 1400)),
    "46_unreachable": shaped(error("46", 3, 1, 0)),
    "66_too_big": shaped(error("66", 2, 0, 1400)),
    "64_exceeded": shaped(error("64", 3, 0, 0)),
    "reject_44": shaped(to("44", UDP, udp), WITHOUT_PODS),
    "reject_64": shaped(to("64", UDP, udp), WITHOUT_PODS),
    "reset_44": shaped(to("44", TCP, syn), WITHOUT_PODS, settings=2),
    "reset_66": shaped(to("66", TCP, syn), WITHOUT_PODS, settings=2),
    "cluster": shaped(to("44", UDP, udp), CLUSTER),
    "nothing": shaped(to("44", UDP, udp), NOTHING),
    "cut_46": shaped(to("46", UDP, udp), bits=SPARES, more=9, stretch=193),
    "cut_46_without_spares": shaped(to("46", UDP, udp), stretch=193),
    "gso_64": shaped(to("64", TCP, syn), bits=PARTIAL | GSO, more=150, stretch=245),
    "gso_46": shaped(to("46", TCP, syn), bits=PARTIAL | GSO, more=150, stretch=245),
    "udp_zero_46": shaped(to("46", UDP, udp), bits=WRONG_TRANSPORT),
    "too_long_64": shaped(to("64", TCP, syn), settings=8, stretch=129),
    "fragment_44": shaped(v4(UDP, udp + bytes(4), VIPS["44"], fragment=0x2000)),
    "fragment_46": shaped(v4(UDP, udp + bytes(4), VIPS["46"], fragment=0x2000), bits=SPARES),
    "later_fragment_44": shaped(v4(UDP, b"end", VIPS["44"], fragment=2), bits=SPARES),
    "fragment_64": shaped(to("64", FRAGMENT, struct.pack("!BBHI", UDP, 0, 1, 7) + udp + bytes(4))),
    "source_route": shaped(v4(UDP, udp, VIPS["46"], options=bytes((131, 7, 4, 192, 0, 2, 9, 0)))),
    "return_44": shaped(from_pod("44"), NAMED_PORTS, more=64),
    "return_46": shaped(from_pod("46"), NAMED_PORTS, more=64),
    "stateless": shaped(to("46", UDP, udp), settings=4),
    "no_headroom": shaped(to("46", UDP, udp), bits=1),
    "no_table": shaped(to("64", UDP, udp), settings=0x60),
}


def main():
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FOLDER")
    for name, packet in INPUTS.items():
        (pathlib.Path(sys.argv[1]) / name).write_bytes(packet)


main()
