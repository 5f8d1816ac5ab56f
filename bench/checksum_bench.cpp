#include "kubeproxy/wire/checksum.hpp"
#include "kubeproxy/wire/crc32c.hpp"

#include "support/seed_packets.hpp"

#include <benchmark/benchmark.h>

/// The sums over a packet's bytes, and what their incremental update costs instead.
namespace {

using namespace kubeproxy;

void internet_checksum(benchmark::State& state) {
    auto const bytes = seed::counted(static_cast<std::size_t>(state.range(0)));
    auto const expected = seed::internet_checksum(bytes);
    if (checksum_of(sum_of(bytes)) != load_be<std::uint16_t>(expected, 0))
        return state.SkipWithError("the checksum is not what a second implementation finds");
    for (auto _ : state) benchmark::DoNotOptimize(checksum_of(sum_of(bytes)));
    state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(internet_checksum)->Arg(20)->Arg(64)->Arg(576)->Arg(1500)->Arg(9000);

void internet_checksum_update(benchmark::State& state) {
    std::uint16_t checksum = 0xdd2f, change = sum_change(0x5555, 0x3285);
    if (checksum_plus(checksum, change) != 0) return state.SkipWithError("not RFC 1624's example");
    for (auto _ : state) {
        benchmark::DoNotOptimize(change);
        benchmark::DoNotOptimize(checksum = checksum_plus(checksum, change));
    }
}
BENCHMARK(internet_checksum_update);

void crc32c_whole(benchmark::State& state) {
    auto const bytes = seed::counted(static_cast<std::size_t>(state.range(0)));
    if (crc32c(bytes) != load_crc32c(seed::crc32c(bytes), 0))
        return state.SkipWithError("the CRC is not what a second implementation finds");
    for (auto _ : state) benchmark::DoNotOptimize(crc32c(bytes));
    state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(crc32c_whole)->Arg(64)->Arg(1500);

void crc32c_update(benchmark::State& state) {
    auto bytes = seed::counted(static_cast<std::size_t>(state.range(0)));
    auto const before = load_be<std::uint32_t>(bytes, 0);
    auto crc = crc32c(bytes);
    auto size = static_cast<std::uint32_t>(bytes.size());
    store_be(bytes, 0, std::uint32_t{7});
    if (crc32c_after(crc, before, 7, size) != crc32c(bytes)) return state.SkipWithError("incremental is not full");
    for (auto _ : state) {
        benchmark::DoNotOptimize(size);
        benchmark::DoNotOptimize(crc = crc32c_after(crc, before, 7, size));
    }
}
BENCHMARK(crc32c_update)->Arg(64)->Arg(1500);

} // namespace
