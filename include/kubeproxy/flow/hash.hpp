#pragma once

#include "kubeproxy/flow/tuple_words.hpp"

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#if defined(__AES__) && defined(__SSE2__)
#include <wmmintrin.h>
#endif

/// Seeded hashes of tuples. A client chooses its tuples: without a secret seed it would choose ones that
/// collide. CRC32 is left out for that reason: it is linear, so what collides collides under every seed.
namespace kubeproxy {
inline namespace v0_2 {
namespace detail {

inline constexpr std::size_t hash_secrets = 16;

/// Independent words from one seed: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
[[nodiscard]] constexpr std::array<std::uint64_t, hash_secrets> secrets_from(std::uint64_t seed) noexcept {
    std::array<std::uint64_t, hash_secrets> secrets{};
    for (auto& secret : secrets) {
        seed += 0x9e3779b97f4a7c15u;
        auto x = (seed ^ (seed >> 30)) * 0xbf58476d1ce4e5b9u;
        x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
        secret = x ^ (x >> 31);
    }
    return secrets;
}

__extension__ using uint128 = unsigned __int128;

/// Both halves of the 128-bit product, folded: every bit of the input reaches the middle of the product.
[[nodiscard]] constexpr std::uint64_t folded_product(std::uint64_t a, std::uint64_t b) noexcept {
    auto const product = static_cast<uint128>(a) * b;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

} // namespace detail

/// Multiplies what the seed has made unpredictable. For any machine with a 64-bit multiplication.
struct multiply_mixing {
    using secrets = std::array<std::uint64_t, detail::hash_secrets>;

    [[nodiscard]] static constexpr std::uint64_t mix(tuple_words<ipv4> const& w, secrets const& s) noexcept {
        auto const h = detail::folded_product(w[0] ^ s[0], w[1] ^ s[1]);
        return detail::folded_product(h ^ s[2], s[3] | 1u);
    }
    [[nodiscard]] static constexpr std::uint64_t mix(tuple_words<ipv6> const& w, secrets const& s) noexcept {
        auto const h =
            detail::folded_product(w[0] ^ s[0], w[1] ^ s[1]) ^ detail::folded_product(w[2] ^ s[4], w[3] ^ s[5]);
        return detail::folded_product(detail::folded_product(h ^ s[6], w[4] ^ s[7]) ^ s[2], s[3] | 1u);
    }
};

#if defined(__AES__) && defined(__SSE2__)
/// AES rounds keyed by the seed. Two rounds carry each byte of a block to all 16 (FIPS 197 section 5.1); a third
/// hides where it came from. An IPv4 tuple is one block.
struct aes_mixing {
    using secrets = std::array<std::uint64_t, detail::hash_secrets>;

    [[nodiscard]] static std::uint64_t mix(tuple_words<ipv4> const& w, secrets const& s) noexcept {
        return finish(_mm_xor_si128(block(in_register(w[0]), in_register(w[1])), key(s, 0)), s);
    }
    [[nodiscard]] static std::uint64_t mix(tuple_words<ipv6> const& w, secrets const& s) noexcept {
        auto state = _mm_xor_si128(block(w[0], w[1]), key(s, 5));
        state = _mm_aesenc_si128(_mm_aesenc_si128(state, key(s, 4)), block(w[2], w[3]));
        state = _mm_aesenc_si128(_mm_aesenc_si128(state, key(s, 6)), block(w[4], 0));
        return finish(_mm_xor_si128(state, key(s, 0)), s);
    }

  private:
    /// Two words that were stored one after the other are not there yet for a load of both: gather them from
    /// registers, where they still are.
    [[nodiscard, gnu::always_inline]] static std::uint64_t in_register(std::uint64_t word) noexcept {
#if defined(__x86_64__)
        asm("" : "+r"(word));
#endif
        return word;
    }
    [[nodiscard]] static __m128i block(std::uint64_t low, std::uint64_t high) noexcept {
        return _mm_set_epi64x(static_cast<long long>(high), static_cast<long long>(low));
    }
    [[nodiscard]] static __m128i key(secrets const& s, std::size_t i) noexcept { return block(s[i * 2], s[i * 2 + 1]); }
    [[nodiscard]] static std::uint64_t finish(__m128i state, secrets const& s) noexcept {
        for (std::size_t round = 1; round <= 3; ++round) state = _mm_aesenc_si128(state, key(s, round));
        return static_cast<std::uint64_t>(_mm_cvtsi128_si64(state));
    }
};
using fastest_mixing = aes_mixing;
#else
using fastest_mixing = multiply_mixing;
#endif

/// A hash of tuples of either version, keyed by a seed that clients must not learn. It does not depend on the machine's
/// byte order.
///
/// The way of mixing is part of the type, so that translation units compiled for different machines do
/// not share a table by mistake.
template <class Mixing>
class basic_flow_hash {
  public:
    constexpr explicit basic_flow_hash(std::uint64_t seed) noexcept : secrets_{detail::secrets_from(seed)} {}

    template <ip_version V>
    [[nodiscard, gnu::always_inline]] constexpr std::uint64_t operator()(tuple<V> const& t) const noexcept {
        return (*this)(words_of(t));
    }
    /// The same of a tuple in registers.
    template <std::size_t Words>
    [[nodiscard, gnu::always_inline]] constexpr std::uint64_t
    operator()(std::array<std::uint64_t, Words> const& tuple) const noexcept {
        if constexpr (std::endian::native == std::endian::little)
            return Mixing::mix(tuple, secrets_);
        else
            return Mixing::mix(detail::little_endian_words(tuple), secrets_);
    }

  private:
    alignas(64) std::array<std::uint64_t, detail::hash_secrets> secrets_;
};

using flow_hash = basic_flow_hash<fastest_mixing>;

} // namespace v0_2
} // namespace kubeproxy
