#pragma once

#include "kubeproxy/wire/checksum.hpp"
#include "kubeproxy/wire/packet.hpp"
#include "kubeproxy/wire/packet_buffer.hpp"
#include "support/link_header.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <variant>

/// Makes captured packets whole, so that the library can translate them, and takes that back afterwards.
///
/// A capture may lack the end of a packet (a snapshot length), its length (segmentation offload leaves 0 in the IP
/// header) or its checksums (checksum offload). What is missing is filled in before the packet is translated:
///
///     captured bytes |####################|
///     shown          |####################|........| filler, so that the transport checksum is as right as it was
///     written        |####################|          the filler is never written
///
/// The filler has the one's complement sum that the missing bytes had if the packet's checksum was right. So every
/// checksum that the library verifies, updates or computes anew is what it would have been for the whole packet.
namespace examples {

/// Where a capture was taken.
enum class capture_point : std::uint8_t {
    on_the_way,  ///< packets are as they were on the wire
    sending_host ///< before the device completed them: checksums are partial, packets are longer than the MTU
};

/// What a captured IP packet lacks, and what was done about that.
struct packet_completion {
    enum class state : std::uint8_t {
        usable,
        malformed,  ///< its header contradicts itself or the frame; the library would drop it
        unreadable, ///< too little was captured to tell whose packet it is
    };

    state is = state::usable;
    std::size_t captured = 0;        ///< bytes of the packet in the capture, with link padding
    std::size_t shown = 0;           ///< bytes that the library is shown, filler included
    std::size_t on_wire = 0;         ///< bytes of the packet on the wire, with link padding
    std::size_t transport = 0;       ///< offset of the transport header
    std::size_t fragment_offset = 0; ///< of a fragment, in bytes
    bool had_no_length = false;      ///< the length in the IP header was 0
    bool had_no_header_checksum = false;
    bool is_segmented_later = false; ///< a super-packet: a device cuts it into segments
    kubeproxy::checksum_state checksum = kubeproxy::checksum_state::complete;

    /// Whether the end of the packet is missing.
    [[nodiscard]] bool is_cut() const noexcept { return shown > captured; }
    /// Captured bytes that were too many for the library; they stay behind the packet.
    [[nodiscard]] std::size_t tail() const noexcept { return captured > shown ? captured - shown : 0; }
};

namespace detail {

/// The IP length field of the packet, in all bytes that it speaks of. \pre the fixed header is there
[[nodiscard]] inline std::size_t announced_size(byte_span packet) noexcept {
    if (ip_version(packet) == 4)
        return kubeproxy::load_be<std::uint16_t>(packet, kubeproxy::ipv4_view::at::total_length);
    return kubeproxy::ipv6::minimum_header +
           kubeproxy::load_be<std::uint16_t>(packet, kubeproxy::ipv6_view::at::payload_length);
}

/// Changes the IP length field. An IPv4 header checksum stays as right or wrong as it was. \pre as above
inline void set_announced_size(mutable_byte_span packet, std::size_t size) noexcept {
    using at = kubeproxy::ipv4_view::at;
    if (ip_version(packet) == 6) {
        auto const payload = size == 0 ? 0 : size - kubeproxy::ipv6::minimum_header;
        return kubeproxy::store_be(packet, kubeproxy::ipv6_view::at::payload_length,
                                   static_cast<std::uint16_t>(payload));
    }
    auto const before = kubeproxy::load_be<std::uint16_t>(packet, at::total_length);
    auto const after = static_cast<std::uint16_t>(size);
    auto const checksum = kubeproxy::load_be<std::uint16_t>(packet, at::checksum);
    kubeproxy::store_be(packet, at::total_length, after);
    kubeproxy::store_be(packet, at::checksum, kubeproxy::checksum_after(checksum, before, after));
}

/// Length 0 where more than a header follows: IPv4 as tools write it for super-packets, IPv6 for jumbograms
/// (RFC 2675) and BIG TCP. A short IPv6 packet of length 0 has link padding behind it.
[[nodiscard]] inline bool has_no_length(byte_span packet, std::size_t on_wire) noexcept {
    using at = kubeproxy::ipv6_view::at;
    if (ip_version(packet) == 4)
        return kubeproxy::load_be<std::uint16_t>(packet, kubeproxy::ipv4_view::at::total_length) == 0;
    constexpr std::size_t smallest_ethernet_payload = 46;
    return kubeproxy::load_be<std::uint16_t>(packet, at::payload_length) == 0 && on_wire > smallest_ethernet_payload;
}

/// The sum of the pseudo-header that a transport checksum covers; 0 for ICMP over IPv4, which covers none.
template <kubeproxy::ip_version V>
[[nodiscard]] std::uint64_t pseudo_sum(kubeproxy::parsed<V> const& p) noexcept {
    if (p.protocol == kubeproxy::ipv4::icmp_protocol) return 0;
    using view = std::conditional_t<std::same_as<V, kubeproxy::ipv4>, kubeproxy::ipv4_view, kubeproxy::ipv6_view>;
    view const ip{byte_span{p.bytes}};
    return kubeproxy::pseudo_header_sum(ip.source(), ip.destination(), p.protocol,
                                        static_cast<std::uint32_t>(p.payload().size()));
}

/// Offset of the transport checksum in the payload; 0: there is none that could be completed.
template <kubeproxy::ip_version V>
[[nodiscard]] std::size_t checksum_field(kubeproxy::parsed<V> const& p) noexcept {
    if (p.is_fragment || p.flaw != kubeproxy::drop_reason::none) return 0;
    if (p.protocol == V::icmp_protocol) return kubeproxy::icmp_at::checksum;
    bool const is_tcp_or_udp = p.protocol == kubeproxy::ip_protocol::tcp || p.protocol == kubeproxy::ip_protocol::udp;
    return is_tcp_or_udp ? kubeproxy::checksum_offset(p.protocol) : 0;
}

/// Changes the last two bytes, which are filler, so that the transport checksum is right.
template <kubeproxy::ip_version V>
void fill_for_checksum(kubeproxy::parsed<V> const& p, std::size_t filler) noexcept {
    auto const field = checksum_field(p);
    auto const segment = p.payload();
    if (field == 0 || filler < 2 || segment.size() < field + 4) return;
    bool const is_udp_without =
        p.protocol == kubeproxy::ip_protocol::udp && kubeproxy::load_be<std::uint16_t>(segment, field) == 0;
    if (is_udp_without) return;
    // The sum with the checksum in it must be all ones; `lack` is what the filler has to add.
    auto const lack = kubeproxy::checksum_of(pseudo_sum(p) + kubeproxy::sum_of(segment));
    auto const at = segment.size() - 2;
    auto const word = at % 2 == 0 ? lack : static_cast<std::uint16_t>(lack << 8 | lack >> 8);
    kubeproxy::store_be(segment, at, word);
}

/// Whether the checksum field holds the sum of the pseudo-header, which a device completes (virtio NEEDS_CSUM).
template <kubeproxy::ip_version V>
[[nodiscard]] bool is_partial(kubeproxy::parsed<V> const& p) noexcept {
    auto const field = p.protocol == V::icmp_protocol ? 0 : checksum_field(p);
    return field != 0 && kubeproxy::load_be<std::uint16_t>(p.payload(), field) == kubeproxy::fold(pseudo_sum(p));
}

/// Bytes from the IP header on that tell whose packet it is: both ports, or what an ICMP error quotes up to there.
template <kubeproxy::ip_version V>
[[nodiscard]] std::size_t needed(kubeproxy::parsed<V> const& p) noexcept {
    using kubeproxy::content;
    constexpr std::size_t ports = 8; // and the first half of an ICMP header
    if (p.what == content::opaque || p.what == content::later_fragment) return p.transport;
    if (p.what != content::icmp_error) return p.transport + ports;
    auto const quoted = p.transport + kubeproxy::icmp_at::quoted;
    bool const has_header = p.bytes.size() > quoted;
    std::size_t const options = std::same_as<V, kubeproxy::ipv4> && has_header
                                    ? (kubeproxy::load_be<std::uint8_t>(p.bytes, quoted) & 0x0fu) * 4u
                                    : V::minimum_header;
    return quoted + std::max(options, V::minimum_header) + ports;
}

template <kubeproxy::ip_version V>
void look_at(kubeproxy::parsed<V> const& p, capture_point point, packet_completion& c) noexcept {
    using kubeproxy::ip_protocol::tcp, kubeproxy::ip_protocol::udp;
    c.transport = p.transport;
    if (c.is_cut() && c.captured < needed(p)) c.is = packet_completion::state::unreadable;
    if constexpr (std::same_as<V, kubeproxy::ipv4>)
        c.fragment_offset = kubeproxy::ipv4_view{byte_span{p.bytes}}.fragment_offset();
    else if (p.fragment_header != 0)
        c.fragment_offset = kubeproxy::fragment_header_view{byte_span{p.bytes}.subspan(p.fragment_header)}.offset();
    constexpr std::size_t usual_mtu = 1500;
    bool const is_long = point == capture_point::sending_host && p.bytes.size() > usual_mtu;
    c.is_segmented_later = (c.had_no_length || is_long) && (p.protocol == tcp || p.protocol == udp);
    if (point == capture_point::sending_host && is_partial(p)) c.checksum = kubeproxy::checksum_state::partial;
    if (!c.is_cut() || c.checksum != kubeproxy::checksum_state::complete) return;
    fill_for_checksum(p, c.shown - c.captured);
    c.checksum = kubeproxy::checksum_state::verified; // nobody can tell any more whether it was right
}

inline void complete_header_checksum(mutable_byte_span packet, packet_completion& c) noexcept {
    using at = kubeproxy::ipv4_view::at;
    if (ip_version(packet) != 4 || kubeproxy::load_be<std::uint16_t>(packet, at::checksum) != 0) return;
    std::size_t const header = (kubeproxy::load_be<std::uint8_t>(packet, at::version_ihl) & 0x0fu) * 4u;
    if (header < kubeproxy::ipv4::minimum_header || header > packet.size()) return;
    kubeproxy::store_be(packet, at::checksum, kubeproxy::checksum_of(kubeproxy::sum_of(packet.first(header))));
    c.had_no_header_checksum = true;
}

} // namespace detail

/// Completes the packet in the first `captured` bytes of `room`.
/// \param on_wire what the packet and the link padding had on the wire, at least `captured`
/// \pre room has 65,535 bytes more than `captured`
[[nodiscard]] inline packet_completion complete_packet(mutable_byte_span room, std::size_t captured,
                                                       std::size_t on_wire, capture_point point) noexcept {
    packet_completion c{.captured = captured, .shown = captured, .on_wire = on_wire};
    auto const packet = room.first(captured);
    std::size_t const header =
        ip_version(packet) == 6 ? kubeproxy::ipv6::minimum_header : kubeproxy::ipv4::minimum_header;
    if (captured >= header && (ip_version(packet) == 4 || ip_version(packet) == 6)) {
        if (point == capture_point::sending_host) detail::complete_header_checksum(packet, c);
        c.had_no_length = detail::has_no_length(packet, on_wire);
        auto const size = c.had_no_length ? on_wire : detail::announced_size(packet);
        constexpr std::size_t max_size = 0xffff; // of an IPv6 packet, too: it may become one of IPv4
        if (c.had_no_length || (size > captured && size <= on_wire)) c.shown = std::min(size, max_size);
        if (c.had_no_length) detail::set_announced_size(packet, c.shown);
    }
    if (c.is_cut()) std::ranges::fill(room.subspan(captured, c.shown - captured), std::byte{0});
    auto const found = kubeproxy::parse(room.first(c.shown));
    if (std::holds_alternative<kubeproxy::drop_reason>(found))
        c.is = on_wire > captured && captured < header ? packet_completion::state::unreadable
                                                       : packet_completion::state::malformed;
    if (auto const* p = std::get_if<kubeproxy::parsed<kubeproxy::ipv4>>(&found)) detail::look_at(*p, point, c);
    if (auto const* p = std::get_if<kubeproxy::parsed<kubeproxy::ipv6>>(&found)) detail::look_at(*p, point, c);
    return c;
}

} // namespace examples
