#pragma once

#include "kubeproxy/nat/settings.hpp"
#include "kubeproxy/wire/bytes.hpp"
#include "kubeproxy/wire/icmp.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>

/// ICMP errors in the other family's words (RFC 7915 sections 4.2 and 5.2). Everything here is a function of the
/// eight bytes before the quotation.
namespace kubeproxy {
inline namespace v0_2 {
namespace detail {

/// The first eight bytes of an ICMP error without its checksum, and without the length of the quotation.
struct icmp_head {
    std::uint8_t type = 0;
    std::uint8_t code = 0;
    std::uint32_t rest = 0;
    [[nodiscard]] friend constexpr bool operator==(icmp_head const&, icmp_head const&) noexcept = default;
};

/// \pre message.size() >= 8
[[nodiscard]] inline icmp_head icmp_head_of(byte_span message) noexcept {
    return {load_be<std::uint8_t>(message, icmp_at::type), load_be<std::uint8_t>(message, icmp_at::code),
            load_be<std::uint32_t>(message, icmp_at::rest)};
}

/// Where a field of one header stands in the other one; 255 where it has no counterpart.
inline constexpr std::uint8_t no_pointer = 255;

/// RFC 7915 Figure 3.
[[nodiscard]] constexpr std::uint8_t pointer_after_ipv4(std::uint32_t pointer) noexcept {
    constexpr std::array<std::uint8_t, 20> table{0,          1, 4,  4,          no_pointer, no_pointer, no_pointer,
                                                 no_pointer, 7, 6,  no_pointer, no_pointer, 8,          8,
                                                 8,          8, 24, 24,         24,         24};
    return pointer < table.size() ? table[pointer] : no_pointer;
}

/// RFC 7915 Figure 6.
[[nodiscard]] constexpr std::uint8_t pointer_after_ipv6(std::uint32_t pointer) noexcept {
    constexpr std::array<std::uint8_t, 8> table{0, 1, no_pointer, no_pointer, 2, 2, 9, 8};
    if (pointer < table.size()) return table[pointer];
    if (pointer < 24) return 12;
    return pointer < 40 ? 16 : no_pointer;
}

/// The largest plateau of RFC 1191 section 7.1 below the size of the packet that did not fit: what a router without
/// the MTU field may have meant. Those below 1280 make no difference (RFC 7915 section 4.2).
[[nodiscard]] constexpr std::uint32_t plateau_below(std::size_t quoted_size) noexcept {
    for (std::uint32_t const plateau : {65535u, 32000u, 17914u, 8166u, 4352u, 2002u, 1492u})
        if (plateau < quoted_size) return plateau;
    return 1006;
}

/// The packet that did not fit, as far as the translation of the MTU depends on it.
struct packet_in_error {
    std::size_t size = 0;             ///< in bytes, as its own header says
    bool has_fragment_header = false; ///< IPv6 only
};

/// RFC 7915 section 4.2
[[nodiscard]] constexpr std::uint32_t mtu_towards_ipv6(std::uint32_t mtu, packet_in_error const& packet,
                                                       translation_settings const& s) noexcept {
    constexpr std::uint32_t larger = header_growth<ipv4, ipv6>;
    if (mtu == 0) mtu = plateau_below(packet.size);
    return std::max(std::min({mtu + larger, std::uint32_t{s.ipv6_mtu}, s.ipv4_mtu + larger}), std::uint32_t{1280});
}

/// RFC 7915 section 5.2: a packet of the size that the IPv4 sender is told fits after it is translated again, with its
/// fragment header if it has one. Never below what every IPv4 link carries (RFC 791 section 3.2).
[[nodiscard]] constexpr std::uint32_t mtu_towards_ipv4(std::uint32_t mtu, packet_in_error const& packet,
                                                       translation_settings const& s) noexcept {
    constexpr std::uint32_t min_mtu = 68, longer_header = header_growth<ipv4, ipv6>;
    auto const growth = longer_header + (packet.has_fragment_header ? 8u : 0u);
    auto const smaller = [growth](std::uint32_t m) { return m > min_mtu + growth ? m - growth : min_mtu; };
    return std::min({smaller(mtu), std::uint32_t{s.ipv4_mtu}, smaller(s.ipv6_mtu)});
}

/// Destination Unreachable of ICMP, but for code 4 (RFC 7915 section 4.2).
[[nodiscard]] constexpr std::optional<icmp_head> unreachable_towards_ipv6(std::uint8_t code) noexcept {
    using to = icmp_type<ipv6>;
    constexpr icmp_head no_route{to::destination_unreachable, 0, 0}, prohibited{to::destination_unreachable, 1, 0},
        no_port{to::destination_unreachable, 4, 0}, bad_next_header{to::parameter_problem, 1, 6};
    constexpr std::array<std::optional<icmp_head>, 16> by_code{
        no_route, no_route,   bad_next_header, no_port,  std::nullopt, no_route,   no_route,     no_route,
        no_route, prohibited, prohibited,      no_route, no_route,     prohibited, std::nullopt, prohibited};
    return code < by_code.size() ? by_code[code] : std::nullopt;
}

/// Destination Unreachable of ICMPv6 (RFC 7915 section 5.2).
[[nodiscard]] constexpr std::optional<icmp_head> unreachable_towards_ipv4(std::uint8_t code) noexcept {
    constexpr auto type = icmp_type<ipv4>::destination_unreachable;
    constexpr icmp_head no_host{type, 1, 0}, no_port{type, 3, 0}, prohibited{type, 10, 0};
    constexpr std::array by_code{no_host, prohibited, no_host, no_host, no_port};
    return code < by_code.size() ? std::optional{by_code[code]} : std::nullopt;
}

/// The error that says the same in the other family, or none where nothing does.
template <ip_version From>
[[nodiscard]] constexpr std::optional<icmp_head> head_after(icmp_head h, packet_in_error const& packet,
                                                            translation_settings const& s) noexcept;

template <>
constexpr std::optional<icmp_head> head_after<ipv4>(icmp_head h, packet_in_error const& packet,
                                                    translation_settings const& s) noexcept {
    using from = icmp_type<ipv4>;
    using to = icmp_type<ipv6>;
    constexpr std::uint8_t fragmentation_needed = 4, missing_option = 1, bad_length = 2;
    switch (h.type) {
    case from::destination_unreachable:
        if (h.code != fragmentation_needed) return unreachable_towards_ipv6(h.code);
        return icmp_head{to::packet_too_big, 0, mtu_towards_ipv6(h.rest & 0xffff, packet, s)};
    case from::time_exceeded: return icmp_head{to::time_exceeded, h.code, 0};
    case from::parameter_problem: {
        auto const pointer = pointer_after_ipv4(h.rest >> 24);
        if (h.code == missing_option || h.code > bad_length || pointer == no_pointer) return std::nullopt;
        return icmp_head{to::parameter_problem, 0, pointer};
    }
    default: return std::nullopt; // Source Quench and Redirect are for one link, or obsolete
    }
}

template <>
constexpr std::optional<icmp_head> head_after<ipv6>(icmp_head h, packet_in_error const& packet,
                                                    translation_settings const& s) noexcept {
    using from = icmp_type<ipv6>;
    using to = icmp_type<ipv4>;
    constexpr std::uint8_t fragmentation_needed = 4, no_protocol = 2, bad_next_header = 1;
    switch (h.type) {
    case from::destination_unreachable: return unreachable_towards_ipv4(h.code);
    case from::packet_too_big:
        return icmp_head{to::destination_unreachable, fragmentation_needed, mtu_towards_ipv4(h.rest, packet, s)};
    case from::time_exceeded: return icmp_head{to::time_exceeded, h.code, 0};
    case from::parameter_problem: {
        if (h.code == bad_next_header) return icmp_head{to::destination_unreachable, no_protocol, 0};
        auto const pointer = pointer_after_ipv6(h.rest);
        if (h.code != 0 || pointer == no_pointer) return std::nullopt;
        return icmp_head{to::parameter_problem, 0, std::uint32_t{pointer} << 24};
    }
    default: return std::nullopt;
    }
}

} // namespace detail
} // namespace v0_2
} // namespace kubeproxy
