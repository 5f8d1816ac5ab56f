#pragma once

#include "kubeproxy/nat/reject.hpp"
#include "kubeproxy/wire/transport.hpp"

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>

namespace kubeproxy {
inline namespace v0_2 {

namespace detail {

/// What of a segment its reset depends on (RFC 9293 section 3.5.2).
struct tcp_segment {
    std::uint16_t source_port;
    std::uint16_t destination_port;
    std::uint32_t sequence;
    std::uint32_t acknowledgment;
    std::uint32_t length; ///< payload, and one each for SYN and FIN
    std::uint8_t flags;
};

[[nodiscard]] inline std::size_t tcp_header_length(byte_span bytes) noexcept {
    return std::size_t{load_be<std::uint8_t>(bytes, tcp_at::data_offset)} >> 4 << 2;
}

/// \pre `bytes` hold a TCP header with its options
[[nodiscard]] inline tcp_segment read_segment(byte_span bytes) noexcept {
    auto const flags = load_be<std::uint8_t>(bytes, tcp_at::flags);
    auto const controls = ((flags & tcp_flag::syn) != 0 ? 1u : 0u) + ((flags & tcp_flag::fin) != 0 ? 1u : 0u);
    return {.source_port = load_be<std::uint16_t>(bytes, ports_at::source),
            .destination_port = load_be<std::uint16_t>(bytes, ports_at::destination),
            .sequence = load_be<std::uint32_t>(bytes, tcp_at::sequence),
            .acknowledgment = load_be<std::uint32_t>(bytes, tcp_at::acknowledgment),
            .length = static_cast<std::uint32_t>(bytes.size() - tcp_header_length(bytes)) + controls,
            .flags = flags};
}

/// A damaged segment is no segment (RFC 9293 section 3.1, MUST-3). A partial checksum has not been on a wire yet.
template <ip_version V>
[[nodiscard]] bool is_segment_intact(parsed<V> const& p, checksum_state state) noexcept {
    auto const header = tcp_header_length(p.payload());
    if (header < transport_header_size(ip_protocol::tcp) || header > p.payload().size()) return false;
    if (state != checksum_state::complete) return true;
    header_view<V> const ip{p.bytes};
    auto const length = static_cast<std::uint32_t>(p.payload().size());
    return fold(pseudo_header_sum(ip.source(), ip.destination(), ip_protocol::tcp, length) + sum_of(p.payload())) ==
           0xffff;
}

/// Never to a RST (RFC 9293 section 3.10.7.1), to many nodes or for them (section 3.9.2.3, MUST-57 and MUST-63). A
/// fragment neither shows its segment's length nor can be verified, and with segments left the checksum is for
/// another destination (RFC 8200 section 8.1).
template <ip_version V>
[[nodiscard]] bool may_be_reset(parsed<V> const& p, checksum_state state) noexcept {
    if (p.what != content::ports || p.protocol != ip_protocol::tcp) return false;
    if (p.is_fragment || p.segments_left != 0 || !is_header_intact(p)) return false;
    header_view<V> const ip{p.bytes};
    if (!names_one_node(ip.source()) || names_many_nodes(ip.destination())) return false;
    return (load_be<std::uint8_t>(p.payload(), tcp_at::flags) & tcp_flag::rst) == 0 && is_segment_intact(p, state);
}

/// Makes of a segment the reset of its sender, in place: it keeps its sequence number, so that the receiver accepts it
/// wherever it would have accepted the segment (RFC 9293 section 3.10.7.4), and it keeps its text, which a reset may
/// have (SHLD-2), so that neither lengths nor what the host notes beside the packet change. A wrong checksum stays
/// wrong (RFC 1624); a partial one does not cover the flags yet.
/// \pre `segment` holds a TCP header
inline void turn_into_reset(mutable_byte_span segment, checksum_state state) noexcept {
    constexpr std::size_t word = tcp_at::data_offset; // with the flags
    auto const before = load_be<std::uint16_t>(segment, word);
    auto const flags = static_cast<std::uint16_t>((before & tcp_flag::ack) | tcp_flag::rst);
    auto const after = static_cast<std::uint16_t>((before & 0xff00u) | flags);
    store_be(segment, word, after);
    if (state == checksum_state::partial) return;
    auto const checksum = load_be<std::uint16_t>(segment, tcp_at::checksum);
    store_be(segment, tcp_at::checksum, checksum_after(checksum, before, after));
}

/// A bare header; checksum 0. \pre bytes.size() == 20
inline void write_reset(mutable_byte_span bytes, tcp_segment const& segment) noexcept {
    bool const is_acknowledging = (segment.flags & tcp_flag::ack) != 0;
    auto const flags = is_acknowledging ? tcp_flag::rst : static_cast<std::uint8_t>(tcp_flag::rst | tcp_flag::ack);
    constexpr std::uint8_t data_offset = 5 << 4;
    std::ranges::fill(bytes, std::byte{0});
    store_be(bytes, ports_at::source, segment.destination_port);
    store_be(bytes, ports_at::destination, segment.source_port);
    store_be(bytes, tcp_at::sequence, is_acknowledging ? segment.acknowledgment : 0u);
    store_be(bytes, tcp_at::acknowledgment, is_acknowledging ? 0u : segment.sequence + segment.length);
    store_be(bytes, tcp_at::data_offset, data_offset);
    store_be(bytes, tcp_at::flags, flags);
}

} // namespace detail

/// Makes of a TCP segment the reset that a closed port sends (RFC 9293 section 3.10.7.1), from where the segment went
/// to where it came from. It needs no headroom. O(payload), for the checksum is verified first, unless partial.
///
/// none: the buffer holds the answer, every checksum complete; what the host notes beside the packet (partial
/// checksum, GSO size) is void, as is `p`. Else reject_forbidden, and no byte has changed.
/// \pre `p` was parsed from packet.bytes()
template <ip_version V, packet_buffer P>
[[nodiscard]] drop_reason compose_tcp_reset(P& packet, parsed<V> const& p) noexcept {
    assert(p.bytes.data() == mutable_byte_span{packet.bytes()}.data());
    if (!detail::may_be_reset(p, transport_checksum_of(packet))) return drop_reason::reject_forbidden;

    constexpr auto size = transport_header_size(ip_protocol::tcp);
    detail::header_view<V> const ip{p.bytes};
    auto const from = ip.destination();
    auto const to = ip.source();
    auto const segment = detail::read_segment(p.payload());
    packet.truncate(V::minimum_header + size);
    mutable_byte_span const whole = packet.bytes();
    auto const reset = whole.subspan(V::minimum_header);
    detail::write_answer_header<V>(whole, {ip_protocol::tcp, 0, 0, detail::atomic_datagram}, from, to);
    detail::write_reset(reset, segment);
    auto const sum = pseudo_header_sum(from, to, ip_protocol::tcp, size) + sum_of(reset);
    store_be(reset, tcp_at::checksum, checksum_of(sum));
    return drop_reason::none;
}

} // namespace v0_2
} // namespace kubeproxy
