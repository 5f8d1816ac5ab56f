#pragma once

#include "kubeproxy/wire/bytes.hpp"

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

/// The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
///
/// A *sum* is the one's complement sum of 16-bit words, folded to 16 bits or not yet; a *checksum* is
/// the complement of a sum, as it stands in a header. All values are in host order.
namespace kubeproxy {
inline namespace v0_2 {

/// Carries back into the low 16 bits until none is left. In a word plus itself with its halves exchanged, both halves
/// are the sum of the two, and the carry of the lower one is what the upper one lacked.
[[nodiscard]] constexpr std::uint16_t fold(std::uint64_t sum) noexcept {
    auto const halves = static_cast<std::uint32_t>((sum + std::rotl(sum, 32)) >> 32);
    return static_cast<std::uint16_t>((halves + std::rotl(halves, 16)) >> 16);
}

/// The sum of `bytes` taken as big-endian words, the odd last byte padded with zero. 8 bytes a step:
/// one's complement addition is associative over wider words too (RFC 1071 section 2 B, C).
[[nodiscard]] inline std::uint64_t sum_of(byte_span bytes) noexcept {
    std::uint64_t low = 0, high = 0;
    std::size_t i = 0;
    for (; i + 8 <= bytes.size(); i += 8) {
        auto const word = load_be<std::uint64_t>(bytes, i);
        low += word & 0xffff'ffff;
        high += word >> 32;
    }
    for (; i + 2 <= bytes.size(); i += 2) low += load_be<std::uint16_t>(bytes, i);
    if (i < bytes.size()) low += std::uint64_t{load_be<std::uint8_t>(bytes, i)} << 8;
    return std::uint64_t{fold(low)} + fold(high);
}

/// The sum of an object's bytes: an address, say.
template <std::size_t N>
    requires(N % 2 == 0)
[[nodiscard]] constexpr std::uint64_t sum_of(std::array<std::byte, N> const& bytes) noexcept {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < N; i += 2)
        sum += std::to_integer<std::uint64_t>(bytes[i]) << 8 | std::to_integer<std::uint64_t>(bytes[i + 1]);
    return sum;
}

/// The checksum that goes with a sum.
[[nodiscard]] constexpr std::uint16_t checksum_of(std::uint64_t sum) noexcept {
    return static_cast<std::uint16_t>(~fold(sum));
}

/// What a change of covered data adds to the sum: ~m + m' of RFC 1624, for any number of words.
[[nodiscard]] constexpr std::uint16_t sum_change(std::uint64_t before, std::uint64_t after) noexcept {
    return fold(std::uint64_t{static_cast<std::uint16_t>(~fold(before))} + fold(after));
}

/// The change that undoes `change`.
[[nodiscard]] constexpr std::uint16_t opposite(std::uint16_t change) noexcept {
    return static_cast<std::uint16_t>(~change);
}

/// The checksum after the covered data's sum changed by `change` (RFC 1624 equation 3).
[[nodiscard]] constexpr std::uint16_t checksum_plus(std::uint16_t checksum, std::uint16_t change) noexcept {
    // The complement of a sum of complements is a difference, with an end-around borrow.
    auto const difference = std::uint32_t{checksum} - change;
    return static_cast<std::uint16_t>(difference + (difference >> 16));
}

/// The checksum after one 16-bit word of the covered data changed.
///
/// RFC 1624 equation 3, HC' = ~(~HC + ~m + m'). RFC 1141's shorter form yields 0xffff
/// where the sender would have computed 0x0000 (RFC 1624 section 4).
/// \pre the word starts at an even offset of the covered data
[[nodiscard]] constexpr std::uint16_t checksum_after(std::uint16_t checksum, std::uint16_t before,
                                                     std::uint16_t after) noexcept {
    return checksum_plus(checksum, sum_change(before, after));
}

// RFC 1624 section 4, the worked example.
static_assert(checksum_after(0xdd2f, 0x5555, 0x3285) == 0x0000);

/// UDP sends a computed 0 as 0xffff, for 0 says that there is no checksum (RFC 768).
[[nodiscard]] constexpr std::uint16_t udp_checksum(std::uint16_t computed) noexcept {
    return computed == 0 ? std::uint16_t{0xffff} : computed;
}

/// The sum of the pseudo-header of TCP, UDP and ICMPv6 (RFC 9293 section 3.1, RFC 8200 section 8.1).
template <std::size_t N>
[[nodiscard]] constexpr std::uint64_t pseudo_header_sum(std::array<std::byte, N> const& source,
                                                        std::array<std::byte, N> const& destination,
                                                        std::uint8_t protocol, std::uint32_t length) noexcept {
    return sum_of(source) + sum_of(destination) + protocol + (length >> 16) + (length & 0xffff);
}

} // namespace v0_2
} // namespace kubeproxy
