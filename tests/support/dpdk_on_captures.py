#!/usr/bin/env python3
"""dpdk_forwarder with the command line of pcap_nat, its one port a net_pcap device that reads and writes the captures.

    dpdk_on_captures.py path/to/dpdk_forwarder --read IN --write OUT [option of dpdk_forwarder]...
"""

import os
import subprocess
import sys

# No huge pages, no hardware, nothing in the file system: any number of them may run beside each other.
ENVIRONMENT = ["--no-huge", "--no-shconf", "--no-pci", "--no-telemetry", "--log-level", "error", "-m", "256"]
IDLE_MS = 50  # net_pcap hands out the capture without a pause


def main() -> int:
    program, *options = sys.argv[1:]
    captures = {}
    for option in ("--read", "--write"):
        at = options.index(option)
        captures[option], options[at:at + 2] = options[at + 1], []
    device = f"net_pcap0,rx_pcap={captures['--read']},tx_pcap={captures['--write']}"
    own = ["--seed", "1", "--packet-time", "--stop-when-idle", str(IDLE_MS), "--mtu", "9000", *options]
    # One lcore, on whichever processor is free: of many runs at once each would keep the same one busy.
    lcore = f"0@({','.join(map(str, os.sched_getaffinity(0)))})"
    command = [program, *ENVIRONMENT, "--lcores", lcore, "--vdev", device, "--", *own]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
