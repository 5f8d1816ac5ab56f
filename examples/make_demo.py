#!/usr/bin/env python3
"""Writes demo.pcap, the client side of the services in demo.ku. Needs scapy.

Every run writes the same bytes:  ./make_demo.py demo.pcap
"""

import sys

from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw
from scapy.utils import PcapWriter

CLIENT_MAC, NODE_MAC = "02:00:00:00:00:01", "02:00:00:00:00:fe"
START = 1_700_000_000  # seconds since 1970
SPACING = 2_000  # microseconds between packets


def link(vlan=None):
    ether = Ether(src=CLIENT_MAC, dst=NODE_MAC)
    return ether / Dot1Q(vlan=vlan) if vlan else ether


def network(source, destination):
    return IPv6(src=source, dst=destination) if ":" in source else IP(src=source, dst=destination)


def web_client(number, source, destination, vlan=None):
    """A handshake's first packet, and a request."""
    headers = link(vlan) / network(source, destination)
    port = 40000 + number
    yield headers / TCP(sport=port, dport=80, flags="S", seq=1000)
    yield headers / TCP(sport=port, dport=80, flags="PA", seq=1001, ack=1) / Raw(b"GET / HTTP/1.0\r\n\r\n")


def dns_client(number, source, destination):
    query = DNS(id=number, rd=1, qd=DNSQR(qname="shop.example."))
    yield link() / network(source, destination) / UDP(sport=50000 + number, dport=53) / query


def beside_the_services():
    """Traffic that is no service's: it passes as it is."""
    yield Ether(src=CLIENT_MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(psrc="192.0.2.1", pdst="192.0.2.254")
    yield link() / network("192.0.2.1", "203.0.113.5") / TCP(sport=41000, dport=443, flags="S", seq=1)
    yield link() / network("192.0.2.1", "10.96.0.10") / TCP(sport=41001, dport=22, flags="S", seq=1)


def without_pods():
    for number in range(2):
        header = link() / network(f"192.0.2.{50 + number}", "10.96.0.99")
        yield header / TCP(sport=42000 + number, dport=5432, flags="S", seq=1)


def packets():
    yield from beside_the_services()
    for number in range(32):
        yield from web_client(number, f"192.0.2.{number % 7 + 1}", "10.96.0.10", vlan=7 if number % 8 == 0 else None)
        if number % 2 == 0:
            yield from web_client(number, f"2001:db8:c::{number % 5 + 1}", "2001:db8:96::10")
            yield from dns_client(number, f"192.0.2.{number % 9 + 1}", "10.96.0.53")
        if number % 4 == 0:
            yield from dns_client(number, f"2001:db8:c::{number % 3 + 1}", "2001:db8:96::53")
    yield from without_pods()


def main():
    with PcapWriter(sys.argv[1], linktype=1, sync=False) as writer:
        writer.write_header(None)
        for number, packet in enumerate(packets()):
            seconds, microseconds = divmod(number * SPACING, 1_000_000)
            writer.write_packet(bytes(packet), sec=START + seconds, usec=microseconds)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main()
