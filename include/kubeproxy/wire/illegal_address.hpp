#pragma once

#include "kubeproxy/wire/embedded_address.hpp"

/// Addresses that no packet between two hosts may have as its source. A translation would give such a packet a source
/// that looks legal to the other family, so it is dropped instead (RFC 7915 sections 4.1 and 5.1).
namespace kubeproxy {
inline namespace v0_2 {

/// 64:ff9b::/96 (RFC 6052 section 2.1)
inline constexpr prefix<ipv6> well_known_nat64_prefix{
    {std::byte{0x00}, std::byte{0x64}, std::byte{0xff}, std::byte{0x9b}}, 96};

/// IPv4-mapped addresses, 0:0:0:0:0:ffff:0:0/96 (RFC 4291 section 2.5.5.2)
inline constexpr prefix<ipv6> ipv4_mapped_prefix{{std::byte{0}, std::byte{0}, std::byte{0}, std::byte{0}, std::byte{0},
                                                  std::byte{0}, std::byte{0}, std::byte{0}, std::byte{0}, std::byte{0},
                                                  std::byte{0xff}, std::byte{0xff}},
                                                 96};

/// 0/8, 127/8, multicast, class E and broadcast (RFC 1812 section 5.3.7), and link-local addresses, which no router
/// forwards (RFC 3927 section 2.7).
[[nodiscard]] constexpr bool is_illegal_source(ipv4::address const& a) noexcept {
    auto const value = to_number(a);
    auto const network = value >> 24;
    return network == 0 || network == 127 || network >= 224 || value >> 16 == 0xa9fe;
}

/// ::, ::1, multicast and link-local addresses (RFC 4291 section 2), and those that stand for an illegal IPv4 address
/// (RFC 6052 section 3.1).
/// \param nat64 the prefix behind which IPv4 hosts have IPv6 addresses, beside the Well-Known Prefix
[[nodiscard]] constexpr bool is_illegal_source(ipv6::address const& a, prefix<ipv6> const& nat64) noexcept {
    bool const is_link_local = a[0] == std::byte{0xfe} && (a[1] & std::byte{0xc0}) == std::byte{0x80};
    if (is_unspecified(a) || is_loopback(a) || is_multicast(a) || is_link_local) return true;
    for (auto const* embedding : {&nat64, &well_known_nat64_prefix, &ipv4_mapped_prefix})
        if (embedding->contains(a) && is_illegal_source(extract(*embedding, a))) return true;
    return false;
}
[[nodiscard]] constexpr bool is_illegal_source(ipv4::address const& a, prefix<ipv6> const&) noexcept {
    return is_illegal_source(a);
}

} // namespace v0_2
} // namespace kubeproxy
