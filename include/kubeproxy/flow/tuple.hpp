#pragma once

#include "kubeproxy/wire/packet.hpp"

#include <array>
#include <bit>
#include <cstdint>

namespace kubeproxy {
inline namespace v0_2 {

/// One direction of a conversation, as a packet of it shows. An ICMP echo request has its identifier as
/// source port and 0 as destination port, a reply the other way round, so that the reply is the mirror.
/// A protocol without ports has 0 for both. No padding: equal objects have equal bytes.
template <ip_version V>
struct tuple {
    typename V::address source{};
    typename V::address destination{};
    std::uint16_t source_port = 0;      ///< host order
    std::uint16_t destination_port = 0; ///< host order
    std::uint8_t protocol = 0;
    std::array<std::uint8_t, 3> zero{};

    [[nodiscard]] constexpr tuple mirrored() const noexcept {
        return {destination, source, destination_port, source_port, protocol};
    }
    [[nodiscard]] friend constexpr bool operator==(tuple const& a, tuple const& b) noexcept {
        using words = std::array<std::uint64_t, sizeof(tuple) / sizeof(std::uint64_t)>;
        auto const x = std::bit_cast<words>(a), y = std::bit_cast<words>(b);
        std::uint64_t difference = 0;
        for (std::size_t i = 0; i < x.size(); ++i) difference |= x[i] ^ y[i];
        return difference == 0;
    }
};
static_assert(sizeof(tuple<ipv4>) == 16 && sizeof(tuple<ipv6>) == 40);
static_assert(std::has_unique_object_representations_v<tuple<ipv4>> &&
              std::has_unique_object_representations_v<tuple<ipv6>>);

/// A tuple as machine words, first to last.
template <ip_version V>
using tuple_words = std::array<std::uint64_t, sizeof(tuple<V>) / sizeof(std::uint64_t)>;

/// Word by word: a processor that reads back as one what was just written in parts waits for all of it, and a compiler
/// that copies a whole tuple does that.
template <std::size_t Words>
[[gnu::always_inline]] inline void store_words(mutable_byte_span to,
                                               std::array<std::uint64_t, Words> const& words) noexcept {
    for (std::size_t i = 0; i < Words; ++i) store_object(to, i * sizeof(std::uint64_t), words[i]);
}
template <ip_version V>
[[gnu::always_inline]] inline void store_words(tuple<V>& to, tuple_words<V> const& words) noexcept {
    store_words(std::as_writable_bytes(std::span{&to, 1}), words);
}

namespace detail {

/// What stands behind the addresses of a tuple, as one word.
[[nodiscard]] constexpr std::uint64_t ends_word(std::uint16_t source_port, std::uint16_t destination_port,
                                                std::uint8_t protocol) noexcept {
    std::uint64_t const source = source_port, destination = destination_port, p = protocol;
    if constexpr (std::endian::native == std::endian::little)
        return source | destination << 16 | p << 32;
    else
        return source << 48 | destination << 32 | p << 24;
}

/// The same of both ports as they stand in a header, read as one number.
[[nodiscard, gnu::always_inline]] constexpr std::uint64_t ends_word(std::uint32_t ports,
                                                                    std::uint8_t protocol) noexcept {
    if constexpr (std::endian::native == std::endian::little)
        return std::rotl(ports, 16) | std::uint64_t{protocol} << 32;
    else
        return std::uint64_t{ports} << 32 | std::uint64_t{protocol} << 24;
}

/// The addresses of the IP header, which stand there as they do in a tuple, and `ends`.
template <ip_version V>
[[nodiscard, gnu::always_inline]] inline tuple_words<V> words_with(parsed<V> const& p, std::uint64_t ends) noexcept {
    constexpr std::size_t at = std::same_as<V, ipv4> ? ipv4_view::at::source : ipv6_view::at::source;
    constexpr std::size_t count = 2 * sizeof(typename V::address) / sizeof(std::uint64_t);
    tuple_words<V> words{};
    for (std::size_t i = 0; i < count; ++i)
        words[i] = load_object<std::uint64_t>(p.bytes, at + i * sizeof(std::uint64_t));
    words[count] = ends;
    return words;
}
template <ip_version V>
[[nodiscard]] tuple<V> tuple_with(parsed<V> const& p, std::uint64_t ends) noexcept {
    return std::bit_cast<tuple<V>>(words_with(p, ends));
}

template <ip_version V>
[[nodiscard]] tuple<V> addresses_of(parsed<V> const& p) noexcept {
    return tuple_with(p, ends_word(0, 0, p.protocol));
}

} // namespace detail

/// The tuple of a packet that parse_plain() took.
template <ip_version V>
[[nodiscard, gnu::always_inline]] inline tuple_words<V> words_of_plain(parsed<V> const& p) noexcept {
    auto const ports = load_be<std::uint32_t>(p.bytes, V::minimum_header + ports_at::source);
    return detail::words_with(p, detail::ends_word(ports, p.protocol));
}

/// The tuple that a packet shows; for an ICMP error that of the error itself, without ports.
template <ip_version V>
[[nodiscard]] inline tuple<V> tuple_of(parsed<V> const& p) noexcept {
    if (p.what == content::ports)
        return detail::tuple_with(p, detail::ends_word(load_be<std::uint16_t>(p.payload(), ports_at::source),
                                                       load_be<std::uint16_t>(p.payload(), ports_at::destination),
                                                       p.protocol));
    if (p.what != content::echo) return detail::addresses_of(p);
    auto const identifier = load_be<std::uint16_t>(p.payload(), icmp_at::identifier);
    bool const is_request = load_be<std::uint8_t>(p.payload(), icmp_at::type) == icmp_type<V>::echo_request;
    return detail::tuple_with(p, is_request ? detail::ends_word(identifier, 0, p.protocol)
                                            : detail::ends_word(0, identifier, p.protocol));
}

} // namespace v0_2
} // namespace kubeproxy
