#!/usr/bin/env python3
"""Writes the inputs that fuzz_sequence starts from: ./make_sequence_corpus.py corpus/sequence

What libFuzzer found and a merge kept is in corpus/sequence/found.

An input is settings, services, three bytes of how packets are handed in, the clock, and then commands (fuzz_sequence.cpp).
"""

import pathlib
import sys

UDP, TCP, SCTP, ECHO = range(4)
TRANSLATIONS = {"44": 0, "46": 1, "66": 2, "64": 3}
SERVICES_CHANGE = 128
ALL_PORTS, NAMED_PORTS, WITHOUT_PODS, NODE_PORTS, HAIRPIN, CLUSTER, SHORT, NOTHING = range(8)
MILLISECOND, SECOND, MINUTE, HOUR, DAY = 1, 3, 4, 5, 6
FIN, SYN, RST, ACK = 1, 2, 4, 16


def start(services=ALL_PORTS, settings=0, bits=128, more=9, clock=1):  # 128: spare buffers
    return bytes((settings, services, bits, more, 0, clock))


def command(number, high=0, *rest):
    return bytes((number | high << 4,)) + bytes(rest)


def shape(translation, protocol):
    return TRANSLATIONS[translation] | protocol << 2


def request(translation, protocol=UDP, client=0, port=1, detail=2):
    return command(1, shape(translation, protocol), client, port, detail)


def converse(translation, protocol=UDP, client=0, port=1, detail=2):
    return command(11, shape(translation, protocol), client, port, detail)


def literal(data):
    return command(0, 0, len(data)) + data


def answer(back=0):
    return command(3, 0, back)


def error(kind, quoted=255, back=0):
    return command(4, 0, back, kind, quoted)


def part(offset, size, more, back=0):
    return command(5, more, back, offset, size)


def later(unit, count):
    return command(7, unit, count)


def earlier(unit, count):
    return command(8, unit, count)


def change(which):
    return command(9, which)


def flood(translation, protocol, count, client=0):
    return command(12, shape(translation, protocol), count, client)


def cut(order, back=0):
    return command(15, order, back)


FLUSH, AGAIN = command(10), command(13, 0, 0)
INPUTS = {
    "answer_unknown": start() + literal(bytes.fromhex("4500001c0001000040110000c6336407c00002010035000100080000")),
}
for name in TRANSLATIONS:
    INPUTS["udp_" + name] = start(NAMED_PORTS) + converse(name) + request(name) + FLUSH + answer()
    INPUTS["tcp_" + name] = start(NAMED_PORTS) + b"".join(
        converse(name, TCP, detail=flags) for flags in (SYN, ACK, FIN | ACK, ACK, SYN, RST, SYN)
    )
    INPUTS["others_" + name] = start() + converse(name, SCTP, detail=1) + converse(name, ECHO) + request(name, SCTP, 0, 1, 7)
    INPUTS["errors_" + name] = start() + request(name, detail=40) + FLUSH + b"".join(error(k | 80) for k in range(4)) + error(0, 28)
    INPUTS["fragments_" + name] = start() + request(name, detail=80) + cut(0) + FLUSH + request(name, detail=80, port=2) + cut(1) + later(SECOND, 2) + FLUSH
    INPUTS["flood_" + name] = start(settings=0x20) + flood(name, TCP, 31) + flood(name, UDP, 9) + converse(name, TCP, 1) + later(MINUTE, 10) + flood(name, TCP, 9)
    INPUTS["time_" + name] = start(SHORT) + converse(name) + earlier(SECOND, 2) + converse(name) + later(HOUR, 3) + request(name) + earlier(DAY, 25) + converse(name)
# So many first fragments in a burst that one is forgotten before those that waited for it are let go.
INPUTS["crowded_fragments"] = start() + request("44", detail=40) + part(2, 2, 1) + FLUSH + request("44", detail=40) + part(0, 2, 1) + b"".join(request("46", client=k, detail=40) + part(0, 2, 1) for k in range(8)) + FLUSH
INPUTS["ports_run_out"] = start(CLUSTER) + flood("44", UDP, 20) + flood("64", UDP, 9)
INPUTS["hairpin"] = start(HAIRPIN) + b"".join(converse(name, TCP) for name in TRANSLATIONS) + flood("44", UDP, 31)
INPUTS["node_ports"] = start(NODE_PORTS) + converse("44") + converse("46", TCP) + converse("66") + converse("64", TCP)
INPUTS["cluster"] = start(CLUSTER) + converse("44") + later(SECOND, 40) + converse("46") + converse("64", TCP) + request("44", SCTP)
INPUTS["rejected"] = start(WITHOUT_PODS, 2) + b"".join(request(name, TCP, detail=SYN) for name in TRANSLATIONS)
INPUTS["pods_come_and_go"] = start(settings=SERVICES_CHANGE) + converse("44") + change(0) + converse("44") + change(1) + converse("44", TCP) + change(8) + request("44", TCP, detail=ACK) + change(9) + converse("44", TCP)
INPUTS["services_come_and_go"] = start(settings=SERVICES_CHANGE) + converse("64", TCP) + change(10) + AGAIN + converse("64") + change(11) + converse("64") + change(12) + converse("44") + change(13) + change(14) + change(15)
INPUTS["stateless"] = start(settings=4) + b"".join(converse(name) for name in TRANSLATIONS)
INPUTS["without_table"] = start(settings=0x60) + b"".join(converse(name) for name in TRANSLATIONS)
INPUTS["our_output"] = start(HAIRPIN) + converse("44") + AGAIN + AGAIN + command(14, 0, 8, 0, 0) + AGAIN


def main():
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FOLDER")
    for name, commands in INPUTS.items():
        (pathlib.Path(sys.argv[1]) / name).write_bytes(commands)


main()
