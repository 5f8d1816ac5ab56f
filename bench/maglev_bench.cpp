#include "kubeproxy/service/maglev.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include <benchmark/benchmark.h>

namespace {

constexpr std::uint64_t seed = 1;

std::vector<kubeproxy::ring_backend> equal_backends(std::size_t count) {
    std::mt19937_64 random{seed};
    std::vector<kubeproxy::ring_backend> backends(count);
    for (auto& backend : backends) backend.key = random();
    return backends;
}

/// Equal backends have equal shares, one entry more or less (the paper's section 3.4).
bool is_balanced(std::vector<std::uint16_t> const& ring, std::size_t size, std::size_t backends) {
    std::vector<std::size_t> entries(backends);
    for (auto const backend : ring) ++entries.at(backend);
    auto const [smallest, largest] = std::minmax_element(entries.begin(), entries.end());
    return ring.size() == size && *largest - *smallest <= 1;
}

void ring_build(benchmark::State& state) {
    auto const size = static_cast<std::size_t>(state.range(0));
    auto const backends = equal_backends(static_cast<std::size_t>(state.range(1)));
    if (!is_balanced(kubeproxy::build_ring(backends, size, seed), size, backends.size()))
        return state.SkipWithError("shares of equal backends differ by more than an entry");
    for (auto _ : state) benchmark::DoNotOptimize(kubeproxy::build_ring(backends, size, seed));
}
BENCHMARK(ring_build)
    ->ArgNames({"entries", "backends"})
    ->ArgsProduct({{251, 4093, 65537}, {10, 100, 1000}})
    ->Unit(benchmark::kMicrosecond);

/// Half of the backends weigh 1, half 10: what weights cost beside ring_build.
void ring_build_weighted(benchmark::State& state) {
    auto const size = static_cast<std::size_t>(state.range(0));
    auto backends = equal_backends(static_cast<std::size_t>(state.range(1)));
    for (std::size_t i = 0; i < backends.size(); i += 2) backends[i].weight = 10;
    std::size_t heavy = 0;
    for (auto const backend : kubeproxy::build_ring(backends, size, seed)) heavy += backend % 2 == 0 ? 1u : 0u;
    if (heavy * 11 < size * 9 || heavy * 11 > size * 11) // ten elevenths, give or take a tenth
        return state.SkipWithError("shares do not follow the weights");
    for (auto _ : state) benchmark::DoNotOptimize(kubeproxy::build_ring(backends, size, seed));
}
BENCHMARK(ring_build_weighted)->ArgNames({"entries", "backends"})->Args({65537, 100})->Unit(benchmark::kMicrosecond);

/// A pick of each of 64 Ki random hashes, one after another: no two picks wait for each other.
void ring_pick(benchmark::State& state) {
    auto const size = static_cast<std::size_t>(state.range(0));
    auto const ring = kubeproxy::build_ring(equal_backends(100), size, seed);
    std::mt19937_64 random{seed};
    std::vector<std::uint64_t> hashes(65536);
    for (auto& hash : hashes) hash = random();
    std::vector<std::size_t> flows(100);
    for (auto const hash : hashes) ++flows.at(kubeproxy::pick(ring, hash));
    if (*std::min_element(flows.begin(), flows.end()) == 0) return state.SkipWithError("a backend is never picked");
    for (auto _ : state)
        for (auto const hash : hashes) benchmark::DoNotOptimize(kubeproxy::pick(ring, hash));
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(hashes.size()));
}
BENCHMARK(ring_pick)->ArgName("entries")->Arg(251)->Arg(4093)->Arg(65537);

} // namespace
