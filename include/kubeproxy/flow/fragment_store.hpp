#pragma once

#include "kubeproxy/flow/fragments.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

struct fragment_store_settings {
    std::size_t slots = 256;      ///< fragments held at once, at least 1
    std::size_t slot_size = 2048; ///< bytes of the biggest fragment that is held: an Ethernet frame fits
    std::size_t per_message = 64; ///< 64 KiB take 54 fragments of 1280 bytes (RFC 8200 section 5), some twice
    /// Fragments overtake each other by milliseconds. \pre not negative, below 2^30 ms
    std::chrono::milliseconds hold_time{1000};
};

struct fragment_store_counters {
    std::uint64_t held = 0;
    std::uint64_t released = 0;
    std::uint64_t expired = 0; ///< fragment_timeout
    std::uint64_t refused = 0; ///< fragment_store_full: bigger than a slot, or too many of their message
    std::uint64_t evicted = 0; ///< fragment_store_full: held, but gave way to younger ones
};

/// What became of a fragment that came before its first one, and of those held before it.
struct hold_result {
    drop_reason why = drop_reason::none; ///< none: it is held
    std::size_t evicted = 0;             ///< so many others were dropped for it, as fragment_store_full
};

/// Copies of fragments that overtook their first one, until it comes or their time is up.
///
///     hash of the key -> chain of slots, those of a message by offset, equal offsets by arrival
///     oldest_ <-> … <-> youngest_      all slots in use, by arrival
///
/// The parts of a message go together: one part lost, the others are of no use to its receiver. So the hold time counts
/// from the first part that came (as a receiver's does, RFC 8200 section 4.5), and when all slots are taken the message
/// held longest goes. To refuse the newcomer instead would let few packets block the store for a hold time at once;
/// this way a flood must outrun the milliseconds that a fragment really waits.
///
/// One worker's, as fragment_table. Memory: slots * (slot_size + 64) bytes or so; no allocation after construction.
template <ip_version V>
class fragment_store {
  public:
    explicit fragment_store(std::uint64_t seed, fragment_store_settings const& settings = {})
        : hash_{seed}, settings_{settings}, slots_(std::max<std::size_t>(settings.slots, 1)),
          heads_(std::bit_ceil(slots_.size()), none), memory_(slots_.size() * settings.slot_size) {
        assert(settings.slots < none && settings.hold_time.count() >= 0 && settings.hold_time.count() < 1 << 30);
        for (auto i = static_cast<index>(slots_.size()); i-- > 0;) push_free(i);
    }

    /// Keeps a copy of `later`, padding excluded. O(parts of the message held, and of one other)
    /// \pre later.what == content::later_fragment
    [[nodiscard]] hold_result hold(parsed<V> const& later, flow_time now) noexcept {
        assert(later.what == content::later_fragment);
        auto const key = fragment_key<V>::of(later);
        if (later.bytes.size() > settings_.slot_size || held_of(key) >= settings_.per_message) {
            ++counters_.refused;
            return {drop_reason::fragment_store_full};
        }
        std::size_t evicted = 0;
        if (free_ == none) evicted = take(slots_[oldest_].key, [](byte_span) {});
        counters_.evicted += evicted;
        ++counters_.held;
        keep(key, later, now);
        return {drop_reason::none, evicted};
    }

    /// Hands every held part of the message to `sink`, in order of offset, and forgets it. The bytes are the sink's
    /// to change; they are valid while it runs, and it must not use the store. Returns how many there were. If the sink
    /// throws, the store keeps the parts that it did not get.
    template <std::invocable<mutable_byte_span> Sink>
    std::size_t release(fragment_key<V> const& key,
                        Sink&& sink) noexcept(std::is_nothrow_invocable_v<Sink&, mutable_byte_span>) {
        return take(key, [&](mutable_byte_span part) {
            ++counters_.released;
            sink(part);
        });
    }

    /// Drops the messages held too long, oldest first, until `limit` fragments are reached: less than
    /// limit + per_message of them. Returns how many: each is dropped as fragment_timeout.
    [[nodiscard]] std::size_t expire(flow_time now, std::size_t limit = 64) noexcept {
        std::size_t count = 0;
        while (count < limit && oldest_ != none &&
               detail::milliseconds_between(slots_[oldest_].arrived, now) > settings_.hold_time.count())
            count += take(slots_[oldest_].key, [](byte_span) {});
        counters_.expired += count;
        return count;
    }

    /// Fragments held now.
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] std::size_t capacity() const noexcept { return slots_.size(); }
    [[nodiscard]] fragment_store_counters const& counters() const noexcept { return counters_; }

  private:
    using index = std::uint32_t;
    static constexpr index none = std::numeric_limits<index>::max();

    struct slot {
        fragment_key<V> key;
        flow_time arrived{};
        std::uint32_t offset = 0; // in bytes, inside the message
        std::uint32_t size = 0;
        index next = none; // in the chain; of free slots, in theirs
        index older = none, younger = none;
    };

    [[nodiscard]] static std::size_t offset_of(parsed<V> const& p) noexcept {
        if constexpr (std::same_as<V, ipv4>)
            return ipv4_view{p.bytes}.fragment_offset();
        else
            return fragment_header_view{p.bytes.subspan(p.fragment_header)}.offset();
    }
    [[nodiscard]] index& head_of(fragment_key<V> const& key) noexcept {
        return heads_[hash_(key) & (heads_.size() - 1)];
    }
    [[nodiscard]] std::size_t held_of(fragment_key<V> const& key) noexcept {
        std::size_t count = 0;
        for (auto i = head_of(key); i != none; i = slots_[i].next) count += slots_[i].key == key ? 1u : 0u;
        return count;
    }
    [[nodiscard]] mutable_byte_span bytes_of(index i) noexcept {
        return mutable_byte_span{memory_}.subspan(i * settings_.slot_size, slots_[i].size);
    }

    /// \pre a slot is free, and the fragment fits it
    void keep(fragment_key<V> const& key, parsed<V> const& later, flow_time now) noexcept {
        auto const i = free_;
        auto& s = slots_[i];
        free_ = s.next;
        auto const offset = static_cast<std::uint32_t>(offset_of(later));
        auto* link = &head_of(key);
        while (*link != none && !(slots_[*link].key == key && slots_[*link].offset > offset))
            link = &slots_[*link].next;
        s = {key, now, offset, static_cast<std::uint32_t>(later.bytes.size()), *link, youngest_, none};
        *link = i;
        (youngest_ == none ? oldest_ : slots_[youngest_].younger) = i;
        youngest_ = i;
        ++size_;
        copy_bytes(bytes_of(i), later.bytes);
    }

    /// By value: the key may stand in a slot that is freed here. A slot is free before the sink gets its bytes.
    std::size_t take(fragment_key<V> key, auto&& sink) {
        std::size_t count = 0;
        for (auto* link = &head_of(key); *link != none;) {
            auto const i = *link;
            if (slots_[i].key != key) {
                link = &slots_[i].next;
                continue;
            }
            *link = slots_[i].next;
            forget_age(i);
            push_free(i);
            --size_;
            ++count;
            sink(bytes_of(i));
        }
        return count;
    }
    void forget_age(index i) noexcept {
        auto const& s = slots_[i];
        (s.older == none ? oldest_ : slots_[s.older].younger) = s.younger;
        (s.younger == none ? youngest_ : slots_[s.younger].older) = s.older;
    }
    void push_free(index i) noexcept {
        slots_[i].next = free_;
        free_ = i;
    }

    detail::fragment_hash<V> hash_;
    fragment_store_settings settings_;
    std::vector<slot> slots_;
    std::vector<index> heads_;
    std::vector<std::byte> memory_;
    index free_ = none, oldest_ = none, youngest_ = none;
    std::size_t size_ = 0;
    fragment_store_counters counters_;
};

} // namespace v0_2
} // namespace kubeproxy
