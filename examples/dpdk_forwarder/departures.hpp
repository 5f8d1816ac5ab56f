#pragma once

#include "dpdk_forwarder/addressing.hpp"
#include "dpdk_forwarder/frame_counters.hpp"
#include "dpdk_forwarder/offloads.hpp"

#include "kubeproxy/verdict.hpp"

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>

namespace dpdk {

/// Frames that leave by one queue of a port, sent together.
template <std::size_t Capacity>
class send_queue {
  public:
    /// \pre fewer than Capacity frames wait
    void add(rte_mbuf& frame) noexcept {
        assert(count_ < Capacity);
        frames_[count_++] = &frame;
    }
    /// Sends what waits, and frees what the port does not take. \return how many frames that were
    std::size_t flush(std::uint16_t port, std::uint16_t queue, std::uint64_t offloads) noexcept {
        if (count_ == 0) return 0;
        auto ready = count_;
        if ((offloads & ~RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE) != 0)
            ready = rte_eth_tx_prepare(port, queue, frames_.data(), count_);
        auto const sent = rte_eth_tx_burst(port, queue, frames_.data(), ready);
        std::size_t const left = count_ - sent;
        if (left != 0) rte_pktmbuf_free_bulk(frames_.data() + sent, static_cast<unsigned>(left));
        count_ = 0;
        return left;
    }

  private:
    std::array<rte_mbuf*, Capacity> frames_;
    std::uint16_t count_ = 0;
};

} // namespace dpdk
