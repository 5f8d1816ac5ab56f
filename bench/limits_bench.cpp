// What this machine can do: the cost of a cache line at random, and of the work that no path can leave out. The others'
// numbers are told as multiples of these.

#include "support/path_packets.hpp"

#include "kubeproxy/flow/tuple.hpp"
#include "kubeproxy/wire/packet.hpp"

#include <benchmark/benchmark.h>

#include <unistd.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <variant>
#include <vector>

namespace kubeproxy::bench {
namespace {

struct alignas(64) line {
    std::uint64_t word;
};

enum class pages { small, huge };
enum class access { read, write };

/// Lines that were written once, so that each has memory of its own.
class lines {
  public:
    lines(std::size_t bytes, pages kind) : lines_{bytes / sizeof(line)} {
#if defined(__linux__)
        if (kind == pages::small) madvise(&lines_[0], lines_.bytes(), MADV_NOHUGEPAGE);
#endif
        for (std::size_t i = 0; i < lines_.size(); ++i) lines_[i].word = i;
    }
    [[nodiscard]] std::size_t size() const noexcept { return lines_.size(); }
    [[nodiscard]] line& operator[](std::size_t i) noexcept { return lines_[i]; }

  private:
    zeroed_array<line, huge_page_memory> lines_;
};

/// Uniform, a few instructions each: the next one does not wait for a line.
class random_places {
  public:
    std::uint64_t next(std::size_t bound) noexcept {
        state_ = state_ * 0x5851'f42d'4c95'7f2du + 0x1405'7b7e'f767'814fu; // Knuth, MMIX
        return static_cast<std::uint64_t>(static_cast<unsigned __int128>(state_) * bound >> 64);
    }

  private:
    std::uint64_t state_ = 1;
};

void report(benchmark::State& state, std::size_t per_iteration) {
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(per_iteration));
    state.counters["ns/packet"] =
        benchmark::Counter(static_cast<double>(state.iterations()) * static_cast<double>(per_iteration) / 1e9,
                           benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

template <access how>
std::uint64_t use(line& l) noexcept {
    if constexpr (how == access::read) return l.word;
    return ++l.word;
}

/// A line at random of so many bytes: prefetched for a burst, then used.
template <access how>
void random_line(benchmark::State& state, std::size_t bytes, pages kind) {
    lines memory{bytes, kind};
    random_places places;
    std::uint64_t sum = 0;
    for (auto _ : state) {
        std::array<line*, burst_size> burst;
        for (auto& l : burst) __builtin_prefetch(l = &memory[places.next(memory.size())], how == access::write, 3);
        for (auto* l : burst) sum += use<how>(*l);
    }
    benchmark::DoNotOptimize(sum);
    report(state, burst_size);
}

/// Waits for each line before it knows the next.
void serial_line(benchmark::State& state, std::size_t bytes) {
    lines memory{bytes, pages::huge};
    random_places places;
    std::uint64_t sum = 0;
    for (auto _ : state)
        for (std::size_t i = 0; i < burst_size; ++i)
            sum += memory[(places.next(memory.size()) + sum % 2) % memory.size()].word;
    benchmark::DoNotOptimize(sum);
    report(state, burst_size);
}

/// What a table of so many flows cannot do without: a line of an index, and behind it the record's, one line of IPv4 or
/// two, one of them written. Sizes as the flow table's (table.hpp): 15.6 bytes of index for each of two entries.
void table_lines(benchmark::State& state, std::size_t lines_of_record) {
    auto const flows = static_cast<std::size_t>(state.range(0));
    lines index{flows * 1280 / 41 + 64, pages::huge}, records{flows * 64 * lines_of_record, pages::huge};
    random_places places;
    std::uint64_t sum = 0;
    for (auto _ : state) {
        std::array<line*, burst_size> buckets, found;
        for (auto& b : buckets) __builtin_prefetch(b = &index[places.next(index.size())], 0, 3);
        for (std::size_t i = 0; i < burst_size; ++i) {
            auto const place = (places.next(flows) + (buckets[i]->word & 1)) % flows; // waits for the bucket
            found[i] = &records[place * lines_of_record];
            for (std::size_t more = 0; more < lines_of_record; ++more) __builtin_prefetch(found[i] + more, 1, 3);
        }
        for (auto* l : found) sum += l->word + ++l[lines_of_record - 1].word;
    }
    benchmark::DoNotOptimize(sum);
    report(state, burst_size);
}

/// Packets where the path finds them too, of flows that are all different.
std::unique_ptr<packet_buffers> packets_of(translation const& t) {
    auto buffers = std::make_unique<packet_buffers>(32);
    client_flows const flows{t, transport::udp};
    for (std::size_t slot = 0; slot < buffers->size(); ++slot)
        flows.write_request(buffers->renew(slot, 64), static_cast<std::uint32_t>(slot));
    return buffers;
}

/// Headers to tuple, no more.
template <ip_version V>
void parse_only(benchmark::State& state, translation const& t) {
    auto const packets = packets_of(t);
    std::uint64_t ports = 0;
    for (auto _ : state)
        for (std::size_t slot = 0; slot < packets->size(); ++slot) {
            auto const result = parse((*packets)[slot].bytes());
            if (auto const* const p = std::get_if<parsed<V>>(&result)) ports += tuple_of(*p).source_port;
        }
    benchmark::DoNotOptimize(ports);
    if (ports == 0) return state.SkipWithError("no packet was parsed");
    report(state, packets->size());
}

/// Carries a known change of addresses and ports into both checksums, no more.
void checksums_only(benchmark::State& state, translation const& t, std::optional<std::size_t> header_at,
                    std::size_t transport_at) {
    auto const packets = packets_of(t);
    auto const carry = [](mutable_byte_span bytes, std::size_t at, std::uint16_t change) {
        store_be(bytes, at, checksum_plus(load_be<std::uint16_t>(bytes, at), change));
    };
    std::uint16_t change = 0x1234;
    for (auto _ : state) {
        benchmark::DoNotOptimize(change);
        for (std::size_t slot = 0; slot < packets->size(); ++slot) {
            auto const bytes = (*packets)[slot].bytes();
            if (header_at) carry(bytes, *header_at, change);
            carry(bytes, transport_at, change);
        }
        benchmark::ClobberMemory();
    }
    report(state, packets->size());
}

void clock_reading(benchmark::State& state) {
    for (auto _ : state) benchmark::DoNotOptimize(std::chrono::steady_clock::now());
    report(state, 1);
}
BENCHMARK(clock_reading);

std::size_t cache_size(int name, std::size_t otherwise) {
    auto const bytes = sysconf(name);
    return bytes > 0 ? static_cast<std::size_t>(bytes) : otherwise;
}

[[maybe_unused]] bool const registered = [] {
    auto const add = [](std::string const& name, auto run) { return benchmark::RegisterBenchmark(name.c_str(), run); };
    auto const second = cache_size(_SC_LEVEL2_CACHE_SIZE, 1 << 20);
    struct place {
        char const* name;
        std::size_t bytes;
    };
    // A third-level cache is shared: what one core may call its own is told by no system, so it is twice the second.
    for (auto const& at : {place{"L2", second / 2}, {"L3", 2 * second}, {"DRAM/1073741824", 1 << 30}}) {
        auto const name = std::string{at.name};
        auto const bytes = at.bytes;
        for (auto const kind : {pages::huge, pages::small}) {
            auto const of = std::string{kind == pages::huge ? "/huge/" : "/4k/"} + name;
            add("line/read" + of, [=](auto& state) { random_line<access::read>(state, bytes, kind); });
            add("line/write" + of, [=](auto& state) { random_line<access::write>(state, bytes, kind); });
        }
        add("line/serial/huge/" + name, [=](auto& state) { serial_line(state, bytes); });
    }
    for (auto const flows : {1 << 10, 1 << 16, 1 << 20, 1 << 23}) {
        add("table_lines/narrow", [](auto& state) { table_lines(state, 1); })->Arg(flows);
        add("table_lines/wide", [](auto& state) { table_lines(state, 2); })->Arg(flows);
    }
    add("parse_only/ipv4", [](auto& state) { parse_only<ipv4>(state, translations[0]); });
    add("parse_only/ipv6", [](auto& state) { parse_only<ipv6>(state, translations[1]); });
    add("checksums_only/ipv4", [](auto& state) { checksums_only(state, translations[0], 10, 26); });
    add("checksums_only/ipv6", [](auto& state) { checksums_only(state, translations[1], std::nullopt, 46); });
    return true;
}();

} // namespace
} // namespace kubeproxy::bench
