#pragma once

#include "tap_forwarder/link/packet_offloads.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>

/// A super-packet, cut as the device would cut it.
namespace examples {

/// How a super-packet is cut.
struct segment_plan {
    std::size_t headers = 0; ///< bytes that each segment repeats
    std::size_t size = 0;    ///< payload of each but the last
    std::size_t count = 0;
};

/// \pre packet.gso_size() != 0, and adopt_offloads() took the packet
template <kubeproxy::ip_version V>
[[nodiscard]] segment_plan plan_segments(tap_packet& packet) noexcept {
    auto const p = kubeproxy::parse_as<V>(packet.bytes());
    auto const headers = segment_headers(p);
    auto const payload = p.bytes.size() - headers;
    return {headers, packet.gso_size(), (payload + packet.gso_size() - 1) / packet.gso_size()};
}

namespace detail {

/// Each segment is a datagram of its own; identifications count up, as the kernel has it.
inline void finish_ip(kubeproxy::parsed<kubeproxy::ipv4> const& p, std::size_t index) noexcept {
    using at = kubeproxy::ipv4_view::at;
    auto const header = p.bytes.first(p.transport);
    auto const first = kubeproxy::load_be<std::uint16_t>(header, at::identification);
    kubeproxy::store_be(header, at::identification, static_cast<std::uint16_t>(first + index));
    kubeproxy::store_be(header, at::checksum, std::uint16_t{0});
    kubeproxy::store_be(header, at::checksum, kubeproxy::checksum_of(kubeproxy::sum_of(header)));
}
inline void finish_ip(kubeproxy::parsed<kubeproxy::ipv6> const&, std::size_t) noexcept {}

inline void set_length(mutable_byte_span bytes, kubeproxy::ipv4) noexcept {
    kubeproxy::store_be(bytes, kubeproxy::ipv4_view::at::total_length, static_cast<std::uint16_t>(bytes.size()));
}
inline void set_length(mutable_byte_span bytes, kubeproxy::ipv6) noexcept {
    kubeproxy::store_be(bytes, kubeproxy::ipv6_view::at::payload_length,
                        static_cast<std::uint16_t>(bytes.size() - kubeproxy::ipv6::minimum_header));
}

/// CWR belongs to the first segment, FIN and PSH to the last (RFC 3168 section 6.1.2, RFC 9293 section 3.9.1.2).
inline void finish_tcp(mutable_byte_span segment, segment_plan const& plan, std::size_t index) noexcept {
    constexpr std::uint8_t fin_and_push = 0x09, cwr = 0x80;
    using at = kubeproxy::tcp_at;
    auto const sequence = kubeproxy::load_be<std::uint32_t>(segment, at::sequence);
    kubeproxy::store_be(segment, at::sequence, static_cast<std::uint32_t>(sequence + index * plan.size));
    auto flags = kubeproxy::load_be<std::uint8_t>(segment, at::flags);
    if (index != 0) flags = static_cast<std::uint8_t>(flags & ~cwr);
    if (index + 1 != plan.count) flags = static_cast<std::uint8_t>(flags & ~fin_and_push);
    kubeproxy::store_be(segment, at::flags, flags);
}

} // namespace detail

/// Makes `out` segment `index` of a super-packet, every checksum complete.
/// \pre index < plan.count; `out` is as long as segment_size() says
template <kubeproxy::ip_version V>
void write_segment(tap_packet& whole, segment_plan const& plan, std::size_t index, tap_packet& out) noexcept {
    auto const from = whole.bytes(), to = out.bytes();
    kubeproxy::copy_bytes(to, from.first(plan.headers));
    kubeproxy::copy_bytes(to.subspan(plan.headers),
                          from.subspan(plan.headers + index * plan.size, to.size() - plan.headers));
    detail::set_length(to, V{});
    auto const p = kubeproxy::parse_as<V>(to);
    detail::finish_ip(p, index);
    if (p.protocol == kubeproxy::ip_protocol::tcp)
        detail::finish_tcp(p.payload(), plan, index);
    else
        kubeproxy::store_be(p.payload(), kubeproxy::udp_at::length, static_cast<std::uint16_t>(p.payload().size()));
    kubeproxy::store_be(p.payload(), kubeproxy::checksum_offset(p.protocol), pseudo_sum(p, p.payload().size()));
    complete_checksum(out, p);
}

/// Bytes of segment `index`, headers included.
[[nodiscard]] inline std::size_t segment_size(tap_packet& whole, segment_plan const& plan, std::size_t index) noexcept {
    auto const rest = whole.bytes().size() - plan.headers - index * plan.size;
    return plan.headers + std::min(plan.size, rest);
}

} // namespace examples
