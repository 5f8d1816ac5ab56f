#pragma once

#include "kubeproxy/version.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <type_traits>

namespace kubeproxy {
inline namespace v0_2 {

/// An IP version as a type: algorithms written once are instantiated for each.
/// Addresses are bytes in network order.
struct ipv4 {
    using address = std::array<std::byte, 4>;
    using other = struct ipv6;
    static constexpr unsigned number = 4;
    static constexpr std::uint8_t icmp_protocol = 1;
    static constexpr std::size_t minimum_header = 20;
};
struct ipv6 {
    using address = std::array<std::byte, 16>;
    using other = ipv4;
    static constexpr unsigned number = 6;
    static constexpr std::uint8_t icmp_protocol = 58;
    static constexpr std::size_t minimum_header = 40;
};
template <class T>
concept ip_version = std::same_as<T, ipv4> || std::same_as<T, ipv6>;

template <ip_version V>
inline constexpr unsigned address_bits = sizeof(typename V::address) * 8;

/// How much longer the fixed header gets by a translation; negative where it shrinks.
template <ip_version From, ip_version To>
inline constexpr std::ptrdiff_t header_growth = static_cast<std::ptrdiff_t>(To::minimum_header) -
                                                static_cast<std::ptrdiff_t>(From::minimum_header);
static_assert(header_growth<ipv4, ipv6> == 20 && header_growth<ipv6, ipv4> == -20 && header_growth<ipv4, ipv4> == 0);

/// The address whose four bytes, first to last, are those of `value` from its highest.
[[nodiscard]] constexpr ipv4::address ipv4_address(std::uint32_t value) noexcept {
    return {std::byte(value >> 24), std::byte(value >> 16), std::byte(value >> 8), std::byte(value)};
}
[[nodiscard]] constexpr std::uint32_t to_number(ipv4::address a) noexcept {
    return std::to_integer<std::uint32_t>(a[0]) << 24 | std::to_integer<std::uint32_t>(a[1]) << 16 |
           std::to_integer<std::uint32_t>(a[2]) << 8 | std::to_integer<std::uint32_t>(a[3]);
}

/// The first `bits` bits of an address; the rest zero.
template <class Address>
[[nodiscard]] constexpr Address masked(Address const& a, unsigned bits) noexcept {
    constexpr unsigned word_bits = 32;
    using words = std::array<std::uint32_t, sizeof(Address) * 8 / word_bits>;
    if (bits >= sizeof(Address) * 8) return a;
    auto kept = std::bit_cast<words>(a);
    for (unsigned i = 0; i < kept.size(); ++i) {
        auto const left = bits > i * word_bits ? std::min(bits - i * word_bits, word_bits) : 0u;
        auto const mask = static_cast<std::uint32_t>(std::uint64_t{0xffff'ffff} << (word_bits - left));
        kept[i] &= std::bit_cast<std::uint32_t>(ipv4_address(mask));
    }
    return std::bit_cast<Address>(kept);
}

namespace detail {
/// An address as machine words.
template <class Address>
[[nodiscard]] constexpr auto address_words(Address const& a) noexcept {
    using word = std::conditional_t<sizeof(Address) == sizeof(std::uint32_t), std::uint32_t, std::uint64_t>;
    return std::bit_cast<std::array<word, sizeof(Address) / sizeof(word)>>(a);
}
} // namespace detail

/// The bits of `a` that `mask` has.
template <class Address>
[[nodiscard]] constexpr Address masked_by(Address const& a, Address const& mask) noexcept {
    auto kept = detail::address_words(a);
    auto const bits = detail::address_words(mask);
    for (std::size_t i = 0; i < kept.size(); ++i) kept[i] &= bits[i];
    return std::bit_cast<Address>(kept);
}

/// A range of addresses that share their first `length` bits.
template <ip_version V>
struct prefix {
    typename V::address address{}; ///< bits behind `length` are zero
    std::uint8_t length = 0;       ///< 0 to 32 or 128

    [[nodiscard]] static constexpr prefix of(typename V::address a, unsigned bits) noexcept {
        assert(bits <= address_bits<V>);
        return {masked(a, bits), static_cast<std::uint8_t>(bits)};
    }
    [[nodiscard]] constexpr bool contains(typename V::address const& a) const noexcept {
        return masked(a, length) == address;
    }
    [[nodiscard]] friend constexpr bool operator==(prefix const& a, prefix const& b) noexcept {
        auto const x = detail::address_words(a.address), y = detail::address_words(b.address);
        std::uint64_t difference = a.length ^ b.length;
        for (std::size_t i = 0; i < x.size(); ++i) difference |= x[i] ^ y[i];
        return difference == 0;
    }
    [[nodiscard]] friend constexpr auto operator<=>(prefix const& a, prefix const& b) noexcept {
        return std::tie(a.address, a.length) <=> std::tie(b.address, b.length);
    }
};

/// 224.0.0.0/4 (RFC 5771), ff00::/8 (RFC 4291 section 2.7)
[[nodiscard]] constexpr bool is_multicast(ipv4::address a) noexcept { return (to_number(a) >> 28) == 0xe; }
[[nodiscard]] constexpr bool is_multicast(ipv6::address const& a) noexcept { return a[0] == std::byte{0xff}; }

/// 127.0.0.0/8, ::1
[[nodiscard]] constexpr bool is_loopback(ipv4::address a) noexcept { return a[0] == std::byte{127}; }
[[nodiscard]] constexpr bool is_loopback(ipv6::address const& a) noexcept {
    ipv6::address one{};
    one[15] = std::byte{1};
    return a == one;
}

/// 169.254.0.0/16 (RFC 3927) and fe80::/10 (RFC 4291 section 2.5.6)
[[nodiscard]] constexpr bool is_link_local(ipv4::address a) noexcept { return to_number(a) >> 16 == 0xa9fe; }
[[nodiscard]] constexpr bool is_link_local(ipv6::address const& a) noexcept {
    return a[0] == std::byte{0xfe} && (a[1] & std::byte{0xc0}) == std::byte{0x80};
}

template <class Address>
[[nodiscard]] constexpr bool is_unspecified(Address const& a) noexcept {
    return a == Address{};
}

} // namespace v0_2
} // namespace kubeproxy
