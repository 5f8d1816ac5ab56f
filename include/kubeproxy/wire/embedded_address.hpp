#pragma once

#include "kubeproxy/wire/address.hpp"

#include <cassert>

/// IPv4 addresses inside IPv6 ones (RFC 6052 section 2.2).
namespace kubeproxy {
inline namespace v0_2 {

/// Well-Known Prefix for local use, RFC 8215.
inline constexpr prefix<ipv6> local_use_nat64_prefix{
    {std::byte{0x00}, std::byte{0x64}, std::byte{0xff}, std::byte{0x9b}, std::byte{0x00}, std::byte{0x01}}, 96};

/// The prefix lengths that RFC 6052 defines.
[[nodiscard]] constexpr bool is_embedding_length(unsigned bits) noexcept {
    return bits == 32 || bits == 40 || bits == 48 || bits == 56 || bits == 64 || bits == 96;
}

namespace detail {
/// Where byte `i` of the IPv4 address stands: byte 8 of the IPv6 address is reserved and zero.
constexpr std::size_t embedded_at(unsigned prefix_length, std::size_t i) noexcept {
    std::size_t const at = prefix_length / 8 + i;
    return prefix_length <= 64 && at >= 8 ? at + 1 : at;
}
} // namespace detail

/// The IPv6 address that stands for `a` behind `p`.
/// \pre is_embedding_length(p.length)
[[nodiscard]] constexpr ipv6::address embed(prefix<ipv6> const& p, ipv4::address const& a) noexcept {
    assert(is_embedding_length(p.length));
    ipv6::address result = p.address;
    for (std::size_t i = 0; i < a.size(); ++i) result[detail::embedded_at(p.length, i)] = a[i];
    return result;
}

/// The IPv4 address inside `a`.
/// \pre is_embedding_length(p.length); whether `p` contains `a` is the caller's to know
[[nodiscard]] constexpr ipv4::address extract(prefix<ipv6> const& p, ipv6::address const& a) noexcept {
    assert(is_embedding_length(p.length));
    ipv4::address result{};
    for (std::size_t i = 0; i < result.size(); ++i) result[i] = a[detail::embedded_at(p.length, i)];
    return result;
}

} // namespace v0_2
} // namespace kubeproxy
