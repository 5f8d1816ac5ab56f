#!/usr/bin/env bash
# Fuzzes with libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer, one target after the other on one core.
#   tests/fuzz/run.sh SECONDS [TARGET...]     ku, kubernetes, packet, parse, sequence; all of them by default
# Each run starts from the inputs in tests/fuzz/corpus/TARGET and keeps what it finds in the build folder, where a later
# run goes on. Prints executions and findings; exit status 1 if there was a finding, whose input is named.
# KUBEPROXY_BUILD_DIR: where the build tree goes (build/).
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
seconds=${1:?usage: tests/fuzz/run.sh SECONDS [TARGET...]}
shift
[ $# -gt 0 ] || set -- ku kubernetes packet parse sequence
build=${KUBEPROXY_BUILD_DIR:-build}/fuzz
cmake -G Ninja -S . -B "$build" -D CMAKE_CXX_COMPILER=clang++ -D KUBEPROXY_FUZZ=ON -D KUBEPROXY_BUILD_BENCH=OFF \
    -D KUBEPROXY_BUILD_EXAMPLES=OFF >/dev/null && cmake --build "$build" --target "${@/#/fuzz_}" || exit 2

# Long inputs only repeat what short ones do.
declare -A longest=([ku]=512 [kubernetes]=2048 [packet]=2048 [parse]=512 [sequence]=160)
# Stacks of allocations are short, or keeping them costs more than most inputs.
export ASAN_OPTIONS=malloc_context_size=2
status=0
for target; do
    found=$build/found/$target dictionary=tests/fuzz/$target.dict
    mkdir -p "$found"
    options=(-max_total_time="$seconds" -max_len="${longest[$target]}" -entropic=0 -print_final_stats=1
        -artifact_prefix="$build/finding-$target-")
    [ ! -e "$dictionary" ] || options+=(-dict="$dictionary")
    "$build/tests/fuzz/fuzz_$target" "${options[@]}" "$found" "tests/fuzz/corpus/$target" >"$build/$target.log" 2>&1
    case $? in
    0) finding="no finding" ;;
    *) status=1 finding=$(grep -oE "finding-$target-[^ ;]*" "$build/$target.log" | tail -1) ;;
    esac
    awk -v target="$target" -v finding="$finding" '/number_of_executed_units/ {n = $2} /average_exec_per_sec/ {rate = $2}
        END {printf "%s: %d executions, %d a second, %s\n", target, n, rate, finding}' "$build/$target.log"
done
exit $status
