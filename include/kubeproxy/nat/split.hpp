#pragma once

#include "kubeproxy/wire/ipv6.hpp"
#include "kubeproxy/wire/packet_buffer.hpp"
#include "kubeproxy/wire/transport.hpp"

#include <algorithm>

/// Cuts an IPv6 packet that has a fragment header into pieces (RFC 8200 section 4.5). IPv4 to IPv6 translation
/// leaves such packets where an IPv4 router might have cut them (RFC 7915 section 4.1).
namespace kubeproxy {
inline namespace v0_2 {

/// How a packet is cut.
struct split_plan {
    std::size_t pieces = 1;  ///< 1: it goes as it is
    std::size_t payload = 0; ///< bytes behind the fragment header in each piece but the last, a multiple of 8
};

namespace detail {
/// Both headers of a packet that rewriter<ipv4, ipv6> made: the fragment header is the only extension header.
inline constexpr std::size_t split_front = ipv6::minimum_header + fragment_header_view::size;

inline void set_piece(mutable_byte_span front, byte_span whole, std::size_t offset, std::size_t payload) noexcept {
    fragment_header_view const old{whole.subspan(ipv6::minimum_header)};
    bool const is_last = offset + payload == whole.size() - split_front;
    bool const more_follow = !is_last || old.more_fragments();
    write_header(front.subspan(ipv6::minimum_header),
                 fragment_header{.next_header = old.next_header(),
                                 .offset_and_more =
                                     static_cast<std::uint16_t>((old.offset() + offset) | (more_follow ? 1u : 0u)),
                                 .identification = old.identification()});
    store_be(front, ipv6_view::at::payload_length, static_cast<std::uint16_t>(fragment_header_view::size + payload));
}
} // namespace detail

/// How `packet` is cut so that no piece is longer than `mtu`. What has no fragment header right behind the fixed
/// one, and what has no room in `mtu`, is left whole.
/// \pre ipv6_view::check accepted `packet`, and nothing follows its payload
[[nodiscard]] inline split_plan plan_split(byte_span packet, std::size_t mtu) noexcept {
    if (packet.size() <= mtu || packet.size() <= detail::split_front || mtu < detail::split_front + 8) return {};
    if (ipv6_view{packet}.next_header() != ip_protocol::fragment) return {};
    auto const payload = (mtu - detail::split_front) / 8 * 8;
    return {(packet.size() - detail::split_front + payload - 1) / payload, payload};
}

/// Writes piece `index` of `packet`; returns its size, which is never above the `mtu` that the plan was made for.
/// \pre 0 < index < plan.pieces, and `out` is as long as that `mtu` and lies outside `packet`
[[nodiscard]] inline std::size_t write_piece(byte_span packet, split_plan const& plan, std::size_t index,
                                             mutable_byte_span out) noexcept {
    assert(index > 0 && index < plan.pieces);
    auto const offset = index * plan.payload;
    auto const payload = std::min(plan.payload, packet.size() - detail::split_front - offset);
    copy_bytes(out, packet.first(ipv6::minimum_header));
    detail::set_piece(out, packet, offset, payload);
    copy_bytes(out.subspan(detail::split_front), packet.subspan(detail::split_front + offset, payload));
    return detail::split_front + payload;
}

/// Makes `packet` its own first piece: when all others were written. \pre plan.pieces > 1
template <packet_buffer P>
void keep_first_piece(P& packet, split_plan const& plan) noexcept {
    mutable_byte_span const bytes = packet.bytes();
    detail::set_piece(bytes, bytes, 0, plan.payload);
    packet.truncate(detail::split_front + plan.payload);
}

} // namespace v0_2
} // namespace kubeproxy
