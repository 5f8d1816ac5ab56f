#pragma once

#include "support/seed_packets.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <tuple>

/// A second reading of the RFCs: slow, plain, and without the code under test. The model of the whole path is built of
/// these parts; what they share with the library is octets and the names of verdicts.
namespace kubeproxy::slow {

using seed::octets;

inline std::size_t get(octets const& b, std::size_t at, std::size_t size) {
    std::size_t value = 0;
    for (std::size_t i = 0; i < size; ++i) value = value << 8 | std::to_integer<std::size_t>(b.at(at + i));
    return value;
}
inline void put(octets& b, std::size_t at, std::size_t size, std::size_t value) {
    while (size-- > 0) {
        b.at(at + size) = static_cast<std::byte>(value & 0xff);
        value >>= 8;
    }
}
inline void put(octets& b, std::size_t at, octets const& what) {
    for (std::size_t i = 0; i < what.size(); ++i) b.at(at + i) = what[i];
}
/// As much as there is of it.
inline octets part(octets const& b, std::size_t at, std::size_t size = ~std::size_t{0}) {
    auto const first = std::min(at, b.size()), count = std::min(size, b.size() - first);
    return {b.begin() + static_cast<std::ptrdiff_t>(first), b.begin() + static_cast<std::ptrdiff_t>(first + count)};
}

/// Both ends of a conversation as one packet shows them: an echo's identifier is the port of the side that asked.
struct ends {
    octets source, destination;
    unsigned sport = 0, dport = 0, protocol = 0;

    [[nodiscard]] ends mirrored() const { return {destination, source, dport, sport, protocol}; }
    [[nodiscard]] bool is_ipv6() const { return source.size() == 16; }
    [[nodiscard]] auto all() const { return std::tie(source, destination, sport, dport, protocol); }
    [[nodiscard]] friend bool operator==(ends const& a, ends const& b) { return a.all() == b.all(); }
    [[nodiscard]] friend bool operator<(ends const& a, ends const& b) { return a.all() < b.all(); }
};

inline constexpr std::size_t ones = 65535;

/// What the Internet checksum is about: the sum of 16-bit words, where 0 and 0xffff are one number (RFC 1071).
inline std::size_t residue(octets const& covered) {
    std::size_t sum = 0;
    for (std::size_t i = 0; i < covered.size(); ++i)
        sum += std::to_integer<std::size_t>(covered[i]) << (i % 2 == 0 ? 8 : 0);
    return sum % ones;
}
/// RFC 9293 section 3.1, RFC 768, RFC 8200 section 8.1
inline std::size_t pseudo_header(ends const& e, std::size_t length) {
    return (residue(e.source) + residue(e.destination) + e.protocol + residue(seed::be32(length))) % ones;
}

/// What a checksum field must hold when what it covers has changed: 0 where it was right, by full recomputation; where
/// it was wrong, wrong by as much. 0 and 0xffff mean the same there, so `seen` may choose.
inline std::size_t carried_over(std::size_t field, std::size_t before, std::size_t after, std::size_t seen) {
    bool const was_right = (before + field) % ones == 0;
    auto const needed = (before + field + ones - after % ones) % ones;
    return needed == 0 && !was_right && seen == ones ? ones : needed;
}

inline std::size_t crc32c(octets const& covered) {
    static auto const table = [] {
        std::array<std::uint32_t, 256> t{};
        for (std::uint32_t i = 0; i < t.size(); ++i) {
            t[i] = i;
            for (int bit = 0; bit < 8; ++bit) t[i] = t[i] >> 1 ^ (t[i] & 1 ? 0x82f6'3b78u : 0u);
        }
        return t;
    }();
    std::uint32_t crc = ~0u;
    for (auto const octet : covered) crc = crc >> 8 ^ table[(crc ^ std::to_integer<std::uint32_t>(octet)) & 0xff];
    return ~crc;
}

} // namespace kubeproxy::slow
