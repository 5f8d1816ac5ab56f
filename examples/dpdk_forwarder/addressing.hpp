#pragma once

#include "dpdk_forwarder/mbuf_packet.hpp"

#include <rte_ether.h>

#include <algorithm>
#include <cstdint>

/// The Ethernet header around a packet that leaves. Addresses of neighbours are not looked up: see --gateway.
namespace dpdk {

enum class addressing : std::uint8_t {
    keep,    ///< addresses stay: a bump in the wire
    swap,    ///< back to whom the frame came from
    gateway, ///< to one next hop, from the port
};

/// How frames that leave a port are addressed.
struct next_hop {
    addressing how = addressing::keep;
    rte_ether_addr gateway{};
    rte_ether_addr own{};
};

/// \pre the frame has an Ethernet header
[[nodiscard]] inline rte_ether_hdr& ethernet_of(rte_mbuf& frame) noexcept {
    return *rte_pktmbuf_mtod(&frame, rte_ether_hdr*);
}

inline void swap_addresses(rte_mbuf& frame) noexcept {
    auto& ethernet = ethernet_of(frame);
    std::swap(ethernet.src_addr, ethernet.dst_addr);
}

inline void address_frame(rte_mbuf& frame, next_hop const& hop) noexcept {
    switch (hop.how) {
    case addressing::keep: return;
    case addressing::swap: return swap_addresses(frame);
    case addressing::gateway:
        auto& ethernet = ethernet_of(frame);
        ethernet.dst_addr = hop.gateway;
        ethernet.src_addr = hop.own;
        return;
    }
}

/// The type says the version of the packet as it is now, and nothing lies behind the packet.
inline void close_frame(mbuf_packet& packet) noexcept {
    auto const bytes = packet.bytes();
    auto const link = packet.link();
    auto const type = examples::ip_version(bytes) == 6 ? examples::ether_type_ipv6 : examples::ether_type_ipv4;
    kubeproxy::store_be<std::uint16_t>(link, link.size() - 2, type);
    packet.truncate(examples::ip_size(bytes));
}

} // namespace dpdk
