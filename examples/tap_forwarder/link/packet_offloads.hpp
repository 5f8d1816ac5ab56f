#pragma once

#include "kubeproxy/wire/checksum.hpp"
#include "kubeproxy/wire/packet.hpp"
#include "tap_forwarder/link/tap_packet.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>

/// What a virtio-net header says, made true of a packet, and said again of what became of it.
namespace examples {

/// Headers that every segment of a super-packet repeats, from the IP header on.
template <kubeproxy::ip_version V>
[[nodiscard]] std::size_t segment_headers(kubeproxy::parsed<V> const& p) noexcept {
    if (p.protocol != kubeproxy::ip_protocol::tcp) return p.transport + kubeproxy::transport_header_size(p.protocol);
    std::size_t const offset_and_flags = kubeproxy::load_be<std::uint8_t>(p.payload(), kubeproxy::tcp_at::data_offset);
    return p.transport + (offset_and_flags >> 4) * 4;
}

/// Whether the transport header holds a checksum that devices know how to complete.
template <kubeproxy::ip_version V>
[[nodiscard]] bool has_transport_sum(kubeproxy::parsed<V> const& p) noexcept {
    return p.what == kubeproxy::content::ports && !p.is_fragment && p.flaw == kubeproxy::drop_reason::none &&
           (p.protocol == kubeproxy::ip_protocol::tcp || p.protocol == kubeproxy::ip_protocol::udp);
}

/// The sum of the pseudo-header, as a partial checksum holds it.
template <kubeproxy::ip_version V>
[[nodiscard]] std::uint16_t pseudo_sum(kubeproxy::parsed<V> const& p, std::size_t length) noexcept {
    using view = std::conditional_t<std::same_as<V, kubeproxy::ipv4>, kubeproxy::ipv4_view, kubeproxy::ipv6_view>;
    view const ip{p.bytes};
    return kubeproxy::fold(
        kubeproxy::pseudo_header_sum(ip.source(), ip.destination(), p.protocol, static_cast<std::uint32_t>(length)));
}

namespace detail {

template <kubeproxy::ip_version V>
[[nodiscard]] constexpr std::uint8_t gso_type(std::uint8_t protocol) noexcept {
    if (protocol == kubeproxy::ip_protocol::udp) return vnet_header::gso_udp;
    return std::same_as<V, kubeproxy::ipv4> ? vnet_header::gso_tcpv4 : vnet_header::gso_tcpv6;
}

/// Sums what the header says and writes the checksum, whatever protocol it is: also of what the router does not know.
/// \return false: it lies outside the packet
[[nodiscard]] inline bool complete_at(mutable_byte_span bytes, std::size_t start, std::size_t offset) noexcept {
    if (start > bytes.size() || offset > bytes.size() - start || bytes.size() - start - offset < 2) return false;
    auto const sum = kubeproxy::sum_of(bytes.subspan(start));
    kubeproxy::store_be(bytes, start + offset, kubeproxy::udp_checksum(kubeproxy::checksum_of(sum)));
    return true;
}

} // namespace detail

/// Completes a partial checksum. O(bytes). \pre the packet's checksum is partial, and has_transport_sum(p)
template <kubeproxy::ip_version V>
void complete_checksum(tap_packet& packet, kubeproxy::parsed<V> const& p) noexcept {
    static_cast<void>(detail::complete_at(p.bytes, p.transport, kubeproxy::checksum_offset(p.protocol)));
    auto left = packet.left_over();
    left.checksum = kubeproxy::checksum_state::complete;
    packet.leave_over(left);
}

/// Notes at the packet what the device said about it. What says nothing that the library could carry through a
/// translation is done at once: a checksum of another protocol.
/// \pre `p` was parsed from packet.bytes(). \return none, or why the header does not fit
template <kubeproxy::ip_version V>
[[nodiscard]] bool adopt_offloads(tap_packet& packet, kubeproxy::parsed<V> const& p, vnet_header const& h) noexcept {
    using kubeproxy::checksum_state;
    offloads left;
    auto const gso = static_cast<std::uint8_t>(h.gso_type & ~vnet_header::gso_ecn);
    if (gso != vnet_header::no_gso) {
        if (!has_transport_sum(p) || gso != detail::gso_type<V>(p.protocol) || h.gso_size == 0) return false;
        auto const headers = segment_headers(p);
        if (headers < p.transport + kubeproxy::transport_header_size(p.protocol) || headers > p.bytes.size())
            return false;
        if (p.bytes.size() > headers + h.gso_size) left.gso_size = h.gso_size; // else it is one segment already
        left.is_ecn = (h.gso_type & vnet_header::gso_ecn) != 0;
    }
    if ((h.flags & vnet_header::needs_checksum) != 0) {
        if (h.checksum_start < ethernet_header::size) return false;
        auto const start = std::size_t{h.checksum_start} - ethernet_header::size;
        bool const is_known =
            has_transport_sum(p) && start == p.transport && h.checksum_offset == kubeproxy::checksum_offset(p.protocol);
        if (!is_known && (left.gso_size != 0 || !detail::complete_at(p.bytes, start, h.checksum_offset))) return false;
        if (is_known) left.checksum = checksum_state::partial;
    } else if (left.gso_size != 0) { // each segment will have a checksum of its own
        kubeproxy::store_be(p.payload(), kubeproxy::checksum_offset(p.protocol), pseudo_sum(p, p.payload().size()));
        left.checksum = checksum_state::partial;
    }
    packet.leave_over(left);
    return true;
}

/// What the device must be told about a packet that leaves.
/// \pre packet.bytes() hold a whole packet of version V
template <kubeproxy::ip_version V>
[[nodiscard]] vnet_header described(tap_packet& packet) noexcept {
    auto const& left = packet.left_over();
    if (left.checksum == kubeproxy::checksum_state::complete) return {};
    auto const p = kubeproxy::parse_as<V>(packet.bytes());
    vnet_header h{.flags = vnet_header::needs_checksum,
                  .checksum_start = static_cast<std::uint16_t>(ethernet_header::size + p.transport),
                  .checksum_offset = static_cast<std::uint16_t>(kubeproxy::checksum_offset(p.protocol))};
    if (left.gso_size == 0) return h;
    h.gso_type = static_cast<std::uint8_t>(detail::gso_type<V>(p.protocol) | (left.is_ecn ? vnet_header::gso_ecn : 0u));
    h.header_length = static_cast<std::uint16_t>(ethernet_header::size + segment_headers(p));
    h.gso_size = left.gso_size;
    return h;
}

/// Bytes of the longest packet that will leave.
template <kubeproxy::ip_version V>
[[nodiscard]] std::size_t max_packet_size(tap_packet& packet) noexcept {
    if (packet.gso_size() == 0) return packet.bytes().size();
    return segment_headers(kubeproxy::parse_as<V>(packet.bytes())) + packet.gso_size();
}

/// Whether the packet must become what the wire would show before the library sees it, for no device can do it later:
/// IPv4 that may be cut (RFC 7915 section 4.1 has the translator cut it), and IPv6 too long for IPv4's length field.
template <kubeproxy::ip_version V>
[[nodiscard]] bool needs_plain_packets(tap_packet& packet) noexcept {
    if (packet.left_over().checksum == kubeproxy::checksum_state::complete) return false;
    auto const bytes = packet.bytes();
    if constexpr (std::same_as<V, kubeproxy::ipv4>)
        return bytes.size() > 1280 - 28 && !kubeproxy::ipv4_view{bytes}.dont_fragment();
    else
        return packet.gso_size() != 0 && bytes.size() > 0xffff - kubeproxy::ipv4::minimum_header;
}

} // namespace examples
