#pragma once

#include "kubeproxy/flow/flow_ref.hpp"
#include "kubeproxy/flow/tuple.hpp"

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

/// Tuples as machine words: hashed, turned round and compared in registers. Written field by field and read back whole,
/// a tuple waits for its stores.
namespace kubeproxy::inline v0_2 {

template <ip_version V>
using tuple_words = std::array<std::uint64_t, sizeof(tuple<V>) / sizeof(std::uint64_t)>;

template <ip_version V>
[[nodiscard]] constexpr tuple_words<V> words_of(tuple<V> const& t) noexcept {
    return std::bit_cast<tuple_words<V>>(t);
}

namespace detail {
/// The last word, with the two ports exchanged if `d` is reply.
[[nodiscard]] constexpr std::uint64_t ports_towards(std::uint64_t word, flow_direction d) noexcept {
    constexpr int shift = std::endian::native == std::endian::little ? 0 : 32;
    auto const ports = static_cast<std::uint32_t>(word >> shift);
    auto const turned = std::rotl(ports, 16 * static_cast<int>(d));
    return (word & ~(std::uint64_t{0xffff'ffff} << shift)) | std::uint64_t{turned} << shift;
}
} // namespace detail

/// What a packet of the direction `d` shows where one of the original direction shows `w`: `w`, or its mirror.
[[nodiscard]] constexpr tuple_words<ipv4> towards(tuple_words<ipv4> const& w, flow_direction d) noexcept {
    return {std::rotl(w[0], 32 * static_cast<int>(d)), detail::ports_towards(w[1], d)};
}
[[nodiscard]] constexpr tuple_words<ipv6> towards(tuple_words<ipv6> const& w, flow_direction d) noexcept {
    // Without a branch: which direction comes next cannot be foreseen.
    auto const mask = std::uint64_t{0} - static_cast<std::uint64_t>(d);
    auto const high = (w[0] ^ w[2]) & mask, low = (w[1] ^ w[3]) & mask;
    return {w[0] ^ high, w[1] ^ low, w[2] ^ high, w[3] ^ low, detail::ports_towards(w[4], d)};
}

[[nodiscard]] constexpr bool are_equal(tuple_words<ipv4> const& a, tuple_words<ipv4> const& b) noexcept {
    return ((a[0] ^ b[0]) | (a[1] ^ b[1])) == 0;
}
[[nodiscard]] constexpr bool are_equal(tuple_words<ipv6> const& a, tuple_words<ipv6> const& b) noexcept {
    return ((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]) | (a[4] ^ b[4])) == 0;
}

/// `t` as a packet of the direction `d` shows it.
template <ip_version V>
[[nodiscard]] constexpr tuple<V> towards(tuple<V> const& t, flow_direction d) noexcept {
    return std::bit_cast<tuple<V>>(towards(words_of(t), d));
}

} // namespace kubeproxy::inline v0_2
