#pragma once

#include "kubeproxy/wire/bytes.hpp"
#include "support/link_header.hpp"

#include <pcap/dlt.h>

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <optional>

/// The link headers that captures have: where the IP packet starts, and how the header changes with the packet.
namespace examples {

/// None when this program does not know where IP packets start on this link type.
[[nodiscard]] inline std::optional<link_layer> link_layer_of(int data_link) noexcept {
    switch (data_link) {
    case DLT_EN10MB: return link_layer::ethernet;
    case DLT_LINUX_SLL: return link_layer::cooked;
    case DLT_LINUX_SLL2: return link_layer::cooked_v2;
    case DLT_PPP:
    case DLT_PPP_SERIAL: return link_layer::ppp;
    case DLT_PPP_ETHER: return link_layer::pppoe;
    case DLT_NULL: return link_layer::null;
    case DLT_LOOP: return link_layer::loop;
    case DLT_RAW:
    case DLT_IPV4:
    case DLT_IPV6: return link_layer::raw_ip;
    default: return std::nullopt;
    }
}

namespace detail {

inline constexpr std::uint16_t ether_type_pppoe_session = 0x8864;
inline constexpr std::uint16_t ppp_protocol_ipv4 = 0x0021;
inline constexpr std::uint16_t ppp_protocol_ipv6 = 0x0057;
inline constexpr std::uint32_t family_ipv4 = 2;  ///< AF_INET, the same on every system
inline constexpr std::uint32_t family_ipv6 = 24; ///< AF_INET6 of NetBSD and OpenBSD; readers accept all of them

[[nodiscard]] constexpr bool is_mpls(std::uint16_t ether_type) noexcept {
    return ether_type == 0x8847 || ether_type == 0x8848;
}
/// AF_INET6 of Linux, NetBSD and OpenBSD, FreeBSD, and macOS.
[[nodiscard]] constexpr bool is_family_ipv6(std::uint32_t family) noexcept {
    return family == 10 || family == 24 || family == 28 || family == 30;
}

/// Whether the packet's version is the one that the link announces; 0 stands for none.
[[nodiscard]] inline bool holds_version(byte_span packet, unsigned announced) noexcept {
    return announced != 0 && ip_version(packet) == announced;
}

/// A PPP frame begins at `header.size` (RFC 1661 section 2, RFC 1662 section 3.1).
[[nodiscard]] inline std::optional<link_header> find_ip_in_ppp(link_header header, byte_span frame) noexcept {
    auto at = header.size;
    auto const has = [&](std::size_t n) { return frame.size() >= at + n; };
    if (has(2) && kubeproxy::load_be<std::uint16_t>(frame, at) == 0xff03) at += 2;
    if (!has(1)) return std::nullopt;
    bool const is_short = (kubeproxy::load_be<std::uint8_t>(frame, at) & 1u) != 0; // the last byte of it is odd
    if (!is_short && !has(2)) return std::nullopt;
    std::uint16_t const protocol =
        is_short ? kubeproxy::load_be<std::uint8_t>(frame, at) : kubeproxy::load_be<std::uint16_t>(frame, at);
    header.type = is_short ? link_type_field::ppp_protocol_short : link_type_field::ppp_protocol;
    header.type_offset = at;
    header.size = at + (is_short ? 1 : 2);
    unsigned const version = protocol == ppp_protocol_ipv4 ? 4 : protocol == ppp_protocol_ipv6 ? 6 : 0;
    return holds_version(frame.subspan(header.size), version) ? std::optional{header} : std::nullopt;
}

/// A PPPoE session header begins at `header.size` (RFC 2516 section 4).
[[nodiscard]] inline std::optional<link_header> find_ip_in_pppoe(link_header header, byte_span frame) noexcept {
    constexpr std::size_t size = 6, length_offset = 4;
    if (frame.size() < header.size + size) return std::nullopt;
    header.length_offset = header.size + length_offset;
    header.size += size;
    return find_ip_in_ppp(header, frame);
}

/// A stack of MPLS labels begins at `header.size`; the IP version is told by the packet itself (RFC 3032, RFC 4928).
[[nodiscard]] inline std::optional<link_header> find_ip_in_mpls(link_header header, byte_span frame) noexcept {
    for (;;) {
        if (frame.size() < header.size + 4) return std::nullopt;
        bool const is_last = (kubeproxy::load_be<std::uint32_t>(frame, header.size) & 0x100u) != 0;
        header.type_offset = header.size;
        header.size += 4;
        if (is_last) break;
    }
    header.type = link_type_field::mpls_label;
    auto const version = ip_version(frame.subspan(header.size));
    return version == 4 || version == 6 ? std::optional{header} : std::nullopt;
}

[[nodiscard]] inline std::optional<link_header> find_ip_in_loopback(link_layer link, byte_span frame) noexcept {
    if (frame.size() < 4) return std::nullopt;
    auto const number = kubeproxy::load_be<std::uint32_t>(frame, 0);
    bool const is_big_endian = link == link_layer::loop || number <= 0xffff;
    auto const family = is_big_endian ? number : kubeproxy::load_be<std::uint8_t>(frame, 0);
    unsigned const version = family == family_ipv4 ? 4 : is_family_ipv6(family) ? 6 : 0;
    if (!holds_version(frame.subspan(4), version)) return std::nullopt;
    auto const type = is_big_endian ? link_type_field::family_big_endian : link_type_field::family_little_endian;
    return link_header{.size = 4, .type_offset = 0, .type = type};
}

} // namespace detail

/// The header in front of a captured frame's IP packet; none when it has no IP packet, or ends before it.
[[nodiscard]] inline std::optional<link_header> find_captured_ip(link_layer link, byte_span frame) noexcept {
    switch (link) {
    case link_layer::raw_ip: return link_header{};
    case link_layer::ppp: return detail::find_ip_in_ppp({}, frame);
    case link_layer::pppoe: return detail::find_ip_in_pppoe({}, frame);
    case link_layer::null:
    case link_layer::loop: return detail::find_ip_in_loopback(link, frame);
    case link_layer::ethernet:
    case link_layer::cooked:
    case link_layer::cooked_v2: break;
    }
    auto const tagged = detail::skip_tags(link, frame);
    if (!tagged) return std::nullopt;
    auto const type = kubeproxy::load_be<std::uint16_t>(frame, tagged->type_offset);
    if (type == detail::ether_type_pppoe_session) return detail::find_ip_in_pppoe(*tagged, frame);
    if (detail::is_mpls(type)) return detail::find_ip_in_mpls(*tagged, frame);
    return detail::is_ip(type, frame.subspan(tagged->size)) ? tagged : std::nullopt;
}

namespace detail {

/// The explicit null label of the other version; any other label says nothing about the version.
inline void set_mpls_version(mutable_byte_span frame, std::size_t offset, bool is_ipv6) noexcept {
    auto const entry = kubeproxy::load_be<std::uint32_t>(frame, offset);
    auto const label = entry >> 12;
    if (label != 0 && label != 2) return;
    kubeproxy::store_be(frame, offset, (entry & 0xfffu) | (is_ipv6 ? 2u : 0u) << 12);
}

} // namespace detail

/// Makes the link header say that a packet of this version, 4 or 6, and of this many bytes follows.
/// \pre find_captured_ip() found `header` in these bytes
inline void describe_packet(mutable_byte_span frame, link_header const& header, unsigned version,
                            std::size_t size) noexcept {
    using kubeproxy::store_be;
    bool const is_ipv6 = version == 6;
    std::uint16_t const protocol = is_ipv6 ? detail::ppp_protocol_ipv6 : detail::ppp_protocol_ipv4;
    switch (header.type) {
    case link_type_field::none: break;
    case link_type_field::ether_type:
        store_be(frame, header.type_offset, is_ipv6 ? ether_type_ipv6 : ether_type_ipv4);
        break;
    case link_type_field::ppp_protocol: store_be(frame, header.type_offset, protocol); break;
    case link_type_field::ppp_protocol_short:
        store_be(frame, header.type_offset, static_cast<std::uint8_t>(protocol));
        break;
    case link_type_field::family_big_endian:
    case link_type_field::family_little_endian: {
        bool const is_big_endian = header.type == link_type_field::family_big_endian;
        auto const number = kubeproxy::load_be<std::uint32_t>(frame, header.type_offset);
        auto const before = is_big_endian ? number : number >> 24;
        if (detail::is_family_ipv6(before) == is_ipv6) break; // the capturing system's own number stays
        auto const family = is_ipv6 ? detail::family_ipv6 : detail::family_ipv4;
        store_be(frame, header.type_offset, is_big_endian ? family : family << 24);
        break;
    }
    case link_type_field::mpls_label: detail::set_mpls_version(frame, header.type_offset, is_ipv6); break;
    }
    if (header.length_offset == 0) return;
    auto const ppp_size = size + header.size - (header.length_offset + 2); // the PPP protocol field counts
    store_be(frame, header.length_offset, static_cast<std::uint16_t>(ppp_size));
}

} // namespace examples
