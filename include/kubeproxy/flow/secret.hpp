#pragma once

#include "kubeproxy/version.hpp"

#include <array>
#include <cstdint>
#include <random>

namespace kubeproxy {
inline namespace v0_2 {

/// What a value is derived from a secret for. Each use gets a value of its own, and none tells another.
enum class secret_use : std::uint64_t {
    flow_table = 1,      ///< places of flows in the index
    affinity = 2,        ///< places of clients in the memory for session affinity
    fragments = 3,       ///< places of fragmented messages
    source_ports = 4,    ///< the order in which source ports are taken
    identifications = 5, ///< the IPv4 identifications of fragments that share a source
};

/// 128 bits that clients must not learn. Whoever knows them can choose packets whose flows all fall into one place of a
/// table, and predict the source ports of masqueraded connections (RFC 6056).
///
/// A host provides one when it makes the flow table; the proxies that use the table derive theirs from it.
class secret {
  public:
    /// From the operating system. Throws what std::random_device throws. For set-up: this makes system calls.
    [[nodiscard]] static secret from_system() {
        std::random_device device;
        auto const word = [&device] { return std::uint64_t{device()} << 32 | device(); };
        auto const first = word();
        return secret{first, word()};
    }
    /// From a number: for tests, and for runs that must be repeatable. A number that others can guess hides nothing.
    explicit constexpr secret(std::uint64_t number) noexcept : secret{number, 0} {}
    /// From 128 random bits of the host's own.
    constexpr secret(std::uint64_t high, std::uint64_t low) noexcept : words_{high, low} {}

    /// The seed for one use. Two rounds of SplitMix64's finaliser, with half of the secret each (Steele, Lea, Flood,
    /// OOPSLA 2014): one seed does not lead back to the secret, which has twice its bits.
    [[nodiscard]] constexpr std::uint64_t derive(secret_use use) const noexcept {
        auto const step = 0x9e37'79b9'7f4a'7c15u * static_cast<std::uint64_t>(use);
        return mixed(words_[1] + mixed(words_[0] + step));
    }

  private:
    [[nodiscard]] static constexpr std::uint64_t mixed(std::uint64_t x) noexcept {
        x = (x ^ x >> 30) * 0xbf58'476d'1ce4'e5b9u;
        x = (x ^ x >> 27) * 0x94d0'49bb'1331'11ebu;
        return x ^ x >> 31;
    }

    std::array<std::uint64_t, 2> words_;
};

} // namespace v0_2
} // namespace kubeproxy
