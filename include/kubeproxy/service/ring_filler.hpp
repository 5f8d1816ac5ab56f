#pragma once

#include "kubeproxy/version.hpp"

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {
namespace detail {

/// x with x * a = 1 (mod prime), by Euclid's extended algorithm (Knuth, TAOCP 4.5.2). \pre 0 < a < prime
[[nodiscard]] constexpr std::uint32_t inverse_of(std::uint32_t a, std::uint32_t prime) noexcept {
    std::int64_t x = 1, next_x = 0;
    std::uint32_t rest = a, next = prime;
    while (next != 0) {
        auto const times = rest / next;
        x = std::exchange(next_x, x - std::int64_t{times} * next_x);
        rest = std::exchange(next, rest - times * next);
    }
    return static_cast<std::uint32_t>(x < 0 ? x + prime : x);
}

/// The entries of a ring while they are taken.
///
/// At first a walk meets a free entry soon; a bit for each says whether it is free, so that the search stays in the L1
/// cache (8 KiB for 65537 entries). The last f entries would take size / f steps each, and half of all steps together:
/// from the square root of the size on the steps to each free entry are computed instead, and the nearest is taken.
class ring_filler {
  public:
    explicit ring_filler(std::size_t size) : entries_(size), taken_(size / 64 + 1), free_{size} {}

    [[nodiscard]] bool full() const noexcept { return free_ == 0; }
    [[nodiscard]] std::vector<std::uint16_t> entries() && noexcept { return std::move(entries_); }

    /// Gives `backend` the first free entry of its walk, and returns where the walk goes on.
    /// \pre not full(); `at` < size, 0 < `skip` < size, and the size is prime, else the walk may miss the free entries
    [[nodiscard]] std::uint32_t take(std::uint32_t at, std::uint32_t skip, std::uint16_t backend) {
        assert(!full());
        if (free_ * free_ * 4 < entries_.size()) return take_nearest(at, skip, backend);
        while (is_taken(at)) at = step(at, skip);
        return take_entry(at, skip, backend);
    }

  private:
    [[nodiscard]] bool is_taken(std::uint32_t at) const noexcept { return (taken_[at / 64] >> (at % 64) & 1) != 0; }

    // No division: both terms are below the size, so one subtraction is the paper's modulo.
    [[nodiscard]] std::uint32_t step(std::uint32_t at, std::uint32_t skip) const noexcept {
        auto const size = static_cast<std::uint32_t>(entries_.size());
        at += skip;
        return at >= size ? at - size : at;
    }

    [[nodiscard]] std::uint32_t take_entry(std::uint32_t entry, std::uint32_t skip, std::uint16_t backend) noexcept {
        taken_[entry / 64] |= std::uint64_t{1} << (entry % 64);
        entries_[entry] = backend;
        --free_;
        return step(entry, skip);
    }

    /// entry = at + steps * skip (mod size) solved for the steps.
    [[nodiscard]] std::uint32_t take_nearest(std::uint32_t at, std::uint32_t skip, std::uint16_t backend) {
        if (last_.empty()) gather_last();
        auto const size = static_cast<std::uint32_t>(entries_.size());
        auto const inverse = inverse_of(skip, size);
        auto const steps_to = [=](std::uint32_t entry) {
            return std::uint64_t{entry >= at ? entry - at : entry + size - at} * inverse % size;
        };
        auto const nearest = std::ranges::min_element(last_, {}, steps_to);
        auto const entry = std::exchange(*nearest, last_.back());
        last_.pop_back();
        return take_entry(entry, skip, backend);
    }
    void gather_last() {
        last_.reserve(free_);
        for (std::uint32_t i = 0; i < entries_.size(); ++i)
            if (!is_taken(i)) last_.push_back(i);
    }

    std::vector<std::uint16_t> entries_;
    std::vector<std::uint64_t> taken_;
    std::size_t free_;
    std::vector<std::uint32_t> last_; ///< free ones, once they are few
};

} // namespace detail
} // namespace v0_2
} // namespace kubeproxy
