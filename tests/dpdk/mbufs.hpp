#pragma once

#include "dpdk_forwarder/mbuf_packet.hpp"

#include "support/seed_packets.hpp"

#include <rte_mbuf.h>

#include <gtest/gtest.h>

#include <cstring>
#include <string_view>

/// Buffers of a real pool for tests; main.cpp starts DPDK's environment.
namespace dpdk::testing {

using kubeproxy::seed::octets;

inline octets const ethernet_ipv4 = kubeproxy::seed::of({2, 0, 0, 0, 0, 0xfe, 2, 0, 0, 0, 0, 1, 8, 0});
inline octets const ethernet_ipv6 = kubeproxy::seed::of({2, 0, 0, 0, 0, 0xfe, 2, 0, 0, 0, 0, 1, 0x86, 0xdd});
inline octets const tagged_ipv4 = kubeproxy::seed::of({2, 0, 0, 0, 0, 0xfe, 2, 0, 0, 0, 0, 1, 0x81, 0, 0, 7, 8, 0});

class mbufs : public ::testing::Test {
  protected:
    static constexpr unsigned pool_size = 15;

    mbufs() : pool_{rte_pktmbuf_pool_create("tests", pool_size, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY)} {
        if (pool_ == nullptr) throw std::runtime_error{"no memory for a pool"};
    }
    ~mbufs() override {
        EXPECT_EQ(rte_mempool_avail_count(pool_), pool_size - in_use_) << "a buffer was lost, or freed twice";
        rte_mempool_free(pool_);
    }

    /// A frame as a device hands it over; it is freed with the pool.
    mbuf_packet packet_of(octets const& link, octets const& packet) {
        auto* const frame = rte_pktmbuf_alloc(pool_);
        if (frame == nullptr) throw std::runtime_error{"the pool is empty"};
        ++in_use_;
        auto const size = static_cast<std::uint16_t>(link.size() + packet.size());
        auto* const bytes = rte_pktmbuf_append(frame, size);
        std::memcpy(bytes, link.data(), link.size());
        std::memcpy(bytes + link.size(), packet.data(), packet.size());
        return {*frame, link.size()};
    }
    void release(rte_mbuf& frame, bool was_handed_in) {
        rte_pktmbuf_free(&frame);
        if (was_handed_in) --in_use_;
    }

    static octets bytes_of(mbuf_packet const& packet) {
        auto const bytes = packet.bytes();
        return {bytes.begin(), bytes.end()};
    }
    static octets link_of(mbuf_packet const& packet) {
        auto const bytes = packet.link();
        return {bytes.begin(), bytes.end()};
    }

    rte_mempool* pool_;
    unsigned in_use_ = 0;
};

} // namespace dpdk::testing
