#!/usr/bin/env bash
# Sends a small capture through pcap_nat and prints what became of its packets; from a fresh Debian 12 on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tests/support/requirements.sh

build=${KUBEPROXY_BUILD_DIR:-build}/demo
require g++ cmake ninja-build libboost1.81-dev libboost-program-options1.81-dev libboost-json1.81-dev libpcap-dev

mkdir -p "$build"
if ! { cmake -G Ninja -S . -B "$build" -D CMAKE_BUILD_TYPE=Release -D KUBEPROXY_BUILD_TESTS=OFF -D KUBEPROXY_BUILD_BENCH=OFF &&
    cmake --build "$build" --target pcap_nat; } >"$build/log" 2>&1; then
    cat "$build/log" >&2
    exit 1
fi

set -x
"$build/examples/pcap_nat" --config examples/demo.ku --read examples/demo.pcap --write "$build/demo-out.pcap" --stats
