#pragma once

#include "kubeproxy/flow/tuple.hpp"

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

/// Tuples as machine words: hashed, turned round and compared in registers. Written field by field and read back whole,
/// a tuple waits for its stores.
namespace kubeproxy {
inline namespace v0_2 {

/// Word by word, for the same reason as store_words().
template <ip_version V>
[[nodiscard, gnu::always_inline]] inline tuple_words<V> load_words(byte_span bytes) noexcept {
    tuple_words<V> words{};
    for (std::size_t i = 0; i < words.size(); ++i)
        words[i] = load_object<std::uint64_t>(bytes, i * sizeof(std::uint64_t));
    return words;
}
template <ip_version V>
[[nodiscard, gnu::always_inline]] constexpr tuple_words<V> words_of(tuple<V> const& t) noexcept {
    if (std::is_constant_evaluated()) return std::bit_cast<tuple_words<V>>(t);
    return load_words<V>(std::as_bytes(std::span{&t, 1}));
}

namespace detail {
/// The words of a tuple as a big-endian machine reads them, turned into those that a little-endian machine reads.
/// Hashes are computed from the latter, because nodes of either byte order must compute the same hash.
template <std::size_t Words>
[[nodiscard, gnu::always_inline]] constexpr std::array<std::uint64_t, Words>
little_endian_words(std::array<std::uint64_t, Words> words) noexcept {
    for (std::size_t i = 0; i + 1 < Words; ++i) words[i] = reversed_bytes(words[i]);
    // The ports are numbers, and the protocol is the first byte behind them.
    auto const ports = std::rotl(static_cast<std::uint32_t>(words.back() >> 32), 16);
    auto const protocol = reversed_bytes(static_cast<std::uint32_t>(words.back()));
    words.back() = ports | std::uint64_t{protocol} << 32;
    return words;
}

/// The last word, with the two ports exchanged.
[[nodiscard, gnu::always_inline]] constexpr std::uint64_t with_ports_exchanged(std::uint64_t word) noexcept {
    constexpr int shift = std::endian::native == std::endian::little ? 0 : 32;
    auto const ports = std::rotl(static_cast<std::uint32_t>(word >> shift), 16);
    return (word & ~(std::uint64_t{0xffff'ffff} << shift)) | std::uint64_t{ports} << shift;
}
} // namespace detail

/// The words of the tuple that a packet the other way shows.
[[nodiscard, gnu::always_inline]] constexpr tuple_words<ipv4> mirrored(tuple_words<ipv4> const& w) noexcept {
    return {std::rotl(w[0], 32), detail::with_ports_exchanged(w[1])};
}
[[nodiscard, gnu::always_inline]] constexpr tuple_words<ipv6> mirrored(tuple_words<ipv6> const& w) noexcept {
    return {w[2], w[3], w[0], w[1], detail::with_ports_exchanged(w[4])};
}

/// To another address.
[[nodiscard, gnu::always_inline]] constexpr tuple_words<ipv4> with_destination(tuple_words<ipv4> const& w,
                                                                               ipv4::address const& to) noexcept {
    constexpr int shift = std::endian::native == std::endian::little ? 32 : 0;
    auto const kept = w[0] & ~(std::uint64_t{0xffff'ffff} << shift);
    return {kept | std::uint64_t{std::bit_cast<std::uint32_t>(to)} << shift, w[1]};
}
[[nodiscard, gnu::always_inline]] constexpr tuple_words<ipv6> with_destination(tuple_words<ipv6> const& w,
                                                                               ipv6::address const& to) noexcept {
    auto const halves = std::bit_cast<std::array<std::uint64_t, 2>>(to);
    return {w[0], w[1], halves[0], halves[1], w[4]};
}
/// To another port.
template <std::size_t Words>
[[nodiscard, gnu::always_inline]] constexpr std::array<std::uint64_t, Words>
with_destination_port(std::array<std::uint64_t, Words> w, std::uint16_t port) noexcept {
    constexpr int shift = std::endian::native == std::endian::little ? 16 : 32;
    w.back() = (w.back() & ~(std::uint64_t{0xffff} << shift)) | std::uint64_t{port} << shift;
    return w;
}

[[nodiscard, gnu::always_inline]] constexpr bool are_equal(tuple_words<ipv4> const& a,
                                                           tuple_words<ipv4> const& b) noexcept {
    return ((a[0] ^ b[0]) | (a[1] ^ b[1])) == 0;
}
[[nodiscard, gnu::always_inline]] constexpr bool are_equal(tuple_words<ipv6> const& a,
                                                           tuple_words<ipv6> const& b) noexcept {
    return ((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]) | (a[4] ^ b[4])) == 0;
}

} // namespace v0_2
} // namespace kubeproxy
