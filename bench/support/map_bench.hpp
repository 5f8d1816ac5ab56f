#pragma once

#include "flow_tuples.hpp"

#include "kubeproxy/sync/memory.hpp"

#include <benchmark/benchmark.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>

/// What a general map does with the flow table's work: both tuples of a flow are keys, and the value is as large as
/// what the table's index keeps. Its memory is huge pages too, and lookups come in batches where it has a way to say
/// so.
///
/// Map: construct with a number of keys; insert(tuple, value), erase(tuple) -> bool;
///      find(tuples, 32) -> how many are there; prefetch(tuple), for what is looked up soon
namespace kubeproxy::bench {

/// Never destroyed: maps that are kept to the end give back to it.
[[nodiscard]] inline auto& blocks_of_maps() {
    static auto* const blocks = new std::map<void const*, memory_block>;
    return *blocks;
}

/// An allocator over huge pages, for maps of the standard's kind.
template <class T>
struct huge_page_allocator {
    using value_type = T;
    huge_page_allocator() = default;
    template <class U>
    huge_page_allocator(huge_page_allocator<U> const&) noexcept {}

    [[nodiscard]] T* allocate(std::size_t n) {
        auto const block = huge_page_memory::allocate(n * sizeof(T));
        blocks_of_maps().emplace(block.start, block);
        return static_cast<T*>(block.start);
    }
    void deallocate(T* p, std::size_t) noexcept {
        auto const block = blocks_of_maps().extract(p);
        huge_page_memory::release(block.mapped());
    }
    template <class U>
    bool operator==(huge_page_allocator<U> const&) const noexcept {
        return true;
    }
};

template <class Map>
void enter_flow(Map& map, std::uint64_t n) {
    map.insert(original<ipv4>(n), n + 1);
    map.insert(translated<ipv4>(n).mirrored(), n + 1);
}

inline void report_flows(benchmark::State& state, std::uint64_t done) {
    state.SetItemsProcessed(static_cast<std::int64_t>(done));
    state.counters["ns/packet"] =
        benchmark::Counter(static_cast<double>(done) / 1e9, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

/// Batches of 32 lookups of random packets. The argument is the number of flows: half the number of keys.
template <class Map>
void map_hit(benchmark::State& state) {
    static kept<Map> maps;
    auto const flows = static_cast<std::uint64_t>(state.range(0));
    auto& map = maps.of(flows, [&] {
        auto filled = std::make_unique<Map>(2 * flows);
        for (std::uint64_t n = 0; n < flows; ++n) enter_flow(*filled, n);
        return filled;
    });
    auto const packets = random_packets<ipv4>(flows);
    std::uint64_t looked = 0, found = 0;
    for (auto _ : state) {
        found += map.find(packets.data() + looked % packets.size(), tuple_burst);
        looked += tuple_burst;
    }
    if (found != looked) return state.SkipWithError("a lookup missed");
    report_flows(state, looked);
}

/// A flow ends and another begins: two keys go, two come.
template <class Map>
void map_churn(benchmark::State& state) {
    auto const flows = static_cast<std::uint64_t>(state.range(0));
    Map map(2 * flows);
    for (std::uint64_t n = 0; n < flows; ++n) enter_flow(map, n);
    std::uint64_t next = flows, wrong = 0;
    for (auto _ : state) {
        for (auto n = next; n < next + tuple_burst; ++n)
            for (auto const of : {n - flows, n}) {
                map.prefetch(original<ipv4>(of));
                map.prefetch(translated<ipv4>(of).mirrored());
            }
        for (std::size_t i = 0; i < tuple_burst; ++i, ++next) {
            wrong += map.erase(original<ipv4>(next - flows)) ? 0u : 1u;
            wrong += map.erase(translated<ipv4>(next - flows).mirrored()) ? 0u : 1u;
            enter_flow(map, next);
        }
    }
    if (wrong != 0) return state.SkipWithError("a key was lost");
    report_flows(state, next - flows);
}

inline constexpr std::array map_sizes{1000, 64'000, 1'000'000, 3'350'000};

template <class Map>
void register_map(char const* name) {
    auto* const hit = benchmark::RegisterBenchmark((std::string{name} + "/hit").c_str(), map_hit<Map>);
    auto* const churn = benchmark::RegisterBenchmark((std::string{name} + "/churn").c_str(), map_churn<Map>);
    for (auto const flows : map_sizes) {
        hit->Arg(flows);
        churn->Arg(flows);
    }
    churn->Iterations(20'000); // filling it takes longer than that
}

} // namespace kubeproxy::bench
