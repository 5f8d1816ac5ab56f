#pragma once

#include "kubeproxy/flow/tuple.hpp"

#include <algorithm>

/// The packet that an ICMP error is about, as far as the error quotes it.
namespace kubeproxy {
inline namespace v0_2 {

/// A quoted packet: the one that caused the error, as it was on its way.
template <ip_version V>
struct quoted_packet {
    drop_reason why = drop_reason::none; ///< why nothing can be said about it; then the rest means nothing
    tuple<V> key;                        ///< what it showed: its sender is the error's destination
    parsed<V> headers;                   ///< the bytes may end before the lengths in its headers say so
    byte_span extension;                 ///< what follows the quotation (RFC 4884 section 7)
    std::size_t quotation = 0;           ///< bytes from the quoted IP header to the extension, padding included
};

namespace detail {

/// Where a message type says how long the quotation is, and in what unit (RFC 4884 section 4).
template <ip_version V>
struct quotation_length;
template <>
struct quotation_length<ipv4> {
    static constexpr std::size_t at = icmp_at::length4, unit = 4;
    [[nodiscard]] static constexpr bool is_said_by(std::uint8_t type) noexcept {
        using t = icmp_type<ipv4>;
        return type == t::destination_unreachable || type == t::time_exceeded || type == t::parameter_problem;
    }
};
template <>
struct quotation_length<ipv6> {
    static constexpr std::size_t at = icmp_at::length6, unit = 8;
    [[nodiscard]] static constexpr bool is_said_by(std::uint8_t type) noexcept {
        return type == icmp_type<ipv6>::destination_unreachable || type == icmp_type<ipv6>::time_exceeded;
    }
};

/// Bytes of the quotation. A length that no extension follows, or that leaves no room for a header, says nothing.
/// \pre `message` is at least 8 bytes long
template <ip_version V>
[[nodiscard]] std::size_t quotation_of(byte_span message) noexcept {
    using length = quotation_length<V>;
    auto const all = message.size() - icmp_at::quoted;
    if (!length::is_said_by(load_be<std::uint8_t>(message, icmp_at::type))) return all;
    auto const said = load_be<std::uint8_t>(message, length::at) * length::unit;
    return said >= V::minimum_header && said < all ? said : all;
}

/// Bytes of the whole packet as its header says; \pre `bytes` holds the fixed header.
template <ip_version V>
[[nodiscard]] std::size_t stated_size(byte_span bytes) noexcept {
    if constexpr (std::same_as<V, ipv4>)
        return load_be<std::uint16_t>(bytes, ipv4_view::at::total_length);
    else
        return ipv6::minimum_header + load_be<std::uint16_t>(bytes, ipv6_view::at::payload_length);
}

[[nodiscard]] inline drop_reason walk_quoted(parsed<ipv4>& p) noexcept {
    using at = ipv4_view::at;
    p.transport = (load_be<std::uint8_t>(p.bytes, at::version_ihl) & 0x0fu) * 4u;
    if (p.transport < ipv4::minimum_header || p.transport > p.bytes.size()) return drop_reason::quoted_truncated;
    p.protocol = load_be<std::uint8_t>(p.bytes, at::protocol);
    auto const fragment = load_be<std::uint16_t>(p.bytes, at::fragment);
    p.is_fragment = (fragment & 0x3fffu) != 0;
    if ((fragment & 0x1fffu) != 0) p.what = content::later_fragment;
    return drop_reason::none;
}

[[nodiscard]] inline drop_reason walk_quoted(parsed<ipv6>& p) noexcept {
    auto const chain = walk_extensions(p.bytes);
    if (chain.flaw != drop_reason::none) return drop_reason::quoted_truncated;
    p.transport = chain.transport;
    p.protocol = chain.protocol;
    p.fragment_header = chain.fragment_header;
    if (chain.fragment_header == 0) return drop_reason::none;
    fragment_header_view const fragment{p.bytes.subspan(chain.fragment_header)};
    p.is_fragment = fragment.more_fragments() || fragment.offset() != 0;
    if (fragment.offset() != 0) p.what = content::later_fragment;
    return drop_reason::none;
}

/// Eight bytes of a transport header are what every error has quoted since RFC 792; that is enough for ports and
/// identifiers.
template <ip_version V>
[[nodiscard]] drop_reason look_at_quoted_transport(parsed<V>& p) noexcept {
    constexpr std::size_t enough = 8;
    bool const is_icmp = p.protocol == V::icmp_protocol;
    if (p.what == content::later_fragment || (!has_ports(p.protocol) && !is_icmp)) return drop_reason::none;
    if (p.payload().size() < enough) return drop_reason::quoted_truncated;
    p.what = is_icmp ? icmp_content<V>(p.payload()) : content::ports;
    return p.what == content::icmp_error ? drop_reason::quoted_icmp_error : drop_reason::none;
}

template <ip_version V>
[[nodiscard]] tuple<V> key_of_quoted(parsed<V> const& p) noexcept {
    using at = std::conditional_t<std::same_as<V, ipv4>, ipv4_view::at, ipv6_view::at>;
    tuple<V> key{.source = load_object<typename V::address>(p.bytes, at::source),
                 .destination = load_object<typename V::address>(p.bytes, at::destination),
                 .protocol = p.protocol};
    if (p.what == content::ports) {
        key.source_port = load_be<std::uint16_t>(p.payload(), ports_at::source);
        key.destination_port = load_be<std::uint16_t>(p.payload(), ports_at::destination);
    } else if (p.what == content::echo) {
        bool const is_request = load_be<std::uint8_t>(p.payload(), icmp_at::type) == icmp_type<V>::echo_request;
        auto& port = is_request ? key.source_port : key.destination_port;
        port = load_be<std::uint16_t>(p.payload(), icmp_at::identifier);
    }
    return key;
}

} // namespace detail

/// What an ICMP error quotes, and the tuple by which its flow is known: looked up mirrored, it is the flow that
/// the error belongs to. Nothing is read but the quotation; a quotation that was cut short is no flaw as long as
/// it shows whose packet it was.
/// \pre error.what == content::icmp_error
template <ip_version V>
[[nodiscard]] quoted_packet<V> quoted_of(parsed<V> const& error) noexcept {
    assert(error.what == content::icmp_error);
    quoted_packet<V> q;
    auto const message = error.payload();
    q.quotation = detail::quotation_of<V>(message);
    auto bytes = message.subspan(icmp_at::quoted, q.quotation);
    q.extension = message.subspan(icmp_at::quoted + q.quotation);
    q.why = drop_reason::quoted_truncated;
    if (bytes.size() < V::minimum_header || load_be<std::uint8_t>(bytes, 0) >> 4 != V::number) return q;
    if (!q.extension.empty()) bytes = bytes.first(std::min(bytes.size(), detail::stated_size<V>(bytes)));
    if (bytes.size() < V::minimum_header) return q;
    q.headers.bytes = bytes;
    q.why = detail::walk_quoted(q.headers);
    if (q.why == drop_reason::none) q.why = detail::look_at_quoted_transport(q.headers);
    if (q.why == drop_reason::none) q.key = detail::key_of_quoted(q.headers);
    return q;
}

} // namespace v0_2
} // namespace kubeproxy
