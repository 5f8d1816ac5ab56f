#pragma once

#include "kubeproxy/flow/directory.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace kubeproxy::inline v0_2 {

/// Ends flows that nobody ends: what has expired, a few records at a time, and where room is needed the least worthy.
///
/// Room: a clock hand goes over the records. Of each window of `width` it picks an expired flow, else the longest
/// silent of those that is_evictable(). Where a window holds only flows to keep, the next ones are looked at, `windows`
/// in all. A flow is picked one eviction ahead, and what ending it will touch is fetched meanwhile; if it has changed
/// its state by then it stays, and another is picked.
template <class Sharing, class Directory>
class flow_reaper {
    using records_type = typename Directory::records_type;

  public:
    static constexpr std::uint32_t width = 8;
    static constexpr unsigned windows = 8;
    static constexpr std::uint32_t ahead = 8; // an eviction takes some 100 ns, memory up to 300

    /// Ends a flow between these versions for the sake of another, and says which.
    template <ip_version O, ip_version T>
    [[nodiscard]] flow_ref evict_one(Directory& flows, flow_time now) noexcept {
        auto& hand = hands_[is_narrow<O, T> ? 0 : 1];
        auto& picked = hand.picked[hand.turn.add(1) % ahead];
        auto gone = end_picked(flows, pick::from_bits(picked.exchange(0)), now);
        for (unsigned window = 0; window < windows && !gone; ++window)
            gone = end_picked(flows, pick_next<O, T>(flows, hand, now), now);
        if (gone) picked.store(pick_next<O, T>(flows, hand, now).bits());
        return gone;
    }

    /// Ends what has expired among the next `budget` records, and fetches those after them; returns how many ended.
    std::size_t sweep(Directory& flows, std::size_t budget, flow_time now) noexcept {
        auto const& records = flows.records();
        auto const end = records.positions();
        budget = std::min(budget, end);
        std::size_t ended = 0;
        for (std::size_t done = 0; done < budget;) {
            auto const before = swept_.load();
            auto const from = before < end ? static_cast<std::size_t>(before) : 0;
            auto const count = std::min({budget - done, sweep_width, end - from});
            swept_.replace(before, from + count); // others may sweep the same now: a flow ends once all the same
            ended += sweep_some(flows, from, count, now);
            done += count;
        }
        for (std::size_t i = 0, from = swept_.load(); i < std::min(budget, 2 * sweep_width) && from + i < end; ++i)
            records.prefetch(records.at(from + i));
        return ended;
    }

  private:
    static constexpr std::size_t sweep_width = 16;
    /// From window to window. Not the width: the first of equals is picked, and would be of one shard of the pool
    /// always.
    static constexpr std::uint32_t stride = width - 1;

    /// A flow, and in what state and since when silent it was worth least.
    struct pick {
        flow_ref ref;
        flow_state state = flow_state::none;
        std::uint32_t last_seen = 0; ///< its low 24 bits
        [[nodiscard]] static pick from_bits(std::uint64_t bits) noexcept {
            return {flow_ref::from_bits(static_cast<std::uint32_t>(bits)), static_cast<flow_state>(bits >> 32 & 0xff),
                    static_cast<std::uint32_t>(bits >> 40)};
        }
        [[nodiscard]] std::uint64_t bits() const noexcept {
            return std::uint64_t{last_seen} << 40 | std::uint64_t{static_cast<std::uint8_t>(state)} << 32 | ref.bits();
        }
        [[nodiscard]] static std::uint32_t last_seen_of(typename Directory::body_type const& body) noexcept {
            return body.last_seen.load() & 0xff'ffffu;
        }
    };
    struct alignas(64) clock_hand {
        typename Sharing::template cell<std::uint32_t> position{}, turn{};
        std::array<typename Sharing::template cell<std::uint64_t>, ahead> picked{};
    };

    /// The flow, if it could be ended.
    [[nodiscard]] static flow_ref end_picked(Directory& flows, pick p, flow_time now) noexcept {
        if (!p.ref || !flows.records().is_settled(p.ref)) return {};
        auto const& body = flows.records().body(p.ref);
        if (body.is_expired(now)) return flows.end(p.ref, flow_end::expired) ? p.ref : flow_ref{};
        if (!is_evictable(p.state) || pick::last_seen_of(body) != p.last_seen) return {};
        bool const ended = flows.end_in_state(p.ref, static_cast<std::uint8_t>(p.state), flow_end::evicted);
        return ended ? p.ref : flow_ref{};
    }

    template <ip_version O, ip_version T>
    [[nodiscard]] static pick pick_next(Directory& flows, clock_hand& hand, flow_time now) noexcept;

    /// Prefetches for all before it ends the first. \pre count <= sweep_width
    static std::size_t sweep_some(Directory& flows, std::size_t from, std::size_t count, flow_time now) noexcept {
        auto const& records = flows.records();
        std::array<flow_ref, sweep_width> expired;
        std::size_t found = 0, ended = 0;
        for (std::size_t i = 0; i < count; ++i) {
            auto const ref = records.at(from + i);
            if (!records.is_settled(ref) || !records.body(ref).is_expired(now)) continue;
            flows.prefetch_end(ref);
            expired[found++] = ref;
        }
        for (std::size_t i = 0; i < found; ++i) ended += flows.end(expired[i], flow_end::expired) ? 1u : 0u;
        return ended;
    }

    std::array<clock_hand, 2> hands_{};                      ///< narrow, wide
    typename Sharing::template cell<std::uint64_t> swept_{}; ///< where the next sweep begins
};

template <class Sharing, class Directory>
template <ip_version O, ip_version T>
typename flow_reaper<Sharing, Directory>::pick
flow_reaper<Sharing, Directory>::pick_next(Directory& flows, clock_hand& hand, flow_time now) noexcept {
    auto& records = flows.records();
    auto const highest = records.template pool_for<O, T>().highest_taken();
    if (highest == 0) return {};
    auto const start = hand.position.add(stride) % highest;
    pick best;
    std::uint32_t longest = 0;
    for (std::uint32_t i = 0; i < std::min(width, highest); ++i) {
        auto const at = start + i < highest ? start + i : start + i - highest;
        auto const ref = records_type::template ref_to<O, T>(at + 1);
        records.prefetch(records_type::template ref_to<O, T>(at + width < highest ? at + width + 1 : 1));
        if (!records.is_settled(ref)) continue;
        auto const& body = records.body(ref);
        auto const state = body.state();
        bool const expired = body.is_expired(now);
        auto const silence = now.since(flow_time::of(body.last_seen.load()));
        if (!expired && !is_evictable(state)) continue;
        if (best.ref && !expired && silence <= longest) continue;
        best = {ref, state, pick::last_seen_of(body)};
        if (expired) break;
        longest = silence;
    }
    if (best.ref) flows.prefetch_end(best.ref);
    return best;
}

} // namespace kubeproxy::inline v0_2
