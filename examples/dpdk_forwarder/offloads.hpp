#pragma once

#include "dpdk_forwarder/mbuf_packet.hpp"

#include "kubeproxy/flow/tuple.hpp"
#include "kubeproxy/wire/checksum.hpp"
#include "kubeproxy/wire/packet.hpp"

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <variant>

/// What the port that received a packet left undone, as an order to the port that sends it, or done here.
namespace dpdk {

namespace detail {

/// The transport header of a TCP or UDP packet, which a device can find by sizes alone.
struct transport_place {
    mutable_byte_span segment; ///< from the transport header to the end of the payload
    std::size_t network_size;
    std::size_t header_size;
    std::size_t checksum_offset; ///< in the segment
    std::uint16_t pseudo_sum;    ///< with a length of 0, as devices that cut want it
    std::uint64_t version_flag;  ///< RTE_MBUF_F_TX_IPV4, _IPV6
    std::uint64_t checksum_flag; ///< RTE_MBUF_F_TX_TCP_CKSUM, _UDP_CKSUM
    std::uint64_t port_can;      ///< RTE_ETH_TX_OFFLOAD_TCP_CKSUM, _UDP_CKSUM
};

template <kubeproxy::ip_version V>
[[nodiscard]] std::optional<transport_place> place_in(kubeproxy::parsed<V> const& p) noexcept {
    bool const is_tcp = p.protocol == kubeproxy::ip_protocol::tcp, is_udp = p.protocol == kubeproxy::ip_protocol::udp;
    if (p.what != kubeproxy::content::ports || p.is_fragment || !(is_tcp || is_udp)) return std::nullopt;
    auto const key = kubeproxy::tuple_of(p);
    return transport_place{
        .segment = p.payload(),
        .network_size = p.transport,
        .header_size = is_udp ? 8u : (kubeproxy::load_be<std::uint8_t>(p.payload(), 12) >> 4) * 4u,
        .checksum_offset = is_udp ? 6u : 16u,
        .pseudo_sum = kubeproxy::fold(kubeproxy::pseudo_header_sum(key.source, key.destination, p.protocol, 0)),
        .version_flag = std::same_as<V, kubeproxy::ipv4> ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6,
        .checksum_flag = is_udp ? RTE_MBUF_F_TX_UDP_CKSUM : RTE_MBUF_F_TX_TCP_CKSUM,
        .port_can = is_udp ? RTE_ETH_TX_OFFLOAD_UDP_CKSUM : RTE_ETH_TX_OFFLOAD_TCP_CKSUM};
}

[[nodiscard]] inline std::optional<transport_place> find_transport(mutable_byte_span packet) noexcept {
    auto const headers = kubeproxy::parse(packet);
    if (auto const* p = std::get_if<kubeproxy::parsed<kubeproxy::ipv4>>(&headers)) return place_in(*p);
    if (auto const* p = std::get_if<kubeproxy::parsed<kubeproxy::ipv6>>(&headers)) return place_in(*p);
    return std::nullopt;
}

/// The fields of an rte_mbuf are 7, 9 and 8 bits wide; extension headers may be longer.
[[nodiscard]] inline bool can_describe(mbuf_packet const& packet, transport_place const& place) noexcept {
    return packet.link().size() <= 0x7f && place.network_size <= 0x1ff && place.header_size <= 0xff;
}

/// \pre can_describe(packet, place)
inline void describe_headers(mbuf_packet const& packet, transport_place const& place) noexcept {
    auto& frame = packet.frame();
    frame.l2_len = packet.link().size() & 0x7f;
    frame.l3_len = place.network_size & 0x1ff;
    frame.l4_len = place.header_size & 0xff;
}

/// The device cuts the packet into segments; it adds the length of each to the sum of the pseudo-header, and makes
/// each IPv4 header's checksum.
inline void order_segmentation(mbuf_packet const& packet, transport_place const& place) noexcept {
    auto& frame = packet.frame();
    frame.ol_flags = place.version_flag | RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM;
    if (place.version_flag == RTE_MBUF_F_TX_IPV4) {
        frame.ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
        kubeproxy::store_be<std::uint16_t>(packet.bytes(), 10, 0);
    }
    kubeproxy::store_be(place.segment, place.checksum_offset, place.pseudo_sum);
    describe_headers(packet, place);
}

inline void complete_checksum(transport_place const& place) noexcept {
    auto const sum = kubeproxy::checksum_of(kubeproxy::sum_of(place.segment));
    bool const is_udp = place.checksum_flag == RTE_MBUF_F_TX_UDP_CKSUM;
    kubeproxy::store_be(place.segment, place.checksum_offset, is_udp ? kubeproxy::udp_checksum(sum) : sum);
}

} // namespace detail

/// Gives a packet the checksum that it lacks and the segments that it stands for: orders them of the sending port where
/// that can, computes the checksum where it cannot.
/// \param port_can RTE_ETH_TX_OFFLOAD_…, as the port is configured
/// \return false when nobody can: segments without a port that cuts, a partial checksum of no TCP and no UDP
[[nodiscard]] inline bool settle_offloads(mbuf_packet const& packet, std::uint64_t port_can) noexcept {
    auto const segment_size = packet.gso_size();
    bool const is_partial = packet.transport_checksum() == kubeproxy::checksum_state::partial;
    if (!is_partial && segment_size == 0) return true;
    auto const place = detail::find_transport(packet.bytes());
    if (!place) return false;
    if (segment_size != 0 && place->segment.size() > place->header_size + segment_size) {
        bool const can = place->checksum_flag == RTE_MBUF_F_TX_TCP_CKSUM &&
                         (port_can & RTE_ETH_TX_OFFLOAD_TCP_TSO) != 0 && detail::can_describe(packet, *place);
        if (can) detail::order_segmentation(packet, *place); // tso_segsz is there since the packet was received
        return can;
    }
    packet.frame().ol_flags = 0;
    if (!is_partial) return true;
    if ((port_can & place->port_can) == 0 || !detail::can_describe(packet, *place)) {
        detail::complete_checksum(*place);
    } else {
        packet.frame().ol_flags = place->version_flag | place->checksum_flag;
        detail::describe_headers(packet, *place);
    }
    return true;
}

/// An answer is complete: what was noted of the packet that it answers is void.
inline void forget_offloads(mbuf_packet const& packet) noexcept { packet.frame().ol_flags = 0; }

} // namespace dpdk
