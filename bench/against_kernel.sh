#!/usr/bin/env bash
# tap_forwarder beside the kernel's own service proxy: the same clients, pods and services, once behind the forwarder and
# once behind a router namespace with an nftables ruleset of kube-proxy's kind, in one run, in turns. As root.
#
#     bench/against_kernel.sh [SECONDS [ROUNDS]]     of each measurement (3), and how often (3); medians are printed
#
# The forwarder has a worker for each processor, as the kernel works on all of them; WORKERS: another number.
# KUBEPROXY_BUILD_DIR: where the build tree goes (build/). SERVICES: how many others there are beside (1000). CONGESTION: the
# congestion control of the one TCP stream (the machine's own).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tests/support/requirements.sh

seconds=${1:-3} rounds=${2:-3} others=${SERVICES:-1000}
congestion=${CONGESTION:-$(cat /proc/sys/net/ipv4/tcp_congestion_control)} workers=${WORKERS:-$(nproc)}
tree=${KUBEPROXY_BUILD_DIR:-build}/against_kernel
[ "$(id -u)" -eq 0 ] || { echo "network namespaces need root" >&2; exit 1; }
require g++ cmake ninja-build libboost1.81-dev libboost-program-options1.81-dev libboost-json1.81-dev libpcap-dev \
    iproute2 iperf3 nftables python3
if [ -n "${KUBEPROXY_PROGRAMS-}" ]; then # where they are already built
    tree=$KUBEPROXY_PROGRAMS
else
    cmake -G Ninja -S . -B "$tree" -D CMAKE_BUILD_TYPE=Release -D CMAKE_CXX_FLAGS="-O3 -march=native" \
        -D KUBEPROXY_BUILD_TESTS=OFF >/dev/null
    cmake --build "$tree" --target tap_forwarder load_generator >/dev/null
fi
forwarder=$tree/examples/tap_forwarder load=$tree/bench/load_generator

tag=ak$$ work=$(mktemp -d)
ours_client=$tag-oc ours_pods=$tag-op kernel_client=$tag-kc kernel_router=$tag-kr kernel_pods=$tag-kp
all=("$ours_client" "$ours_pods" "$kernel_client" "$kernel_router" "$kernel_pods")
forwarder_pid=

remove() {
    [ -z "$forwarder_pid" ] || kill "$forwarder_pid" 2>/dev/null || true
    local namespace
    for namespace in "${all[@]}"; do
        ip netns pids "$namespace" 2>/dev/null | xargs -r kill -9 2>/dev/null || true
        ip netns del "$namespace" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap remove EXIT
trap 'exit 1' INT TERM HUP

inside() { ip netns exec "$@"; }

# hosts CLIENT DEVICE PODS DEVICE: addresses and routes on both sides of a router
hosts() {
    ip -n "$1" addr add 10.0.0.2/24 dev "$2"
    ip -n "$1" link set "$2" up
    ip -n "$1" route add default via 10.0.0.1
    for pod in 2 3 4 5; do ip -n "$3" addr add 10.244.1.$pod/24 dev "$4"; done
    ip -n "$3" link set "$4" up
    ip -n "$3" route add default via 10.244.1.1
}

set_up_ours() {
    {
        echo "ku vip 10.96.0.1 protocol tcp port 80 target_port 8080"
        echo "ku vip 10.96.0.1 protocol udp port 80 target_port 8080"
        echo "ku pod 10.96.0.1 10.244.1.2 10.244.1.3 10.244.1.4 10.244.1.5"
        printf 'ku vip 10.96.0.2 protocol tcp port 5201\nku pod 10.96.0.2 10.244.1.2\n'
        for ((i = 0; i < others; i++)); do
            echo "ku vip 10.97.$((i / 250)).$((i % 250)) protocol tcp port 80 target_port 8080"
            echo "ku pod 10.97.$((i / 250)).$((i % 250)) 10.244.1.2 10.244.1.3"
        done
    } >"$work/services.ku"
    "$forwarder" --tap "akc@$ours_client,10.0.0.1/24" --tap "akp@$ours_pods,10.244.1.1/24" --config "$work/services.ku" \
        --workers "$workers" >"$work/banner" 2>"$work/errors" &
    forwarder_pid=$!
    for ((i = 0; i < 100; i++)); do
        grep -q '^ready$' "$work/banner" && break
        kill -0 "$forwarder_pid" || { cat "$work/errors" >&2; exit 1; }
        sleep 0.1
    done
    hosts "$ours_client" akc "$ours_pods" akp
}

# kube-proxy's nftables mode (pkg/proxy/nftables): verdict maps from address, protocol and port to a chain a service, one
# a pod, and marks for masquerading.
ruleset() {
    local pod i
    echo "table ip kube-proxy {"
    for pod in 2 3 4 5; do
        printf 'chain endpoint-%s {\nip saddr 10.244.1.%s jump mark-for-masquerade\n' $pod $pod
        printf 'meta l4proto { tcp, udp } dnat to 10.244.1.%s:8080\n}\n' $pod
    done
    printf 'chain endpoint-iperf {\nip saddr 10.244.1.2 jump mark-for-masquerade\nmeta l4proto tcp dnat to 10.244.1.2:5201\n}\n'
    printf 'chain mark-for-masquerade {\nmark set mark or 0x4000\n}\n'
    printf 'chain service-web {\nnumgen random mod 4 vmap { 0 : goto endpoint-2, 1 : goto endpoint-3, 2 : goto endpoint-4, 3 : goto endpoint-5 }\n}\n'
    printf 'chain service-iperf {\nnumgen random mod 1 vmap { 0 : goto endpoint-iperf }\n}\n'
    printf 'chain service-other {\nnumgen random mod 2 vmap { 0 : goto endpoint-2, 1 : goto endpoint-3 }\n}\n'
    printf 'map service-ips {\ntype ipv4_addr . inet_proto . inet_service : verdict\nelements = {\n'
    printf '10.96.0.1 . tcp . 80 : goto service-web, 10.96.0.1 . udp . 80 : goto service-web, 10.96.0.2 . tcp . 5201 : goto service-iperf'
    for ((i = 0; i < others; i++)); do printf ',\n10.97.%s.%s . tcp . 80 : goto service-other' $((i / 250)) $((i % 250)); done
    printf '}\n}\n'
    printf 'map no-endpoint-services {\ntype ipv4_addr . inet_proto . inet_service : verdict\n}\n'
    printf 'map service-nodeports {\ntype inet_proto . inet_service : verdict\n}\n'
    cat <<'end'
chain services {
    ip daddr . meta l4proto . th dport vmap @service-ips
    ip daddr 10.0.0.1 meta l4proto . th dport vmap @service-nodeports
}
chain filter-prerouting { type filter hook prerouting priority dstnat - 10; policy accept;
    ct state new ip daddr . meta l4proto . th dport vmap @no-endpoint-services
}
chain nat-prerouting { type nat hook prerouting priority dstnat; policy accept;
    jump services
}
chain masquerading {
    mark and 0x4000 == 0 return
    mark set mark xor 0x4000
    masquerade fully-random
}
chain nat-postrouting { type nat hook postrouting priority srcnat; policy accept;
    jump masquerading
}
}
end
}

set_up_kernel() {
    ip -n "$kernel_router" link add c type veth peer name akc netns "$kernel_client"
    ip -n "$kernel_router" link add p type veth peer name akp netns "$kernel_pods"
    ip -n "$kernel_router" addr add 10.0.0.1/24 dev c
    ip -n "$kernel_router" addr add 10.244.1.1/24 dev p
    ip -n "$kernel_router" link set c up
    ip -n "$kernel_router" link set p up
    inside "$kernel_router" sysctl -qw net.ipv4.ip_forward=1 net.netfilter.nf_conntrack_tcp_timeout_time_wait=1
    ruleset >"$work/ruleset.nft"
    inside "$kernel_router" nft -f "$work/ruleset.nft"
    hosts "$kernel_client" akc "$kernel_pods" akp
}

serve() { # NAMESPACE
    local pod
    for pod in 2 3 4 5; do ip netns exec "$1" "$load" serve 10.244.1.$pod 8080 & disown; done
    ip netns exec "$1" iperf3 -s -B 10.244.1.2 >/dev/null &
    disown
}

gigabits() { # NAMESPACE
    inside "$1" iperf3 -c 10.96.0.2 -t "$seconds" -C "$congestion" -J |
        python3 -c 'import json, sys; print("%.2f" % (json.load(sys.stdin)["end"]["sum_received"]["bits_per_second"] / 1e9))'
}

# A round of everything: a line "whose what value" for each number.
a_round() { # NAMESPACE WHOSE
    local per_second p50 p90 p99
    echo "$2 stream $(gigabits "$1")"
    for what in requests connections datagrams latency; do
        read -r per_second p50 p90 p99 < <(inside "$1" "$load" "$what" 10.96.0.1 80 "$seconds")
        [ "$what" = latency ] || echo "$2 $what $per_second"
        [ "$what" != latency ] || printf '%s p50 %s\n%s p90 %s\n%s p99 %s\n' "$2" "$p50" "$2" "$p90" "$2" "$p99"
    done
}

for namespace in "${all[@]}"; do
    ip netns add "$namespace"
    ip -n "$namespace" link set lo up
    inside "$namespace" sysctl -qw net.ipv4.ip_local_port_range="1024 65535" net.ipv6.conf.all.disable_ipv6=1
done
set_up_ours
set_up_kernel
serve "$ours_pods"
serve "$kernel_pods"
sleep 1
for ((i = 0; i < rounds; i++)); do
    a_round "$ours_client" ours
    a_round "$kernel_client" kernel
done | tee "$work/numbers" >&2

echo
echo "$(nproc) processors, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), Linux $(uname -r), $workers workers, $others other services, TCP $congestion; medians of $rounds"
python3 - "$work/numbers" <<'end'
import statistics, sys
names = {"stream": "TCP, one stream, Gbit/s", "requests": "requests/s, 16 connections", "connections": "new connections/s",
         "datagrams": "UDP request and answer/s", "p50": "latency p50, us", "p90": "latency p90, us", "p99": "latency p99, us"}
values = {}
for line in open(sys.argv[1]):
    whose, what, value = line.split()
    values.setdefault((whose, what), []).append(float(value))
print(f"{'':28}{'tap_forwarder':>15}{'nftables':>12}{'ratio':>8}")
for what, name in names.items():
    ours, kernel = (statistics.median(values[whose, what]) for whose in ("ours", "kernel"))
    print(f"{name:28}{ours:15.{2 if what == 'stream' else 1 if what[0] == 'p' else 0}f}{kernel:12.{2 if what == 'stream' else 1 if what[0] == 'p' else 0}f}{ours / kernel:8.2f}")
end
