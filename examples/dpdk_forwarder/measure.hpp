#pragma once

#include "dpdk_forwarder/forwarder.hpp"
#include "dpdk_forwarder/options.hpp"
#include "dpdk_forwarder/source.hpp"
#include "dpdk_forwarder/worker.hpp"

#include "support/command_line.hpp"

#include <rte_cycles.h>
#include <rte_lcore.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iomanip>
#include <memory>
#include <ostream>
#include <span>
#include <vector>

/// How many packets a second the program forwards with the library and without.
///
/// The source (source.hpp) gives both the same packets. Rounds of both take turns, for a machine's clock drifts; of
/// each the median counts.
namespace dpdk {

namespace detail {

enum class subject : std::uint8_t { source, baseline, proxy, count_ };
inline constexpr std::size_t subject_count = static_cast<std::size_t>(subject::count_);

/// Packets a second, all lcores together.
template <class Round>
[[nodiscard]] double rate_of(forwarder& all, unsigned lcores, std::chrono::duration<double> lasts, Round round) {
    struct alignas(64) count {
        std::uint64_t frames = 0;
    };
    std::vector<count> counts(rte_lcore_count());
    auto const begin = rte_rdtsc();
    auto const end = begin + static_cast<std::uint64_t>(lasts.count() * static_cast<double>(rte_get_tsc_hz()));
    all.run_on(
        lcores,
        [&](worker& w) {
            auto& mine = counts[w.index()].frames;
            for (unsigned i = 0; i < 64; ++i) mine += round(w);
        },
        [end] { return rte_rdtsc() < end; });
    std::uint64_t frames = 0;
    for (auto const& c : counts) frames += c.frames;
    return static_cast<double>(frames) * static_cast<double>(rte_get_tsc_hz()) /
           static_cast<double>(rte_rdtsc() - begin);
}

/// What receiving and sending alone cost with the source.
inline std::size_t return_burst(std::uint16_t port, std::uint16_t queue) noexcept {
    std::array<rte_mbuf*, worker::burst_size> frames;
    auto const count = rte_eth_rx_burst(port, queue, frames.data(), worker::burst_size);
    auto const sent = rte_eth_tx_burst(port, queue, frames.data(), count);
    if (sent < count) rte_pktmbuf_free_bulk(frames.data() + sent, static_cast<unsigned>(count - sent));
    return count;
}

using rates = std::array<double, subject_count>;

[[nodiscard]] inline rates measure_on(forwarder& all, unsigned lcores, std::chrono::duration<double> lasts) {
    constexpr std::size_t rounds = 7;
    std::array<std::array<double, rounds>, subject_count> found{};
    auto const port = all.ports().all()[0]->number();
    for (std::size_t i = 0; i < rounds; ++i) {
        found[0][i] = rate_of(all, lcores, lasts, [port](worker& w) { return return_burst(port, w.index()); });
        found[1][i] = rate_of(all, lcores, lasts, [](worker& w) { return w.poll<work::baseline>(); });
        found[2][i] = rate_of(all, lcores, lasts, [](worker& w) { return w.poll<work::proxy>(); });
    }
    rates medians{};
    for (std::size_t s = 0; s < subject_count; ++s) {
        std::ranges::sort(found[s]);
        medians[s] = found[s][rounds / 2];
    }
    return medians;
}

inline void print_rates(std::ostream& out, unsigned lcores, rates const& r) {
    constexpr std::array names{"receive and send", "count and forward (baseline)", "NAT44"};
    out << lcores << (lcores == 1 ? " lcore" : " lcores") << '\n' << std::fixed;
    for (std::size_t s = 0; s < subject_count; ++s)
        out << "  " << std::left << std::setw(30) << names[s] << std::right << std::setprecision(2) << std::setw(8)
            << r[s] / 1e6 << " Mpps" << std::setprecision(1) << std::setw(8) << 1e9 * lcores / r[s]
            << " ns a packet and lcore\n";
    out << "  NAT44 of the baseline" << std::setw(16) << 100 * r[2] / r[1] << " %\n";
}

} // namespace detail

/// \pre no other port than net_null's first one
inline void measure(std::ostream& out, settings s) {
    if (!s.config.ku.empty() || !s.config.kubernetes.empty())
        throw examples::startup_error{"--measure brings a configuration of its own"};
    s.how = addressing::swap;
    forwarder all{s};
    packet_source const source{all};
    out << "64-byte frames, UDP, " << packet_source::flows << " established flows, both directions, bursts of "
        << worker::burst_size << ", port " << all.ports().all()[0]->name() << '\n';
    auto const one = detail::measure_on(all, 1, s.round);
    detail::print_rates(out, 1, one);
    auto const lcores = rte_lcore_count();
    if (lcores == 1) return;
    auto const more = detail::measure_on(all, lcores, s.round);
    detail::print_rates(out, lcores, more);
    out << "  NAT44 of one lcore" << std::setprecision(2) << std::setw(19) << more[2] / one[2] << " times\n";
}

} // namespace dpdk
