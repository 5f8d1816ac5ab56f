#include "kubeproxy/flow/tuple.hpp"
#include "kubeproxy/wire/packet.hpp"

#include "support/seed_packets.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <variant>
#include <vector>

#include <benchmark/benchmark.h>

namespace {

namespace seed = kubeproxy::seed;
using kubeproxy::ipv4;
using kubeproxy::ipv6;

constexpr std::size_t burst_size = 32;
using burst = std::vector<seed::octets>;

/// Packets that are alike but for their source port: 32 flows.
template <class Make>
burst burst_of(Make make) {
    burst packets;
    for (unsigned i = 0; i < burst_size; ++i) packets.push_back(seed::bytes_of(make(40000 + i)));
    return packets;
}

burst ipv4_udp() {
    return burst_of([](unsigned port) { return seed::ipv4_packet{.payload = seed::udp(seed::counted(36), port)}; });
}
burst ipv4_udp_with_options() {
    return burst_of([](unsigned port) {
        return seed::ipv4_packet{.options = seed::octets(12, std::byte{1}),
                                 .payload = seed::udp(seed::counted(24), port)};
    });
}
burst ipv6_tcp() {
    return burst_of([](unsigned port) {
        return seed::ipv6_packet{.protocol = 6, .payload = seed::tcp(seed::counted(4), 0x10, port)};
    });
}
burst ipv6_udp_behind_three_extensions() {
    return burst_of([](unsigned port) {
        return seed::ipv6_packet{.extensions = {seed::options(0), seed::routing(0), seed::options(60)},
                                 .payload = seed::udp({}, port)};
    });
}

/// Each packet's ports are found where the builder put them, and no two packets are one flow.
template <kubeproxy::ip_version V>
bool is_parsed_right(burst& packets, std::uint32_t transport, unsigned port) {
    std::vector<std::uint16_t> sources;
    for (auto& bytes : packets) {
        auto const result = kubeproxy::parse(bytes);
        auto const* const p = std::get_if<kubeproxy::parsed<V>>(&result);
        if (p == nullptr || p->what != kubeproxy::content::ports || p->transport != transport) return false;
        auto const t = kubeproxy::tuple_of(*p);
        if (t.destination_port != port) return false;
        sources.push_back(t.source_port);
    }
    for (unsigned i = 0; i < burst_size; ++i)
        if (sources.at(i) != 40000 + i) return false;
    return true;
}

/// An item is a packet: its parse and its tuple.
template <kubeproxy::ip_version V, burst (*make)(), std::uint32_t transport, unsigned port>
void parse_burst(benchmark::State& state) {
    auto packets = make();
    if (!is_parsed_right<V>(packets, transport, port)) return state.SkipWithError("a packet is parsed wrong");
    for (auto _ : state) {
        for (auto& bytes : packets) {
            auto const result = kubeproxy::parse(bytes);
            if (auto const* const p = std::get_if<kubeproxy::parsed<V>>(&result)) {
                auto const t = kubeproxy::tuple_of(*p);
                benchmark::DoNotOptimize(t);
            }
        }
    }
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(burst_size));
}
BENCHMARK(parse_burst<ipv4, ipv4_udp, 20, 53>)->Name("parse/ipv4_udp_64_octets");
BENCHMARK(parse_burst<ipv4, ipv4_udp_with_options, 32, 53>)->Name("parse/ipv4_udp_12_octets_of_options");
BENCHMARK(parse_burst<ipv6, ipv6_tcp, 40, 80>)->Name("parse/ipv6_tcp");
BENCHMARK(parse_burst<ipv6, ipv6_udp_behind_three_extensions, 80, 53>)->Name("parse/ipv6_udp_three_extensions");

} // namespace
