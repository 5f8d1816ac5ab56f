// Which service an address and a port belong to, among 10, 1000 and 100,000: in bursts of 32 that are prefetched first.

#include "kubeproxy/service/frontend_index.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include <benchmark/benchmark.h>

namespace {

using kubeproxy::ipv4;
using kubeproxy::ipv6;

constexpr std::size_t burst_size = 32;
constexpr std::uint8_t tcp = 6;

/// Cluster IPs stand side by side in a service range, as an allocator gives them out.
template <kubeproxy::ip_version V>
typename V::address cluster_ip(std::uint32_t n) {
    typename V::address a{};
    a[0] = std::byte{10};
    for (std::size_t i = 0; i < 4; ++i) a[a.size() - 1 - i] |= static_cast<std::byte>(n >> 8 * i);
    return a;
}

template <kubeproxy::ip_version V>
kubeproxy::frontend_index<V> index_of(std::uint32_t services) {
    std::vector<kubeproxy::frontend<V>> frontends(services);
    for (std::uint32_t i = 0; i < services; ++i)
        frontends[i] = {
            .vip = {cluster_ip<V>(i), kubeproxy::address_bits<V>}, .port = 443, .protocol = tcp, .service = i};
    return kubeproxy::frontend_index<V>{std::move(frontends)};
}

/// First packets of flows to random services.
template <kubeproxy::ip_version V>
void service_lookup(benchmark::State& state) {
    auto const services = static_cast<std::uint32_t>(state.range(0));
    auto const index = index_of<V>(services);
    struct question {
        typename V::address address;
        std::uint32_t service;
    };
    std::mt19937 random{7};
    std::vector<question> asked(1 << 16);
    for (auto& q : asked) {
        q.service = static_cast<std::uint32_t>(std::uint64_t{random()} * services >> 32);
        q.address = cluster_ip<V>(q.service);
    }
    std::size_t at = 0;
    std::uint64_t wrong = 0;
    for (auto _ : state) {
        auto const* const burst = asked.data() + at % asked.size();
        for (std::size_t i = 0; i < burst_size; ++i) index.prefetch(burst[i].address, 443, tcp);
        for (std::size_t i = 0; i < burst_size; ++i) {
            auto const* const found = index.find(burst[i].address, 443, tcp);
            wrong += found == nullptr || found->service != burst[i].service ? 1u : 0u;
        }
        at += burst_size;
    }
    if (wrong != 0) return state.SkipWithError("a service was not found, or another one was");
    state.SetItemsProcessed(static_cast<std::int64_t>(at));
    state.counters["ns/packet"] =
        benchmark::Counter(static_cast<double>(at) / 1e9, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK(service_lookup<ipv4>)->Name("service_lookup/ipv4")->Arg(10)->Arg(1000)->Arg(100'000);
BENCHMARK(service_lookup<ipv6>)->Name("service_lookup/ipv6")->Arg(10)->Arg(1000)->Arg(100'000);

} // namespace
