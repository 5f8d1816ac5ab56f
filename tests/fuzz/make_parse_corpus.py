#!/usr/bin/env python3
"""Writes the inputs that fuzz_parse starts from: ./make_parse_corpus.py corpus/parse

Each is a packet whose kind takes its own way through the parser; checksums are zero, parsing does not look at them.
"""

import pathlib
import struct
import sys

V4_ENDS = bytes((192, 0, 2, 1, 198, 51, 100, 7))
V6_ENDS = bytes.fromhex("20010db8000000000000000000000001" "20010db8000100000000000000000007")
UDP, TCP, SCTP, ICMP, ICMPV6 = 17, 6, 132, 1, 58
HOP_BY_HOP, ROUTING, FRAGMENT, AH, NONE, DESTINATION, MOBILITY = 0, 43, 44, 51, 59, 60, 135


def v4(protocol, payload, options=b"", fragment=0):  # RFC 791 section 3.1
    size = 20 + len(options)
    fixed = struct.pack("!BBHHHBBH", 0x40 + size // 4, 0, size + len(payload), 1, fragment, 64, protocol, 0)
    return fixed + V4_ENDS + options + payload


def v6(protocol, payload):  # RFC 8200 section 3
    return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + V6_ENDS + payload


def option_header(following, units=0):  # RFC 8200 section 4.2, one PadN
    return bytes((following, units, 1, 4 + 8 * units)) + bytes(4 + 8 * units)


def fragment_header(following, units, more):  # RFC 8200 section 4.5
    return struct.pack("!BBHI", following, 0, units << 3 | more, 0x01020304)


udp = struct.pack("!HHHH", 40000, 53, 12, 0) + b"data"
tcp = struct.pack("!HHIIBBHHH", 40000, 80, 1, 0, 0x50, 2, 8192, 0, 0)
sctp = struct.pack("!HHII", 40000, 5060, 1, 0) + bytes((1, 0, 0, 4))
route = bytes((DESTINATION, 2, 0, 1)) + bytes(20)  # RFC 8200 section 4.4, a segment left

INPUTS = {
    "v4_udp": v4(UDP, udp),
    "v4_tcp_options": v4(TCP, tcp, options=bytes((131, 7, 4, 192, 0, 2, 9, 0))),  # loose source route
    "v4_sctp": v4(SCTP, sctp),
    "v4_echo": v4(ICMP, struct.pack("!BBHHH", 8, 0, 0, 7, 1)),
    "v4_unreachable": v4(ICMP, struct.pack("!BBHI", 3, 4, 0, 1400) + v4(UDP, udp)),
    "v4_first_fragment": v4(UDP, udp + bytes(4), fragment=0x2000),
    "v4_later_fragment_padded": v4(UDP, b"end", fragment=2) + bytes(23),
    "v6_tcp": v6(TCP, tcp),
    "v6_too_big": v6(ICMPV6, struct.pack("!BBHI", 2, 0, 0, 1280) + v6(UDP, udp)),
    "v6_extensions": v6(HOP_BY_HOP, option_header(ROUTING, 1) + route + option_header(UDP) + udp),
    "v6_first_fragment": v6(FRAGMENT, fragment_header(DESTINATION, 0, 1) + option_header(UDP) + udp + bytes(4)),
    "v6_later_fragment": v6(FRAGMENT, fragment_header(UDP, 181, 0) + b"end"),
    "v6_mobility": v6(MOBILITY, option_header(NONE)),
    "v6_ah": v6(AH, option_header(UDP, 1) + udp),
    "v6_two_fragment_headers": v6(FRAGMENT, fragment_header(FRAGMENT, 0, 0) + fragment_header(UDP, 0, 0) + udp),
    "v6_overrun": v6(DESTINATION, bytes((UDP, 255, 1, 4, 0, 0, 0, 0))),
}


def main():
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FOLDER")
    for name, packet in INPUTS.items():
        (pathlib.Path(sys.argv[1]) / name).write_bytes(packet)


main()
