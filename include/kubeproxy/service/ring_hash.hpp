#pragma once

#include "kubeproxy/version.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace kubeproxy {
inline namespace v0_2 {
namespace detail {

/// 2^64 divided by the golden ratio, SplitMix64's increment: keeps zero from mixing to zero.
inline constexpr std::uint64_t ring_gamma = 0x9e3779b97f4a7c15u;

/// The finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014; Stafford's variant 13): a bijection in which every bit
/// of the input reaches every bit of the output.
[[nodiscard]] constexpr std::uint64_t ring_mix(std::uint64_t x) noexcept {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

} // namespace detail

/// A backend's key: a seeded hash of what names it on every node, its address and port in network byte order.
///
/// It is for keys that a cluster's own configuration makes; it does not withstand someone who knows the seed.
[[nodiscard]] constexpr std::uint64_t ring_key(std::span<std::byte const> identity, std::uint64_t seed) noexcept {
    auto key = detail::ring_mix(seed + detail::ring_gamma * (identity.size() + 1));
    while (!identity.empty()) {
        auto const count = std::min(identity.size(), sizeof(std::uint64_t));
        std::uint64_t word = 0;
        for (auto const byte : identity.first(count)) word = word << 8 | std::to_integer<std::uint64_t>(byte);
        key = detail::ring_mix((key ^ word) + detail::ring_gamma);
        identity = identity.subspan(count);
    }
    return key;
}

} // namespace v0_2
} // namespace kubeproxy
