#!/usr/bin/env bash
# Measures everything, from a fresh Debian 12 on: the machine's limits, each component, the whole path, and what the flow
# table is compared with. Prints one table.
#   bench/run.sh           three repetitions, up to 8M flows: 5 GB of memory
#   bench/run.sh --quick   one repetition, up to 1M flows
# KUBEPROXY_BUILD_DIR: where the build tree goes (build/). There too: bench.json and path.svg, the picture.
# absl and rte_hash are compared with where libabsl-dev and libdpdk-dev are installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tests/support/requirements.sh

repetitions=3 seconds=0.1 filter='.*'
case "${1-}" in
'') ;;
--quick) repetitions=1 seconds=0.02 filter='-/8388608(/|$)' ;;
*) echo "usage: bench/run.sh [--quick]" >&2; exit 2 ;;
esac

build=${KUBEPROXY_BUILD_DIR:-build}
mkdir -p "$build" && build=$(cd "$build" && pwd)
require g++ cmake ninja-build pkg-config python3 libboost1.81-dev libbenchmark-dev

cmake -G Ninja -S . -B "$build/bench" -D CMAKE_BUILD_TYPE=Release -D CMAKE_CXX_FLAGS_RELEASE="-O3 -DNDEBUG" \
    -D CMAKE_CXX_FLAGS="-march=native" -D KUBEPROXY_BUILD_TESTS=OFF -D KUBEPROXY_BUILD_EXAMPLES=OFF |
    grep -E '_bench is left out' | sed 's/^-- //' || true
cmake --build "$build/bench" --parallel "$(nproc)" >"$build/log.bench" 2>&1 || { cat "$build/log.bench"; exit 1; }

results=$build/bench/results
rm -rf "$results" && mkdir "$results"
for program in "$build"/bench/bench/*_bench; do
    name=$(basename "$program")
    echo "   $name" >&2
    "$program" --benchmark_filter="$filter" --benchmark_min_time=$seconds --benchmark_repetitions=$repetitions \
        --benchmark_out="$results/$name.json" --benchmark_out_format=json >/dev/null
done
python3 bench/report.py "$results"/*.json --json "$build/bench.json" --svg "$build/path.svg"
