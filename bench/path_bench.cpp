// The whole path: 64-byte UDP packets of known flows, and of new ones, from bytes to verdict, in bursts of 32.
//
// The packets lie in 32 buffers that stay in L1, as they would come from a device that writes into the cache. Before
// each burst they are filled from a template and get a flow's source: that is part of the time, and `fill_only` shows
// it.

#include "kubeproxy/control/controller.hpp"
#include "kubeproxy/dataplane/proxy.hpp"

#include "support/packet_builder.hpp"

#include <benchmark/benchmark.h>

#include <array>
#include <chrono>
#include <cstring>
#include <memory>
#include <span>
#include <string>

namespace kubeproxy {
namespace {

constexpr std::size_t burst = 32, headroom = 128;

struct translation {
    char const* name;
    char const* ku;
    char const* client;
    char const* vip;
};

constexpr std::array translations{
    translation{"44", "ku vip 90.0.0.0/8 port 80 target_port 8080\n", "11.0.0.0", "90.0.0.1"},
    translation{"66", "ku vip fd00:90::/64 port 80 target_port 8080\n", "2001:db8::", "fd00:90::1"},
    translation{"46", "ku vip 90.0.0.0/8 port 80 target_port 8080 nat6\n", "11.0.0.0", "90.0.0.1"},
    translation{"64", "ku conf snat4 198.18.0.0-198.18.0.255\nku vip fd00:90::/64 port 80 target_port 8080 nat4\n",
                "2001:db8::", "fd00:90::1"}};

[[nodiscard]] std::string configuration(translation const& t) {
    std::string ku = t.ku;
    auto const line = ku.substr(ku.find("ku vip") + 7);
    auto const prefix = line.substr(0, line.find(' '));
    bool const is_ipv6 = ku.find("nat6") != std::string::npos ||
                         (prefix.find(':') != std::string::npos && ku.find("nat4") == std::string::npos);
    for (int i = 1; i <= 100; ++i)
        ku += "ku pod " + prefix + (is_ipv6 ? " fd00:244::" : " 10.244.0.") + std::to_string(i) + '\n';
    return ku;
}

/// A data plane with packets that are made anew from a flow's number.
class bed {
  public:
    bed(translation const& t, std::uint32_t flows)
        : template_{build::bytes_of(
              {.source = t.client, .destination = t.vip, .message = seed::udp(seed::octets(size_of_data(t)), 0, 80)})},
          is_ipv6_{template_.size() != 64 || std::to_integer<unsigned>(template_[0]) >> 4 == 6},
          table_{{flows * 2 + 64, flows * 2 + 64}, 1}, control_{services_}, proxy_{table_, services_} {
        if (!control_.apply(configuration(t)).ok()) throw std::logic_error{"the configuration is refused"};
        for (auto& m : memory_) m.resize(headroom + template_.size());
        for (std::uint32_t flow = 0; flow < flows; flow += burst) {
            fill(flow, [](std::uint32_t n) { return n; });
            run([](outcome const& o) {
                if (o.what != verdict::forward()) throw std::logic_error{"a flow was not made"};
            });
        }
    }

    /// Fills the burst with the packets of flows order(first) … order(first + 31).
    template <class Order>
    void fill(std::uint32_t first, Order&& order) noexcept {
        packets_.clear();
        for (std::size_t i = 0; i < burst; ++i) {
            mutable_byte_span const memory{memory_[i]};
            std::memcpy(memory.data() + headroom, template_.data(), template_.size());
            auto const flow = order(first + static_cast<std::uint32_t>(i));
            auto const packet = memory.subspan(headroom);
            // 16 ports of each client address
            store_be<std::uint16_t>(packet, is_ipv6_ ? 40 : 20, static_cast<std::uint16_t>(1024 + flow % 16));
            if (is_ipv6_) {
                store_be<std::uint32_t>(packet, 20, flow / 16);
            } else { // a change of family verifies the header checksum
                auto const source = 0x0b00'0000u + flow / 16;
                auto const checksum = load_be<std::uint16_t>(packet, 10);
                store_be<std::uint32_t>(packet, 12, source);
                store_be<std::uint16_t>(packet, 10, checksum_plus(checksum, sum_change(0x0b00, source)));
            }
            packets_.emplace_back(memory, headroom);
        }
    }
    template <class Check>
    void run(Check&& check) {
        proxy_.process(std::span{packets_}, now_, [&](span_packet&, outcome const& o) { check(o); });
    }
    [[nodiscard]] flow_table& table() noexcept { return table_; }

  private:
    [[nodiscard]] static std::size_t size_of_data(translation const& t) {
        return std::string_view{t.vip}.find(':') == std::string_view::npos ? 36 : 16;
    }

    seed::octets template_;
    bool is_ipv6_;
    service_source services_;
    flow_table table_;
    controller control_;
    proxy<span_packet> proxy_;
    std::array<seed::octets, burst> memory_;
    std::vector<span_packet> packets_;
    std::chrono::nanoseconds now_{std::chrono::seconds{1}};
};

/// Every flow once, in an order that no prefetcher of the machine foresees.
class shuffled {
  public:
    explicit shuffled(std::uint32_t flows) noexcept : flows_{flows} {}
    std::uint32_t operator()(std::uint32_t n) const noexcept {
        return static_cast<std::uint32_t>(std::uint64_t{n * 2654435761u} * flows_ >> 32); // Knuth, TAOCP 6.4
    }

  private:
    std::uint32_t flows_;
};

void report(benchmark::State& state) {
    auto const packets = static_cast<double>(state.iterations()) * burst;
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(burst));
    state.counters["ns/packet"] =
        benchmark::Counter(packets, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void established(benchmark::State& state, translation const& t) {
    auto const flows = static_cast<std::uint32_t>(state.range(0));
    bed b{t, std::max<std::uint32_t>(flows, burst)};
    shuffled const order{flows};
    b.fill(0, order);
    std::size_t known = 0;
    b.run([&](outcome const& o) { known += o.relation == flow_relation::original && o.what == verdict::forward(); });
    if (known != burst) return state.SkipWithError("packets of known flows were not forwarded as such");
    std::uint32_t at = 0;
    std::uint64_t forwarded = 0;
    for (auto _ : state) {
        b.fill(at, order);
        b.run([&](outcome const& o) { forwarded += o.what == verdict::forward(); });
        at += burst;
    }
    if (forwarded != static_cast<std::uint64_t>(state.iterations()) * burst)
        return state.SkipWithError("packets were not forwarded");
    report(state);
}

void fill_only(benchmark::State& state, translation const& t) {
    bed b{t, burst};
    shuffled const order{1u << 20};
    std::uint32_t at = 0;
    for (auto _ : state) {
        b.fill(at, order);
        benchmark::ClobberMemory();
        at += burst;
    }
    report(state);
}

/// New flows into a table of 1M that is half full: emptied when it is three quarters full.
void new_flows(benchmark::State& state, translation const& t) {
    constexpr std::uint32_t half = 1u << 19;
    bed b{t, half};
    std::uint32_t at = half;
    for (auto _ : state) {
        b.fill(at, [](std::uint32_t n) { return n; });
        b.run([](outcome const& o) { benchmark::DoNotOptimize(o.what); });
        at += burst;
        if (at < half + half / 2) continue;
        state.PauseTiming();
        b.table().for_each([&](flow_ref flow) {
            if (b.table().body(flow).packets[0].load() == 1 && b.table().body(flow).service == 0) b.table().erase(flow);
        });
        at = half;
        state.ResumeTiming();
    }
    report(state);
}

[[maybe_unused]] bool const registered = [] {
    for (auto const& t : translations) {
        auto const name = std::string{"nat"} + t.name;
        benchmark::RegisterBenchmark((name + "/fill_only").c_str(), fill_only, t);
        benchmark::RegisterBenchmark((name + "/established").c_str(), established, t)
            ->Arg(1)
            ->Arg(1000)
            ->Arg(64 << 10)
            ->Arg(1 << 20);
        benchmark::RegisterBenchmark((name + "/new").c_str(), new_flows, t);
    }
    return true;
}();

} // namespace
} // namespace kubeproxy
