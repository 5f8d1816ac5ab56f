#pragma once

#include "kubeproxy/service/ring_filler.hpp"
#include "kubeproxy/service/ring_hash.hpp"
#include "kubeproxy/sync/setup_error.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <stdexcept>
#include <tuple>
#include <utility>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

// The consistent-hash ring of Maglev (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer",
// NSDI 2016, section 3.4). A ring has M entries, M a prime, and each entry holds the position of a backend:
//
//     hash of a flow ──multiply, shift──▶ entry ──▶ backend          the paper's Table 1, M = 7
//                                                                     entry     0  1  2  3  4  5  6
//     B0 prefers 3 0 4 1 5 2 6   (offset 3, skip 4)                   backend  B1 B0 B1 B0 B2 B2 B0
//     B1 prefers 0 2 4 6 1 3 5   (offset 0, skip 2)
//     B2 prefers 3 4 5 6 0 1 2   (offset 3, skip 1)
//
// In every round each backend takes the entry that it prefers most of those still free, so equal shares differ by one
// entry at most, and a backend that goes leaves most entries of the others where they were. M is prime, so every skip
// from 1 to M - 1 visits all entries.
//
// Weights: a backend of weight w has its k-th turn (k from 0) in round floor(k * heaviest / w). Everybody has a turn in
// round 0, so a backend whose weight is above 0 has an entry wherever there are as many entries as such backends.
//
// A ring depends on the set of (key, weight), the size and the seed only: every node that knows the same backends, in
// whatever order, sends a flow to the same one.

/// Backends that a ring can tell apart, since an entry is 16 bits.
inline constexpr std::size_t ring_backend_limit = 65535;

/// A size of rings, and how many backends of equal weight it is for.
struct ring_class {
    std::uint32_t size;
    std::uint32_t backends;
};

/// The sizes are the first primes above powers of two, so that a lower bound that is one (as VPP's new_len must be)
/// costs no more than that; 65537 and 655373 are the paper's own (section 5.3).
///
/// Up to 65537 the backends grow as the size to the power 2/3, by measurement: one that goes then moves 1.2 (of 10 or
/// 20) to 1.6 (of 100) times its share, where 100 entries for each would make it 2.3 times of 100. Each has 100 entries
/// up to 655 backends, which keeps shares within 1 % (section 3.4). Beyond that the size stays where a build takes a
/// millisecond, at the price of more moves (3.5 times its share of 300), until fewer than 10 entries would be left for
/// each.
inline constexpr std::array<ring_class, 12> ring_classes{{{257, 2},
                                                          {521, 4},
                                                          {1031, 6},
                                                          {2053, 10},
                                                          {4099, 16},
                                                          {8209, 25},
                                                          {16411, 40},
                                                          {32771, 64},
                                                          {65537, 6553},
                                                          {131101, 13110},
                                                          {262147, 26214},
                                                          {655373, 65535}}};

/// Where a candidate's walk through the M entries starts, `offset mod M`, and its step, `hash mod (M - 1) + 1`.
struct ring_candidate {
    std::uint64_t offset;
    std::uint64_t hash;
    std::uint32_t weight = 1;
};

/// A backend as the ring knows it: who it is (see ring_key()) and how much of the traffic it gets beside the others.
struct ring_backend {
    std::uint64_t key;
    std::uint32_t weight = 1;
};

namespace detail {

[[nodiscard]] constexpr bool is_prime_size(std::size_t n) noexcept {
    for (std::size_t divisor = 2; divisor * divisor <= n; ++divisor)
        if (n % divisor == 0) return false;
    return n >= 2;
}

/// Who has a turn in which round: a first-in first-out queue for each round, linked through one array, so that a turn
/// costs the same however far the weights are apart.
class turn_calendar {
  public:
    static constexpr std::uint32_t nobody = 0xffffffffu;

    turn_calendar(std::size_t rounds, std::size_t candidates)
        : first_(rounds, nobody), last_(rounds, nobody), after_(candidates, nobody) {}

    [[nodiscard]] std::uint32_t first(std::size_t round) const noexcept { return first_[round]; }
    [[nodiscard]] std::uint32_t after(std::uint32_t candidate) const noexcept { return after_[candidate]; }

    /// Rounds beyond the last never come, and are not kept.
    void enter(std::size_t round, std::uint32_t candidate) noexcept {
        if (round >= first_.size()) return;
        after_[candidate] = nobody;
        auto& last = last_[round];
        (last == nobody ? first_[round] : after_[last]) = candidate;
        last = candidate;
    }

  private:
    std::vector<std::uint32_t> first_;
    std::vector<std::uint32_t> last_;
    std::vector<std::uint32_t> after_;
};

/// A candidate on its walk, and the rounds between its turns: heaviest / weight, with the remainder carried on.
class ring_walker {
  public:
    ring_walker(ring_candidate const& candidate, std::size_t size, std::uint32_t heaviest) noexcept
        : at_{static_cast<std::uint32_t>(candidate.offset % size)},
          skip_{static_cast<std::uint32_t>(candidate.hash % (size - 1) + 1)}, weight_{candidate.weight},
          gap_{weight_ == 0 ? 0 : heaviest / weight_}, remainder_{weight_ == 0 ? 0 : heaviest % weight_} {}

    [[nodiscard]] bool has_turns() const noexcept { return weight_ != 0; }

    void take_turn(ring_filler& ring, std::uint16_t backend) { at_ = ring.take(at_, skip_, backend); }

    [[nodiscard]] std::size_t rounds_to_next_turn() noexcept {
        carried_ += remainder_;
        if (carried_ < weight_) return gap_;
        carried_ -= weight_;
        return std::size_t{gap_} + 1;
    }

  private:
    std::uint32_t at_;
    std::uint32_t skip_;
    std::uint32_t weight_;
    std::uint32_t gap_;
    std::uint32_t remainder_;
    std::uint64_t carried_ = 0;
};

/// Everybody has a turn in every round. \pre all have turns
inline void fill_in_turn(ring_filler& ring, std::span<ring_walker> walkers) {
    while (!ring.full())
        for (std::size_t i = 0; i < walkers.size() && !ring.full(); ++i)
            walkers[i].take_turn(ring, static_cast<std::uint16_t>(i));
}

/// \param rounds that suffice
inline void fill_by_weight(ring_filler& ring, std::span<ring_walker> walkers, std::size_t rounds) {
    turn_calendar calendar{rounds, walkers.size()};
    for (std::uint32_t i = 0; i < walkers.size(); ++i)
        if (walkers[i].has_turns()) calendar.enter(0, i);
    for (std::size_t round = 0; !ring.full(); ++round) {
        for (auto next = calendar.first(round); next != turn_calendar::nobody && !ring.full();) {
            auto const current = std::exchange(next, calendar.after(next));
            walkers[current].take_turn(ring, static_cast<std::uint16_t>(current));
            calendar.enter(round + walkers[current].rounds_to_next_turn(), current);
        }
    }
}

inline void check_ring(std::size_t backends, std::size_t size) {
    if (backends > ring_backend_limit) fail_setup(std::length_error{"a ring has at most 65535 backends"});
    if (size > ring_classes.back().size) fail_setup(std::length_error{"a ring has at most 655373 entries"});
    if (!is_prime_size(size)) fail_setup(std::invalid_argument{"the size of a ring is a prime"});
}

} // namespace detail

/// Whether maglev_table() and build_ring() take so many backends and a ring of this size: both are within their limits,
/// and the size is a prime.
[[nodiscard]] constexpr bool can_build_ring(std::size_t backends, std::size_t size) noexcept {
    return backends <= ring_backend_limit && size <= ring_classes.back().size && detail::is_prime_size(size);
}

/// The table of `size` entries that the candidates fill, taking turns in the order given; an entry is a position in
/// `candidates`. Empty if no candidate has a weight.
///
/// Costs about size * ln(size) / 2 steps. Throws std::length_error beyond the limits, std::invalid_argument if `size`
/// is not a prime.
[[nodiscard]] inline std::vector<std::uint16_t> maglev_table(std::span<ring_candidate const> candidates,
                                                             std::size_t size) {
    detail::check_ring(candidates.size(), size);
    std::uint64_t total = 0;
    std::uint32_t heaviest = 0;
    for (auto const& candidate : candidates) {
        total += candidate.weight;
        heaviest = std::max(heaviest, candidate.weight);
    }
    if (total == 0) return {};

    std::vector<detail::ring_walker> walkers;
    walkers.reserve(candidates.size());
    for (auto const& candidate : candidates) walkers.emplace_back(candidate, size, heaviest);
    detail::ring_filler ring{size};
    if (total == std::uint64_t{heaviest} * candidates.size()) {
        detail::fill_in_turn(ring, walkers);
    } else {
        // In r rounds a candidate has at least r * weight / heaviest turns, so that many rounds fill the ring.
        auto const rounds = static_cast<std::size_t>((std::uint64_t{size} * heaviest + total - 1) / total);
        detail::fill_by_weight(ring, walkers, rounds);
    }
    return std::move(ring).entries();
}

/// The ring of these backends: an entry is a position in `backends`, a backend of weight 0 has none, and the ring is
/// empty if no backend has a weight.
///
/// Which key holds an entry does not depend on the order of `backends`. Equal keys share one walk, and of equal
/// backends the earlier position goes first. Throws as maglev_table() does; configuration checks ring_backend_limit
/// before.
[[nodiscard]] inline std::vector<std::uint16_t> build_ring(std::span<ring_backend const> backends, std::size_t size,
                                                           std::uint64_t seed) {
    detail::check_ring(backends.size(), size);
    std::vector<std::uint16_t> order(backends.size());
    std::iota(order.begin(), order.end(), std::uint16_t{0});
    // Turns are taken in the order of keys: in the caller's order, nodes that hold the same backends would differ.
    std::sort(order.begin(), order.end(), [backends](std::uint16_t a, std::uint16_t b) {
        return std::tie(backends[a].key, backends[a].weight, a) < std::tie(backends[b].key, backends[b].weight, b);
    });

    std::vector<ring_candidate> candidates;
    candidates.reserve(order.size());
    for (auto const position : order) {
        auto const offset = detail::ring_mix(backends[position].key ^ detail::ring_mix(seed + detail::ring_gamma));
        candidates.push_back({offset, detail::ring_mix(offset + detail::ring_gamma), backends[position].weight});
    }
    auto ring = maglev_table(candidates, size);
    for (auto& entry : ring) entry = order[entry];
    return ring;
}

/// The size of a ring for so many backends of equal weight: that of the first class that is for them and has at least
/// `lower_bound` entries, else of the last.
///
/// It depends on the set of backends alone, without hysteresis, since all nodes must agree. So a set that grows into
/// the next class moves most entries: known flows keep their backend by the flow table, others may change it once.
[[nodiscard]] constexpr std::uint32_t ring_size_for(std::uint64_t backends, std::uint64_t lower_bound) noexcept {
    for (auto const& candidate : ring_classes)
        if (candidate.backends >= backends && candidate.size >= lower_bound) return candidate.size;
    return ring_classes.back().size;
}

/// The same for weights: as for equal backends that each get what the lightest gets.
[[nodiscard]] constexpr std::uint32_t ring_size_for(std::span<ring_backend const> backends,
                                                    std::uint64_t lower_bound) noexcept {
    std::uint64_t total = 0;
    std::uint32_t lightest = 0;
    for (auto const& backend : backends) {
        total += backend.weight;
        if (backend.weight != 0 && (lightest == 0 || backend.weight < lightest)) lightest = backend.weight;
    }
    return ring_size_for(lightest == 0 ? 0 : (total + lightest - 1) / lightest, lower_bound);
}

/// The backend that a flow's hash falls to, without a division: hash * size / 2^32 of the hash's high 32 bits (Lemire,
/// "Fast Random Integer Generation in an Interval", ACM TOMACS 2019). Entries differ in probability by 0.02 % at most.
///
/// The high bits decide, so a table that is indexed by the same hash should take the low ones.
/// \pre the ring is not empty
template <std::unsigned_integral Hash>
    requires(sizeof(Hash) == 4 || sizeof(Hash) == 8)
[[nodiscard]] constexpr std::uint16_t pick(std::span<std::uint16_t const> ring, Hash hash) noexcept {
    assert(!ring.empty());
    std::uint64_t const high = std::uint64_t{hash} >> (8 * sizeof(Hash) - 32);
    return ring[static_cast<std::size_t>(high * ring.size() >> 32)];
}

} // namespace v0_2
} // namespace kubeproxy
