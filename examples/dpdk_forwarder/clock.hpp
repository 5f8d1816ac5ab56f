#pragma once

#include "dpdk_forwarder/mbuf_packet.hpp"

#include <rte_cycles.h>
#include <rte_mbuf_dyn.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

namespace dpdk {

/// The time of bursts: the processor's time stamp counter, or what the device wrote beside its packets.
class packet_clock {
  public:
    /// The counter, from when the machine started.
    packet_clock() = default;
    /// Times of packets in microseconds, as net_pcap gives those of its capture.
    /// \param offset of the field in an rte_mbuf \param flag in ol_flags, where the field is valid
    packet_clock(int offset, std::uint64_t flag) noexcept : offset_{offset}, flag_{flag} {}

    /// How many of the packets, from the first on, may share a burst: all but those of a millisecond later.
    [[nodiscard]] std::span<mbuf_packet> same_time(std::span<mbuf_packet> packets) noexcept {
        if (offset_ < 0) return packets;
        now_ = std::max(now_, time_of(packets.front()));
        auto const later = std::ranges::find_if(
            packets, [&](mbuf_packet const& p) { return time_of(p) > now_ + std::chrono::milliseconds{1}; });
        return packets.first(static_cast<std::size_t>(later - packets.begin()));
    }

    [[nodiscard]] std::chrono::nanoseconds now() const noexcept {
        if (offset_ >= 0) return now_;
        return std::chrono::nanoseconds{static_cast<std::int64_t>(static_cast<double>(rte_rdtsc()) * tick_)};
    }

  private:
    [[nodiscard]] std::chrono::nanoseconds time_of(mbuf_packet const& packet) const noexcept {
        auto& frame = packet.frame();
        if ((frame.ol_flags & flag_) == 0) return now_;
        auto const microseconds = *RTE_MBUF_DYNFIELD(&frame, offset_, rte_mbuf_timestamp_t*);
        constexpr std::uint64_t latest = 9'000'000'000'000'000; // the year 2255: 64 bits of nanoseconds end soon
        return std::chrono::microseconds{static_cast<std::int64_t>(std::min(microseconds, latest))};
    }

    int offset_ = -1;
    std::uint64_t flag_ = 0;
    std::chrono::nanoseconds now_{};
    double tick_ = 1e9 / static_cast<double>(rte_get_tsc_hz());
};

} // namespace dpdk
