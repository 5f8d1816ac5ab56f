#pragma once

#include "kubeproxy/flow/table/linked_records.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace kubeproxy {
inline namespace v0_2 {

/// Expires idle flows, a few records at a time; evicts one of the least valuable flows when the table is full.
///
/// Eviction looks at windows of `width` neighbouring records. In a window it picks flows that have expired, or else
/// those of the lowest flow_worth: of them the longer silent half, the longest first. At first only half-open flows
/// are picked. The first window is where a clock hand stands, which goes over all records; if that window holds
/// none, others at random places are searched, because flows of one worth often stand side by side. Only if that
/// fails too are flows with a single exchange picked. Once the hand has found none of a worth on its whole way round,
/// only one window is searched for that worth until the hand finds one again. Flows are picked some evictions ahead,
/// and what ending them will touch is fetched meanwhile; a flow that has changed its state by then stays.
template <class Sharing, class Directory>
class flow_reaper {
    using records_type = typename Directory::records_type;

  public:
    static constexpr std::uint32_t width = 8;
    static constexpr std::array<unsigned, 2> windows{16, 32}; ///< searched at most, by worth
    static constexpr std::uint32_t ahead = 16;
    static constexpr std::uint32_t lead = ahead - width; // evictions: each takes some 50 ns, memory up to 300

    struct eviction {
        flow_ref ref; ///< the flow that ended: made only
        detail::room what;
    };

    /// Ends a flow between these versions for the sake of another, and says which. room::none: among the records looked
    /// at no flow may be evicted. room::lost_race: some might, but other workers ended or used them first.
    template <ip_version O, ip_version T>
    [[nodiscard]] eviction evict_one(Directory& flows, flow_time now) noexcept {
        using enum detail::room;
        auto& hand = hands_[is_narrow<O, T> ? 0 : 1];
        auto const turn = hand.turn.add(1);
        auto& mine = hand.place(turn);
        auto gone = end_picked(flows, pick::from_bits(mine.exchange(0)), now);
        if (gone.what != made) gone = search<O, T>(flows, hand, turn, now);
        if (gone.what != made) return gone;
        auto const highest = flows.records().template pool_for<O, T>().highest_taken();
        auto const worth = hand.barren[0].load() < highest ? flow_worth::half_open : flow_worth::single_exchange;
        if (hand.place(turn + lead).load() == 0)
            pick_some<O, T>(flows, hand, turn + lead, worth, hand.next_window(highest), now);
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
    /// A flow, and in what state and since when silent it was worth least: one word, 0 for none.
    class pick {
      public:
        using body_type = typename Directory::body_type;
        pick() noexcept = default;
        pick(flow_ref ref, std::uint8_t raw_state, body_type const& body) noexcept
            : bits_{std::uint64_t{last_seen_of(body)} << 40 | std::uint64_t{raw_state} << 32 | ref.bits()} {}
        [[nodiscard]] static pick from_bits(std::uint64_t bits) noexcept {
            pick p;
            p.bits_ = bits;
            return p;
        }
        [[nodiscard]] std::uint64_t bits() const noexcept { return bits_; }
        [[nodiscard]] flow_ref ref() const noexcept { return flow_ref::from_bits(static_cast<std::uint32_t>(bits_)); }
        [[nodiscard]] std::uint8_t raw_state() const noexcept { return bits_ >> 32 & 0xff; }
        [[nodiscard]] bool is_silent_since(body_type const& body) const noexcept {
            return bits_ >> 40 == last_seen_of(body);
        }

      private:
        /// Its low 24 bits.
        [[nodiscard]] static std::uint32_t last_seen_of(body_type const& body) noexcept {
            return body.last_seen.load() & 0xff'ffffu;
        }
        std::uint64_t bits_ = 0;
    };
    struct alignas(64) clock_hand {
        typename Sharing::template cell<std::uint32_t> position{}, turn{};
        /// By worth: records that the hand has met in a row without picking one.
        std::array<typename Sharing::template cell<std::uint32_t>, 2> barren{};
        std::array<typename Sharing::template cell<std::uint64_t>, ahead> picked{};

        /// Of the pick that is for this turn.
        [[nodiscard]] auto& place(std::uint32_t of_turn) noexcept { return picked[of_turn % ahead]; }
        /// The number of its first record. \pre highest > 0
        [[nodiscard]] std::uint32_t next_window(std::uint32_t highest) noexcept {
            return position.add(width) % highest + 1;
        }
        /// One of 2^32 sequences of places, spread over all records (Knuth's multiplicative hashing).
        [[nodiscard]] static std::uint32_t some_window(std::uint32_t number, std::uint32_t highest) noexcept {
            auto const mixed = std::uint32_t{number * 2'654'435'769u};
            return static_cast<std::uint32_t>(std::uint64_t{mixed} * highest >> 32) + 1;
        }
    };

    /// Ends the flow that was picked unless it has ended or was used since.
    [[nodiscard]] static eviction end_picked(Directory& flows, pick p, flow_time now) noexcept {
        using enum detail::room;
        auto const ref = p.ref();
        if (!ref) return {{}, none};
        if (!flows.records().is_complete(ref)) return {{}, lost_race};
        auto const& body = flows.records().body(ref);
        bool const is_expired = body.is_expired(now);
        if (!is_expired && (!is_evictable(static_cast<flow_state>(p.raw_state())) || !p.is_silent_since(body)))
            return {{}, lost_race};
        bool const has_ended =
            is_expired ? flows.end(ref, flow_end::expired) : flows.end_in_state(ref, p.raw_state(), flow_end::evicted);
        return has_ended ? eviction{ref, made} : eviction{{}, lost_race};
    }

    /// Evicts a flow of the lowest worth that it meets.
    template <ip_version O, ip_version T>
    [[nodiscard]] static eviction search(Directory& flows, clock_hand& hand, std::uint32_t turn,
                                         flow_time now) noexcept {
        using enum detail::room;
        auto const highest = flows.records().template pool_for<O, T>().highest_taken();
        if (highest == 0) return {{}, none};
        bool has_lost_race = false; // a pick made for this turn earlier may be outdated without any race
        for (unsigned worth = 0; worth < windows.size(); ++worth) {
            auto const tries = hand.barren[worth].load() < highest ? windows[worth] : 1;
            for (unsigned window = 0; window < tries; ++window) {
                auto const first = window == 0 ? hand.next_window(highest)
                                               : clock_hand::some_window(turn * windows.back() + window, highest);
                pick_some<O, T>(flows, hand, turn, static_cast<flow_worth>(worth), first, now);
                auto const gone = end_picked(flows, pick::from_bits(hand.place(turn).exchange(0)), now);
                if (gone.what == made) return gone;
                has_lost_race = has_lost_race || gone.what == lost_race;
            }
        }
        return {{}, has_lost_race ? lost_race : none};
    }
    /// Of the window that begins with record `first`, for this turn and the ones after it: flows of the lowest worth
    /// in it, up to `worth`.
    template <ip_version O, ip_version T>
    static void pick_some(Directory& flows, clock_hand& hand, std::uint32_t turn, flow_worth worth, std::uint32_t first,
                          flow_time now) noexcept;

    /// Prefetches for all before it ends the first. \pre count <= sweep_width
    static std::size_t sweep_some(Directory& flows, std::size_t from, std::size_t count, flow_time now) noexcept {
        auto const& records = flows.records();
        std::array<flow_ref, sweep_width> expired;
        std::size_t found = 0, ended = 0;
        for (std::size_t i = 0; i < count; ++i) {
            auto const ref = records.at(from + i);
            if (!records.is_complete(ref) || !records.body(ref).is_expired(now)) continue;
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
void flow_reaper<Sharing, Directory>::pick_some(Directory& flows, clock_hand& hand, std::uint32_t turn,
                                                flow_worth worth, std::uint32_t first, flow_time now) noexcept {
    auto const& pool = flows.records().template pool_for<O, T>();
    struct candidate {
        pick what;
        std::uint32_t silence;
    };
    std::array<candidate, width> found; // not initialised: its used part is
    std::size_t count = 0, worst = 0;
    std::uint64_t silence_of_all = 0;
    auto const barren_for = static_cast<std::size_t>(worth);
    auto const last = std::min(first + width - 1, pool.highest_taken());
    for (auto number = first; number <= last; ++number) {
        prefetch_for_write(&pool.address(number + width)->body);
        auto const& body = pool[number].body;
        auto const raw = body.raw_state.load_acquire();
        if (raw == 0 || (raw & Directory::body_type::unfinished) != 0) continue;
        bool const is_expired = body.is_expired(now);
        auto const its_worth = is_expired ? flow_worth::half_open : worth_of(static_cast<flow_state>(raw));
        if (its_worth > worth) continue;
        if (its_worth < worth) { // what was found so far is worth more
            worth = its_worth;
            count = worst = 0;
            silence_of_all = 0;
        }
        auto const silence = is_expired ? 0xffff'ffff : now.since(flow_time::of(body.last_seen.load()));
        if (count != 0 && silence > found[worst].silence) worst = count;
        found[count++] = {pick{records_type::template ref_to<O, T>(number), raw, body}, silence};
        silence_of_all += silence;
    }
    auto& barren = hand.barren[barren_for];
    if (count == 0) return barren.store(barren.load() + width);
    for (auto i = static_cast<std::size_t>(worth); i < hand.barren.size(); ++i) hand.barren[i].store(0);
    std::swap(found[0], found[worst]);
    for (auto const& each : std::span{found}.first(count))
        if (std::uint64_t{each.silence} * count >= silence_of_all && hand.place(turn).replace(0, each.what.bits())) {
            flows.prefetch_end(each.what.ref());
            ++turn;
        }
}

} // namespace v0_2
} // namespace kubeproxy
