#include "kubeproxy/flow/fragment_store.hpp"
#include "kubeproxy/flow/fragments.hpp"

#include "support/reassembly.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include <benchmark/benchmark.h>

namespace {

using namespace std::chrono_literals;
using kubeproxy::flow_time;
using kubeproxy::ipv4;
using kubeproxy::ipv6;
using kubeproxy::reassembly::octets;

constexpr std::uint64_t seed = 1;
constexpr std::size_t lookups = 65536;

template <class V>
octets later_fragment(std::uint32_t identification, std::size_t size) {
    auto const message = kubeproxy::reassembly::example_message(sizeof(typename V::address), identification,
                                                                kubeproxy::ip_protocol::udp, 8 + size);
    return kubeproxy::reassembly::part_of(message, 8, size);
}

/// Keys of as many messages, in random order.
template <class V>
std::vector<kubeproxy::fragment_key<V>> keys(std::size_t count) {
    auto packet = later_fragment<V>(0, 64);
    std::vector<kubeproxy::fragment_key<V>> result(count,
                                                   kubeproxy::fragment_key<V>::of(kubeproxy::parse_as<V>(packet)));
    for (std::uint32_t i = 0; i < count; ++i) result[i].identification = i;
    std::shuffle(result.begin(), result.end(), std::mt19937_64{seed});
    return result;
}

/// Each of 64 Ki later fragments asks for the tuple of a random message among those the table knows.
template <class V>
void later_fragment_lookup(benchmark::State& state) {
    auto const messages = static_cast<std::size_t>(state.range(0));
    kubeproxy::fragment_table<V> table{seed, {.messages = messages * 2, .lifetime = 30s}};
    auto known = keys<V>(messages);
    for (auto const& key : known) table.note_first(key, {key.source, key.destination, 4000, 53, 17}, flow_time{1s});
    std::erase_if(known, [&](auto const& key) { return !table.find(key, flow_time{1s}); });
    if (known.size() * 10 < messages * 9) return state.SkipWithError("too many messages were evicted");
    std::mt19937_64 random{seed};
    std::vector<kubeproxy::fragment_key<V>> asked(lookups);
    for (auto& key : asked) key = known[random() % known.size()];
    for (auto _ : state)
        for (auto const& key : asked) benchmark::DoNotOptimize(table.find(key, flow_time{2s}));
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(lookups));
}
BENCHMARK(later_fragment_lookup<ipv4>)->ArgName("messages")->Arg(1024)->Arg(65536);
BENCHMARK(later_fragment_lookup<ipv6>)->ArgName("messages")->Arg(1024)->Arg(65536);

/// First fragments of ever new messages: each but the first evicts one.
template <class V>
void first_fragment_flood(benchmark::State& state) {
    kubeproxy::fragment_table<V> table{seed};
    auto const flood = keys<V>(lookups);
    for (auto _ : state)
        for (auto const& key : flood) table.note_first(key, {key.source, key.destination, 4000, 53, 17}, flow_time{1s});
    if (table.counters().evicted == 0) state.SkipWithError("nothing was evicted");
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(lookups));
}
BENCHMARK(first_fragment_flood<ipv4>);
BENCHMARK(first_fragment_flood<ipv6>);

/// Early fragments of 1,000 bytes of ever new messages whose first one never comes: each evicts one.
template <class V>
void early_fragment_flood(benchmark::State& state) {
    kubeproxy::fragment_store<V> store{seed};
    std::vector<octets> packets;
    for (std::uint32_t i = 0; i < 1024; ++i) packets.push_back(later_fragment<V>(i, 1000));
    std::vector<kubeproxy::parsed<V>> flood;
    for (auto& packet : packets) flood.push_back(kubeproxy::parse_as<V>(packet));
    for (auto _ : state)
        for (auto const& p : flood) benchmark::DoNotOptimize(store.hold(p, flow_time{1s}));
    if (store.counters().evicted == 0 || store.counters().refused != 0)
        state.SkipWithError("the flood was not held and evicted");
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(flood.size()));
}
BENCHMARK(early_fragment_flood<ipv4>);
BENCHMARK(early_fragment_flood<ipv6>);

} // namespace
