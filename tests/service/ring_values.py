#!/usr/bin/env python3
"""Prints the expected values of ring_values_test.cpp, computed from the definitions and not by the library."""

import ipaddress
import struct

MASK = 2**64 - 1
GAMMA = 0x9E3779B97F4A7C15


def mixed(x: int) -> int:
    """SplitMix64's finalizer."""
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ x >> 27) * 0x94D049BB133111EB & MASK
    return x ^ x >> 31


def folded(a: int, b: int) -> int:
    return (a * b & MASK) ^ (a * b >> 64)


def ring_entry_hash(seed: int, source: str, source_port: int, destination: str, port: int, protocol: int) -> int:
    """Of the addresses in network order, both ports and the protocol, read as little-endian words of 64 bits."""
    octets = ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
    octets += struct.pack("<HHB3x", source_port, port, protocol)
    w = struct.unpack(f"<{len(octets) // 8}Q", octets)
    s = [mixed(seed + GAMMA * (i + 1) & MASK) for i in range(16)]
    h = folded(w[0] ^ s[0], w[1] ^ s[1])
    if len(w) == 5:  # IPv6
        h = folded(h ^ folded(w[2] ^ s[4], w[3] ^ s[5]) ^ s[6], w[4] ^ s[7])
    return folded(h ^ s[2], s[3] | 1)


def ring_key(seed: int, address: str, port: int) -> int:
    """Of the address and the port in network order, read as big-endian words of 64 bits, the last one shorter."""
    octets = ipaddress.ip_address(address).packed + port.to_bytes(2, "big")
    key = mixed(seed + GAMMA * (len(octets) + 1) & MASK)
    for i in range(0, len(octets), 8):
        key = mixed((key ^ int.from_bytes(octets[i : i + 8], "big")) + GAMMA & MASK)
    return key


for row in [
    (0x1, "192.0.2.1", 40000, "10.96.0.1", 80, 6),
    (0x1, "10.96.0.1", 80, "192.0.2.1", 40000, 6),
    (0x1, "198.51.100.255", 1, "203.0.113.128", 65535, 17),
    (0xFEDCBA9876543210, "192.0.2.1", 40000, "10.96.0.1", 80, 6),
    (0x1, "192.0.2.1", 0, "10.96.0.1", 0, 47),
    (0x1, "2001:db8::1", 40000, "2001:db8:96::1", 443, 6),
    (0x1, "2001:db8:96::1", 443, "2001:db8::1", 40000, 6),
    (0x1, "fd00:10:244:1:2:3:4:5", 53, "fd00:10:96::a", 53, 17),
    (0xFEDCBA9876543210, "2001:db8::1", 4660, "2001:db8:96::1", 0, 58),
]:
    print("{0:#x} {1} {2} {3} {4} {5}: {hash:#018x}".format(*row, hash=ring_entry_hash(*row)))
for row in [
    (0x1, "10.244.1.17", 8080),
    (0x1, "2001:db8:244::17", 8080),
    (0xFEDCBA9876543210, "10.244.1.17", 8080),
]:
    print("{0:#x} {1} {2}: {key:#018x}".format(*row, key=ring_key(*row)))
