#!/usr/bin/env bash
# The whole test suite, from a fresh Debian 12 on: installs what is missing, builds and tests.
#   tests/run.sh           everything
#   tests/run.sh --quick   one optimised build with assertions, and its tests
# KUBEPROXY_BUILD_DIR: where the build trees go (build/). KUBEPROXY_CONFORMANCE: see ../shared/conformance.
# The last line sums what ctest reported in every stage, and one check for each stage that is no ctest.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
. tests/support/requirements.sh

quick=no
case "${1-}" in
'') ;;
--quick) quick=yes ;;
*) echo "usage: tests/run.sh [--quick]" >&2; exit 2 ;;
esac

build=${KUBEPROXY_BUILD_DIR:-build}
mkdir -p "$build" && build=$(cd "$build" && pwd) || exit 2
jobs=$(nproc)
passed=0 failed=0 skipped=0 failures=()

packages=(g++ cmake ninja-build python3 python3-scapy libboost1.81-dev libboost-program-options1.81-dev
    libboost-json1.81-dev libgtest-dev libbenchmark-dev libpcap-dev libdpdk-dev pkg-config doxygen valgrind
    libxdp-dev libbpf-dev ethtool
    iproute2 iputils-ping iputils-tracepath traceroute curl iperf3 socat bind9-dnsutils prometheus) # for e2e
# Upstream's package of kubectl and Debian's hold the same file, so neither can be installed beside the other.
command -v kubectl >/dev/null || packages+=(kubernetes-client)
[ $quick = yes ] || packages+=(clang libclang-rt-14-dev clang-format clang-tidy util-linux clang-16 clang-19
    g++-s390x-linux-gnu g++-aarch64-linux-gnu qemu-user-static)
require "${packages[@]}" || { echo "the packages could not be installed" >&2; exit 1; }

# check NAME COMMAND...: one check, shown whole only when it fails.
check() {
    local name=$1 log=$build/log.$1
    shift
    if "$@" >"$log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1)) failures+=("$name")
        cat "$log"
        return 1
    fi
}

configure_and_build() { # TREE OPTION...
    local tree=$build/$1
    shift
    cmake -G Ninja -S . -B "$tree" "$@" && cmake --build "$tree" --parallel "$jobs"
}

# numbers_of REPORT: the tests, failures and skips in a JUnit report of ctest, zeros when there is none; names the
# skipped ones beside that.
numbers_of() {
    /usr/bin/python3 - "$1" <<'end'
import re, sys, xml.etree.ElementTree as xml
try:
    suite = xml.parse(sys.argv[1]).getroot()
except (OSError, xml.ParseError):
    sys.exit(print(0, 0, 0))
for case in suite.iter("testcase"):
    if case.get("status") in ("notrun", "disabled"):
        why = re.search(r"(?:: Skipped\n|SKIP: )(.*)", case.findtext("system-out") or "")
        print(f"   skipped: {case.get('name')}:", why[1] if why else "no reason given", file=sys.stderr)
print(suite.get("tests"), suite.get("failures"), int(suite.get("skipped")) + int(suite.get("disabled")))
end
}

# ctest_in TREE OPTION...: adds to the sums what ctest wrote in its report, not what it printed.
ctest_in() {
    local tree=$1 report=$build/$1/report.xml status tests failures_here skipped_here
    shift
    rm -f "$report"
    "${personality[@]}" ctest --test-dir "$build/$tree" --parallel "$jobs" --no-tests=error --output-on-failure \
        --output-junit "$report" "$@" >"$build/log.$tree.ctest" 2>&1
    status=$?
    [ $status -eq 0 ] || grep -v -E '^ *(Start +[0-9]|[0-9]+/[0-9]+ Test .* Passed )' "$build/log.$tree.ctest"
    read -r tests failures_here skipped_here < <(numbers_of "$report")
    # A ctest that failed without naming a test (none found, a crash of ctest itself) is a failure too.
    if [ $status -ne 0 ] && [ "$failures_here" -eq 0 ]; then failures_here=1 tests=$((tests + 1)); fi
    [ "$failures_here" -eq 0 ] || failures+=("$tree: $failures_here")
    local passed_here=$((tests - failures_here - skipped_here))
    passed=$((passed + passed_here)) failed=$((failed + failures_here)) skipped=$((skipped + skipped_here))
    echo "   $tree: $passed_here passed, $failures_here failed, $skipped_here skipped"
}

# stage TITLE COMMAND...
stage() {
    local title=$1 begin=$SECONDS
    shift
    echo "== $title"
    "$@"
    echo "   $((SECONDS - begin)) s"
}

# ThreadSanitizer of g++ 12 does not start where the kernel randomises addresses by more than 28 bits.
personality=()

# Debian's versions of libc++ exclude each other, and only their headers are needed: unpacked, not installed.
unpack_libcxx() ( # in a shell of its own, for its folder
    mkdir -p "$build/libc++" && cd "$build/libc++" || return
    for version in 16 19; do
        [ -e usr/lib/llvm-$version/include/c++/v1/version ] && continue
        apt-get -qq download libc++-$version-dev && dpkg -x libc++-$version-dev_*.deb . || return
    done
)

main() {
    local options=()
    if [ $quick = no ] && command -v dpkg >/dev/null; then
        if unpack_libcxx >"$build/log.libc++" 2>&1; then
            options=(-D KUBEPROXY_LIBCXX_ROOT="$build/libc++")
        else
            echo "   skipped: compiling with libc++: its packages could not be downloaded"
            skipped=$((skipped + 1))
        fi
    fi
    check main.build configure_and_build main -D CMAKE_CXX_COMPILER=g++ "${options[@]}" && ctest_in main
}

clang_with_sanitizers() {
    check clang.build configure_and_build clang -D CMAKE_CXX_COMPILER=clang++ -D KUBEPROXY_SANITIZE=address,undefined \
        -D KUBEPROXY_BUILD_BENCH=OFF && ctest_in clang --label-exclude '^(package|scenario)$'
}

thread_sanitizer() {
    setarch --addr-no-randomize true 2>/dev/null && personality=(setarch --addr-no-randomize)
    check tsan.build configure_and_build tsan -D CMAKE_CXX_COMPILER=g++ -D KUBEPROXY_SANITIZE=thread \
        -D KUBEPROXY_BUILD_BENCH=OFF -D KUBEPROXY_BUILD_EXAMPLES=OFF && ctest_in tsan
    personality=()
}

build_for() { # MACHINE
    cmake -G Ninja -S tests/other_machines -B "$build/$1" -D MACHINE="$1" \
        -D KUBEPROXY_HOST_NAT_TESTS="$build/main/tests/nat_tests" && cmake --build "$build/$1" --parallel "$jobs"
}

other_machines() {
    local machine
    for machine in s390x aarch64; do
        check $machine.build build_for $machine && ctest_in $machine
    done
}

own_sources() { find include tests bench examples -name '*.[ch]pp' -print0; }

format() { own_sources | xargs -0 clang-format --style=file --dry-run -Werror; }

# The unit that includes every header, and the programs: what they instantiate is seen as it is used. A unit is read
# again only when a header or it changed.
tidy() {
    local unit stamp units=()
    for unit in "$build"/clang/tests/package/first_unit.cpp examples/*.cpp examples/*/*.cpp; do
        [ -e "$unit" ] || continue
        stamp=$build/clang/tidied.${unit//\//_}
        if [ ! -e "$stamp" ] || [ -n "$(find include examples .clang-tidy "$unit" -newer "$stamp" -print -quit)" ]; then
            units+=("$unit")
        fi
    done
    [ ${#units[@]} -eq 0 ] || printf '%s\n' "${units[@]}" | xargs -P "$jobs" -I{} bash -c \
        'begun=$2/begun.${1//\//_} && touch "$begun" && clang-tidy --quiet -p "$2" "$1" &&
         mv "$begun" "$2/tidied.${1//\//_}"' tidy {} "$build/clang"
}

lint() {
    check format format
    check tidy tidy
}

if [ $quick = no ]; then
    stage "clang++ with AddressSanitizer and UndefinedBehaviorSanitizer" clang_with_sanitizers
    stage "g++, ThreadSanitizer: the tests that start threads" thread_sanitizer
    stage "clang-format, clang-tidy" lint
fi
stage "g++ -O2 with assertions, benchmarks, scenarios, package" main
[ $quick = yes ] || stage "s390x, big-endian, and aarch64: unit tests of wire, sync, flow, service and nat, emulated" other_machines

[ ${#failures[@]} -eq 0 ] || printf 'failed: %s\n' "${failures[@]}"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
