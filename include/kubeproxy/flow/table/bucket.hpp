#pragma once

#include "kubeproxy/flow/flow_ref.hpp"
#include "kubeproxy/sync/sharing.hpp"

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace kubeproxy {
inline namespace v0_2 {
namespace detail {

/// What the index keeps of a tuple, in one word that is read and written at once: 31 bits of its hash, whether
/// it stands in its second bucket, and the flow. 0 is no entry.
class index_entry {
  public:
    constexpr index_entry() = default;
    constexpr index_entry(std::uint32_t label, flow_ref ref) noexcept
        : bits_{std::uint64_t{label} << 32 | ref.bits()} {}
    [[nodiscard]] static constexpr index_entry from_bits(std::uint64_t bits) noexcept {
        index_entry e;
        e.bits_ = bits;
        return e;
    }
    [[nodiscard]] constexpr explicit operator bool() const noexcept { return bits_ != 0; }
    [[nodiscard]] constexpr std::uint64_t bits() const noexcept { return bits_; }
    [[nodiscard]] constexpr std::uint32_t label() const noexcept { return static_cast<std::uint32_t>(bits_ >> 32); }
    [[nodiscard]] constexpr bool is_displaced() const noexcept { return (label() & 1u) != 0; }
    [[nodiscard]] constexpr flow_ref ref() const noexcept {
        return flow_ref::from_bits(static_cast<std::uint32_t>(bits_));
    }
    /// The same flow's entry for the other of its buckets.
    [[nodiscard]] constexpr index_entry moved() const noexcept { return from_bits(bits_ ^ std::uint64_t{1} << 32); }
    [[nodiscard]] friend constexpr bool operator==(index_entry, index_entry) noexcept = default;

  private:
    std::uint64_t bits_ = 0;
};

/// Slots of a bucket, lowest first. Word w of the bucket, which is slot w - 1, has bit 2w + 1: the place of its label
/// among the 32-bit lanes of the line.
class slot_set {
  public:
    static constexpr std::uint32_t all = 0xaaa8;
    constexpr explicit slot_set(std::uint32_t lanes) noexcept : lanes_{lanes} {}
    [[nodiscard]] constexpr explicit operator bool() const noexcept { return lanes_ != 0; }
    [[nodiscard]] constexpr std::size_t first() const noexcept {
        return static_cast<std::size_t>(std::countr_zero(lanes_)) / 2 - 1;
    }
    constexpr void drop_first() noexcept { lanes_ &= lanes_ - 1; }
    [[nodiscard]] friend constexpr bool operator==(slot_set, slot_set) noexcept = default;

  private:
    std::uint32_t lanes_;
};

#if defined(__SSE2__)
#if defined(__AVX2__)
using line_part = __m256i; ///< eight 32-bit lanes of a cache line
[[nodiscard, gnu::always_inline]] inline line_part load_plainly(line_part const* part) noexcept {
    return _mm256_load_si256(part);
}
#else
using line_part = __m128i; ///< four
[[nodiscard, gnu::always_inline]] inline line_part load_plainly(line_part const* part) noexcept {
    return _mm_load_si128(part);
}
#endif

/// Those lanes of a line, of which it has 64 / sizeof(line_part).
template <bool IsShared>
[[nodiscard, gnu::always_inline]] inline line_part load_part(void const* line, std::size_t which) noexcept {
    auto const* const part = static_cast<line_part const*>(line) + which;
    if constexpr (!IsShared) return load_plainly(part);
    // By hand, for other threads store to the line, and C++ has no vector of atomics. The processor has: an aligned
    // 8-byte word is never seen by halves (Intel SDM volume 3A section 9.1.1, AMD APM volume 2 section 7.3.2).
    line_part loaded;
#if defined(__AVX__)
    asm volatile("vmovdqa %1, %0" : "=x"(loaded) : "m"(*part));
#else
    asm volatile("movdqa %1, %0" : "=x"(loaded) : "m"(*part));
#endif
    return loaded;
}
/// A bit for each 32-bit lane of a cache line that is equal to `label`.
template <bool IsShared>
[[nodiscard, gnu::always_inline]] inline std::uint32_t lanes_equal(void const* line, std::uint32_t label) noexcept {
#if defined(__AVX2__)
    auto const wanted = _mm256_set1_epi32(static_cast<int>(label));
    auto const half = [=](std::size_t i) {
        auto const equal = _mm256_cmpeq_epi32(load_part<IsShared>(line, i), wanted);
        return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(equal)));
    };
    return half(0) | half(1) << 8;
#else
    auto const wanted = _mm_set1_epi32(static_cast<int>(label));
    auto const quarter = [=](std::size_t i) { return _mm_cmpeq_epi32(load_part<IsShared>(line, i), wanted); };
    auto const low = _mm_packs_epi32(quarter(0), quarter(1)), high = _mm_packs_epi32(quarter(2), quarter(3));
    return static_cast<std::uint32_t>(_mm_movemask_epi8(_mm_packs_epi16(low, high)));
#endif
}
#endif

/// A cache line of the index: seven entries, and a header.
///
/// header   bit 0       locked by a writer
///          bits 1-23   entries that belong here and stand in their second bucket: 0 spares a lookup that line
///          bits 24-63  moves of entries that belong here, so that a lookup notices that it missed one
template <class Sharing>
struct alignas(64) bucket {
    static constexpr std::size_t slots = 7;
    static constexpr std::uint64_t locked = 1, one_displaced = 2, one_move = std::uint64_t{1} << 24,
                                   max_displaced = one_move - one_displaced;

    typename Sharing::template cell<std::uint64_t> header;
    std::array<typename Sharing::template cell<std::uint64_t>, slots> words;

    [[nodiscard]] index_entry entry(std::size_t slot) const noexcept {
        return index_entry::from_bits(words[slot].load_acquire());
    }
    void set(std::size_t slot, index_entry e) noexcept { words[slot].store_release(e.bits()); }

    /// The slots whose entries have this label. To be looked at again with entry(): they may change at any time.
    [[nodiscard]] slot_set slots_with(std::uint32_t label) const noexcept {
#if defined(__SSE2__)
        return slot_set{lanes_equal<Sharing::is_shared>(this, label) & slot_set::all};
#else
        return slots_with_portably(label);
#endif
    }
    [[nodiscard]] slot_set slots_with_portably(std::uint32_t label) const noexcept {
        std::uint32_t lanes = 0;
        for (std::size_t i = 0; i < slots; ++i) lanes |= std::uint32_t{entry(i).label() == label} << (2 * i + 3);
        return slot_set{lanes};
    }
    /// The first slot that holds exactly this, or `slots`.
    [[nodiscard]] std::size_t slot_of(index_entry e) const noexcept {
        for (auto found = slots_with(e.label()); found; found.drop_first())
            if (entry(found.first()) == e) return found.first();
        return slots;
    }
    /// Where `before` stands, there is `after` now; false: it stands nowhere. \pre acquired
    bool replace(index_entry before, index_entry after) noexcept {
        auto const slot = slot_of(before);
        if (slot == slots) return false;
        set(slot, after);
        return true;
    }

    void acquire() noexcept {
        if constexpr (Sharing::is_shared) {
            for (backoff wait;; wait())
                if (auto const h = header.load(); (h & locked) == 0 && header.replace(h, h | locked)) return;
        }
    }
    void release() noexcept {
        if constexpr (Sharing::is_shared) header.store_release(header.load() & ~locked);
    }
    /// \pre acquired; `change` leaves the lock alone
    void change_header(std::uint64_t change) noexcept { header.store_release(header.load() + change); }
    [[nodiscard]] bool has_displaced() const noexcept { return (header.load() & max_displaced) != 0; }
};

} // namespace detail
} // namespace v0_2
} // namespace kubeproxy
