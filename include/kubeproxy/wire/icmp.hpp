#pragma once

#include "kubeproxy/wire/address.hpp"
#include "kubeproxy/wire/bytes.hpp"

#include <cstddef>
#include <cstdint>

namespace kubeproxy {
inline namespace v0_2 {

/// Message types of ICMP (RFC 792) and ICMPv6 (RFC 4443).
template <ip_version V>
struct icmp_type;

template <>
struct icmp_type<ipv4> {
    static constexpr std::uint8_t echo_reply = 0, destination_unreachable = 3, source_quench = 4, redirect = 5,
                                  echo_request = 8, time_exceeded = 11, parameter_problem = 12;
};
template <>
struct icmp_type<ipv6> {
    static constexpr std::uint8_t destination_unreachable = 1, packet_too_big = 2, time_exceeded = 3,
                                  parameter_problem = 4, echo_request = 128, echo_reply = 129;
};

/// Whether the message quotes the packet it is about.
template <ip_version V>
[[nodiscard]] constexpr bool is_icmp_error(std::uint8_t type) noexcept {
    if constexpr (std::same_as<V, ipv4>) {
        using t = icmp_type<ipv4>;
        return type == t::destination_unreachable || type == t::source_quench || type == t::redirect ||
               type == t::time_exceeded || type == t::parameter_problem;
    } else {
        return type < 128; // RFC 4443 section 2.1: the high bit separates information from errors
    }
}

template <ip_version V>
[[nodiscard]] constexpr bool is_icmp_echo(std::uint8_t type) noexcept {
    return type == icmp_type<V>::echo_request || type == icmp_type<V>::echo_reply;
}

/// Byte offsets of an ICMP message; the quoted packet starts at `quoted` (RFC 792, RFC 4443).
struct icmp_at {
    static constexpr std::size_t type = 0, code = 1, checksum = 2, rest = 4, identifier = 4, mtu4 = 6, mtu6 = 4,
                                 pointer4 = 4, pointer6 = 4, length4 = 5, length6 = 4, quoted = 8;
};

} // namespace v0_2
} // namespace kubeproxy
