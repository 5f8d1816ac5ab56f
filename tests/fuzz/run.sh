#!/usr/bin/env bash
# Fuzzes with libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer, one target after the other on one core.
#   tests/fuzz/run.sh SECONDS [TARGET...]     ku, kubernetes, packet, parse, sequence; all of them by default
# Each run starts from the inputs in tests/fuzz/corpus/TARGET and keeps what it finds in the build folder, where a later
# run goes on. Prints executions and findings; exit status 1 if there was a finding, whose input is named. On a busy
# machine, executions per second of processor time say how fast a target is.
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
declare -A longest=([ku]=192 [kubernetes]=768 [packet]=512 [parse]=256 [sequence]=96)
# Cheaper than AddressSanitizer's defaults: stacks of allocations are short, so little freed memory is kept from being
# used again that it stays in the cache, and only the beginning of new memory is filled. For the report of a finding,
# run the target with its input and without these options.
export ASAN_OPTIONS=malloc_context_size=1:quarantine_size_mb=4:max_malloc_fill_size=64
# What targets keep from one input for the next looks like a leak, and looking for one takes longer than an input. What
# has leaked is reported at the end.
declare -A leaks=([packet]=0 [sequence]=0)
TIMEFORMAT='processor_time: %U %S'
status=0
for target; do
    found=$build/found/$target dictionary=tests/fuzz/$target.dict
    mkdir -p "$found"
    options=(-max_total_time="$seconds" -max_len="${longest[$target]}" -entropic=0 -print_final_stats=1
        -detect_leaks="${leaks[$target]:-1}" -artifact_prefix="$build/finding-$target-")
    [ ! -e "$dictionary" ] || options+=(-dict="$dictionary")
    log=$build/$target.log
    { time "$build/tests/fuzz/fuzz_$target" "${options[@]}" "$found" "tests/fuzz/corpus/$target" >"$log" 2>&1; } 2>>"$log"
    case $? in
    0) finding="no finding" ;;
    *) status=1 finding=$(grep -oE "finding-$target-[^ ;]*" "$log" | tail -1) ;;
    esac
    awk -v target="$target" -v finding="$finding" '/number_of_executed_units/ {n = $2} /average_exec_per_sec/ {rate = $2}
        /^processor_time/ {busy = $2 + $3}
        END {printf "%s: %d executions, %d a second, %d a second of processor time, %s\n", target, n, rate,
                    busy ? n / busy : 0, finding}' "$log"
done
exit $status
