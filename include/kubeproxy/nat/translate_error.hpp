#pragma once

#include "kubeproxy/nat/icmp_error.hpp"
#include "kubeproxy/nat/icmp_map.hpp"
#include "kubeproxy/nat/translate.hpp"

/// ICMP errors that change family (RFC 7915 sections 4.2, 4.3, 5.2 and 5.3). The message is laid out anew:
///
///     | IP header | ICMP | quoted IP header | quoted payload | padding | extension |
///
/// The extension keeps its place; the quoted payload loses its end where the error would get too long.
namespace kubeproxy {
inline namespace v0_2 {
namespace detail {

/// An error is no longer than this: RFC 1812 section 4.3.2.3, RFC 4443 section 2.4 (c).
template <ip_version V>
inline constexpr std::size_t max_error_size = std::same_as<V, ipv4> ? 576 : 1280;

/// A quotation before an extension is padded to this at least (RFC 4884 section 3).
inline constexpr std::size_t minimum_quotation = 128;

/// What a translated error may take at the front at most: it becomes this much longer where a quotation that was
/// nothing but an IP header is padded.
template <ip_version From, ip_version To>
inline constexpr std::size_t error_headroom = To::minimum_header + minimum_quotation - 2 * From::minimum_header;
static_assert(error_headroom<ipv4, ipv6> == 128 && error_headroom<ipv6, ipv4> == 68);

/// Bytes of a translated error's parts.
struct error_layout {
    std::size_t front = 0;   ///< quoted IP header
    std::size_t payload = 0; ///< quoted payload that stays
    std::size_t padding = 0;
    std::size_t extension = 0;

    [[nodiscard]] constexpr std::size_t quotation() const noexcept { return front + payload + padding; }
    [[nodiscard]] constexpr std::size_t message() const noexcept { return icmp_at::quoted + quotation() + extension; }
};

template <ip_version To, ip_version From>
[[nodiscard]] error_layout layout_for(quoted_packet<From> const& q, std::uint8_t type) noexcept {
    using length = quotation_length<To>;
    constexpr auto room = max_error_size<To> - To::minimum_header - icmp_at::quoted;
    bool const has_fragment_header = std::same_as<To, ipv6> && q.headers.is_fragment;
    error_layout l{.front = To::minimum_header + (has_fragment_header ? fragment_header_view::size : 0)};
    auto const payload = q.headers.payload().size();
    if (!length::is_said_by(type) || q.extension.empty() || q.extension.size() + minimum_quotation > room) {
        l.payload = std::min(payload, room - l.front);
        return l;
    }
    l.extension = q.extension.size();
    auto const fits = std::min(l.front + payload, room - l.extension) / length::unit * length::unit;
    auto const quotation = std::max(minimum_quotation, fits);
    l.payload = std::min(payload, quotation - l.front);
    l.padding = quotation - l.front - l.payload;
    return l;
}

/// Whether the error is whole, as far as its checksum tells: the new one would hide that it was not.
template <ip_version V>
[[nodiscard]] bool has_valid_checksum(parsed<V> const& p) noexcept {
    auto sum = sum_of(p.payload());
    if constexpr (std::same_as<V, ipv6>) {
        ipv6_view const ip{p.bytes};
        auto const length = static_cast<std::uint32_t>(p.payload().size());
        sum += pseudo_header_sum(ip.source(), ip.destination(), ipv6::icmp_protocol, length);
    }
    return fold(sum) == 0xffff;
}

/// Why the quoted packet cannot be shown to the other family.
template <ip_version From>
[[nodiscard]] drop_reason refusal_of_quoted(parsed<From> const& quoted) noexcept {
    if (!survives_family_change<From>(quoted.protocol)) return drop_reason::protocol_unsupported;
    if (quoted.is_fragment && quoted.protocol == From::icmp_protocol) return drop_reason::quoted_icmp_fragment;
    return quoted.what == content::other_icmp ? drop_reason::icmp_type : drop_reason::none;
}

/// The ICMP header and its checksum, over the message as it then is.
template <ip_version To>
void write_error_head(mutable_byte_span message, icmp_head const& head, error_layout const& l,
                      error_mapping<To> const& m, checksum_state state) noexcept {
    using length = quotation_length<To>;
    store_be(message, icmp_at::type, head.type);
    store_be(message, icmp_at::code, head.code);
    store_be(message, icmp_at::checksum, std::uint16_t{0});
    store_be(message, icmp_at::rest, head.rest);
    if (l.extension != 0) store_be(message, length::at, static_cast<std::uint8_t>(l.quotation() / length::unit));
    std::uint64_t pseudo = 0;
    if constexpr (std::same_as<To, ipv6>)
        pseudo =
            pseudo_header_sum(m.source, m.destination, ipv6::icmp_protocol, static_cast<std::uint32_t>(message.size()));
    store_be(message, icmp_at::checksum,
             state == checksum_state::partial ? fold(pseudo) : checksum_of(pseudo + sum_of(message)));
}

/// Where the part of the old packet ends that stays in the new one.
template <ip_version From>
[[nodiscard]] std::size_t end_of_kept(parsed<From> const& p, quoted_packet<From> const& q,
                                      error_layout const& l) noexcept {
    return l.extension != 0 ? p.bytes.size() : p.transport + icmp_at::quoted + q.headers.transport + l.payload;
}

/// Moves the quoted payload to where `l` wants it and makes the packet as long as it will be.
/// \pre the packet fits before `end`, headroom included
template <ip_version To, packet_buffer P, ip_version From>
void lay_out_error(P& packet, parsed<From> const& p, quoted_packet<From> const& q, error_layout const& l,
                   std::size_t end) noexcept {
    auto const size = To::minimum_header + l.message();
    auto const growth = size > end ? size - end : 0;
    packet.truncate(end);
    packet.grow_front(growth);
    mutable_byte_span const bytes = packet.bytes();
    auto const padding = bytes.size() - l.extension - l.padding;
    auto const payload = growth + p.transport + icmp_at::quoted + q.headers.transport;
    move_bytes(bytes, padding - l.payload, payload, l.payload);
    std::ranges::fill(bytes.subspan(padding, l.padding), std::byte{0});
    packet.shrink_front(bytes.size() - size);
}

/// Nothing of `packet` changes unless the result is done().
template <ip_version To, packet_buffer P, ip_version From>
rewrite_result translate_error(P& packet, parsed<From> const& p, quoted_packet<From> const& q,
                               error_mapping<To> const& m, translation_settings const& settings) noexcept {
    auto const state = transport_checksum_of(packet);
    if (auto const why = refusal_of_quoted(q.headers); why != drop_reason::none) return {why, {}};
    packet_in_error const in_error{stated_size<From>(q.headers.bytes), q.headers.fragment_header != 0};
    auto const head = head_after<From>(icmp_head_of(p.payload()), in_error, settings);
    if (!head) return {drop_reason::icmp_type, {}};
    if (state == checksum_state::complete && !has_valid_checksum(p)) return {drop_reason::bad_icmp_checksum, {}};
    auto const layout = layout_for<To>(q, head->type);
    auto const end = end_of_kept(p, q, layout);
    if (To::minimum_header + layout.message() > end + packet.headroom()) return {drop_reason::no_headroom, {}};

    constexpr std::size_t max_payload = 0xffff - ipv6::minimum_header; // what either header can say
    auto outer = carried_by(p, settings), quoted = carried_by(q.headers);
    outer.payload = layout.message();
    quoted.payload = std::min(quoted.payload, max_payload);
    rewrite_quoted_transport(q, m.quoted, quoted.payload);
    lay_out_error<To>(packet, p, q, layout, end);
    mutable_byte_span const bytes = packet.bytes();
    auto const message = bytes.subspan(To::minimum_header);
    write_front(bytes.first(To::minimum_header), outer, m.source, m.destination);
    write_front(message.subspan(icmp_at::quoted, layout.front), quoted, m.quoted.source, m.quoted.destination);
    write_error_head(message, *head, layout, m, state);
    return {};
}

} // namespace detail
} // namespace v0_2
} // namespace kubeproxy
