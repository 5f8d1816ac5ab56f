#pragma once

#include "kubeproxy/wire/extension.hpp"
#include "kubeproxy/wire/icmp.hpp"
#include "kubeproxy/wire/ipv4.hpp"

#include <variant>

namespace kubeproxy {
inline namespace v0_2 {

/// What stands behind the IP header, as far as NAT is concerned.
enum class content : std::uint8_t {
    ports,          ///< a protocol with ports (has_ports()), and its whole fixed header
    echo,           ///< an ICMP echo request or reply; its identifier plays the port
    icmp_error,     ///< quotes another packet
    other_icmp,     ///< any other ICMP message
    opaque,         ///< a protocol that is not looked into: only addresses are known
    later_fragment, ///< bytes from the middle of a message: only addresses are known
};

/// A packet whose headers were walked: where its parts are, and what is wrong with it, if anything.
template <ip_version V>
struct parsed {
    mutable_byte_span bytes;     ///< from the IP header to the end of the payload; link-layer padding is cut off
    std::uint32_t transport = 0; ///< offset of the transport header
    std::uint8_t protocol = 0;
    content what = content::opaque;
    bool is_fragment = false;          ///< a part of a message: the first one or a later one
    bool is_plain = false;             ///< parse_plain() took it
    std::uint32_t fragment_header = 0; ///< IPv6: its offset, 0 for none. IPv4: 0
    std::uint32_t segments_left = 0;   ///< IPv6: offset of a Segments Left field that is not zero
    bool extension_after_fragment = false;
    drop_reason flaw = drop_reason::none; ///< why it must not be rewritten. A packet that is not ours may pass with it

    [[nodiscard]] mutable_byte_span payload() const noexcept { return bytes.subspan(transport); }
};

/// A packet of either version, or why the bytes are none.
using parse_result = std::variant<parsed<ipv4>, parsed<ipv6>, drop_reason>;

namespace detail {

template <ip_version V>
content icmp_content(byte_span message) noexcept {
    auto const type = load_be<std::uint8_t>(message, icmp_at::type);
    if (is_icmp_echo<V>(type)) return content::echo;
    return is_icmp_error<V>(type) ? content::icmp_error : content::other_icmp;
}

/// The fixed header of TCP or UDP, which are nearly everything; more than any packet has for other protocols.
[[nodiscard]] constexpr std::size_t plain_transport(std::uint8_t protocol) noexcept {
    if (protocol == ip_protocol::udp) return transport_header_size(ip_protocol::udp);
    if (protocol == ip_protocol::tcp) return transport_header_size(ip_protocol::tcp);
    return std::size_t{1} << 17;
}

template <ip_version V>
void look_at_transport(parsed<V>& p) noexcept {
    auto const needed = transport_header_size(p.protocol);
    bool const is_icmp = p.protocol == V::icmp_protocol;
    if (!has_ports(p.protocol) && !is_icmp) return;
    if (p.payload().size() < needed) {
        p.flaw = p.is_fragment ? drop_reason::tiny_fragment : drop_reason::truncated_transport;
        return;
    }
    p.what = is_icmp ? icmp_content<V>(p.payload()) : content::ports;
}

} // namespace detail

/// Nearly every packet is a whole one of TCP or UDP, without options or extension headers: a few comparisons tell, and
/// nothing can be wrong with it. False for any other: check_as() and parse_as() say what that one is.
[[nodiscard, gnu::always_inline]] inline bool parse_plain(mutable_byte_span bytes, parsed<ipv4>& p) noexcept {
    using at = ipv4_view::at;
    constexpr std::uint64_t first_byte = ipv4::number << 4 | ipv4::minimum_header / 4;
    if (bytes.size() < ipv4::minimum_header) return false;
    auto const head = load_be<std::uint64_t>(bytes, at::version_ihl);
    auto const protocol = load_be<std::uint8_t>(bytes, at::protocol);
    std::size_t const total = head >> 32 & 0xffff;
    bool const is_whole = head >> 56 == first_byte && (head & 0x3fff) == 0 && total <= bytes.size();
    if (!is_whole || total < ipv4::minimum_header + detail::plain_transport(protocol)) return false;
    p = {.bytes = bytes.first(total),
         .transport = ipv4::minimum_header,
         .protocol = protocol,
         .what = content::ports,
         .is_plain = true};
    return true;
}
[[nodiscard, gnu::always_inline]] inline bool parse_plain(mutable_byte_span bytes, parsed<ipv6>& p) noexcept {
    using at = ipv6_view::at;
    if (bytes.size() < ipv6::minimum_header) return false;
    auto const head = load_be<std::uint64_t>(bytes, at::version_class_label);
    auto const protocol = static_cast<std::uint8_t>(head >> 8);
    std::size_t const total = ipv6::minimum_header + (head >> 16 & 0xffff);
    if (head >> 60 != ipv6::number || total > bytes.size() ||
        total < ipv6::minimum_header + detail::plain_transport(protocol))
        return false;
    p = {.bytes = bytes.first(total),
         .transport = ipv6::minimum_header,
         .protocol = protocol,
         .what = content::ports,
         .is_plain = true};
    return true;
}

/// \pre ipv4_view::check accepted `bytes`
[[nodiscard]] inline parsed<ipv4> parse_ipv4(mutable_byte_span bytes) noexcept {
    if (parsed<ipv4> plain; parse_plain(bytes, plain)) return plain;
    ipv4_view const ip{bytes};
    parsed<ipv4> p{.bytes = bytes.first(ip.total_length()),
                   .transport = static_cast<std::uint32_t>(ip.header_length()),
                   .protocol = ip.protocol(),
                   .is_fragment = ip.more_fragments() || ip.fragment_offset() != 0};
    if (ip.fragment_offset() != 0)
        p.what = content::later_fragment;
    else
        detail::look_at_transport(p);
    return p;
}

/// \pre ipv6_view::check accepted `bytes`
[[nodiscard]] inline parsed<ipv6> parse_ipv6(mutable_byte_span bytes) noexcept {
    if (parsed<ipv6> plain; parse_plain(bytes, plain)) return plain;
    parsed<ipv6> p{.bytes = bytes.first(ipv6::minimum_header + ipv6_view{bytes}.payload_length())};
    auto const chain = walk_extensions(p.bytes);
    p.transport = chain.transport;
    p.fragment_header = chain.fragment_header;
    p.segments_left = chain.segments_left;
    p.protocol = chain.protocol;
    p.extension_after_fragment = chain.extension_after_fragment;
    p.flaw = chain.flaw;
    if (p.flaw != drop_reason::none) return p;
    if (p.fragment_header != 0) {
        fragment_header_view const fragment{p.bytes.subspan(p.fragment_header)};
        p.is_fragment = fragment.more_fragments() || fragment.offset() != 0; // else atomic, RFC 6946
        if (fragment.offset() != 0) {
            p.what = content::later_fragment;
            return p;
        }
    }
    detail::look_at_transport(p);
    return p;
}

template <ip_version V>
[[nodiscard]] inline parsed<V> parse_as(mutable_byte_span bytes) noexcept {
    if constexpr (std::same_as<V, ipv4>)
        return parse_ipv4(bytes);
    else
        return parse_ipv6(bytes);
}

/// Whether `bytes` hold a packet of this version; then parse_as() takes them.
template <ip_version V>
[[nodiscard]] inline drop_reason check_as(byte_span bytes) noexcept {
    if constexpr (std::same_as<V, ipv4>)
        return ipv4_view::check(bytes);
    else
        return ipv6_view::check(bytes);
}

/// Any bytes, from the IP header on. O(extension headers).
[[nodiscard]] inline parse_result parse(mutable_byte_span bytes) noexcept {
    if (bytes.empty()) return drop_reason::truncated;
    auto const version = load_be<std::uint8_t>(bytes, 0) >> 4;
    if (version == ipv4::number) {
        auto const why = ipv4_view::check(bytes);
        if (why != drop_reason::none) return why;
        return parse_ipv4(bytes);
    }
    if (version == ipv6::number) {
        auto const why = ipv6_view::check(bytes);
        if (why != drop_reason::none) return why;
        return parse_ipv6(bytes);
    }
    return drop_reason::bad_version;
}

} // namespace v0_2
} // namespace kubeproxy
