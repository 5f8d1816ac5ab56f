#pragma once

#include "kubeproxy/flow/fragments.hpp"
#include "kubeproxy/flow/hash.hpp"
#include "kubeproxy/flow/port_space.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <tuple>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

struct identification_settings {
    std::uint64_t seed = 1;       ///< a secret: it hides where identifications start
    worker_share share{};         ///< this worker's part of the identifications
    std::size_t datagrams = 8192; ///< whose identification is remembered until their last fragment has come
    std::chrono::milliseconds lifetime{30'000}; ///< how long each is remembered. \pre below 2^30 ms
};

/// Gives out IPv4 identifications so that none repeats between two hosts for one protocol within the time that
/// RFC 6864 section 4 asks for: two minutes, the longest that a fragment may be on its way (RFC 791, RFC 1122
/// section 3.3.2), after the last fragment that may have it was sent.
///
///     hash of (source, destination, protocol) -> counter: the next identification, and when each block was last used
///
/// Two pairs of hosts may share a counter: then each gets fewer. A counter that comes to a block of identifications
/// that was in use too recently has none to give. That is the limit that RFC 6864 section 4.3 requires: 65,536
/// datagrams in two and a half minutes for all workers together.
class identification_pool {
  public:
    /// \param in_use how long after it was taken an identification may be sent
    identification_pool(std::uint64_t seed, worker_share share, std::chrono::milliseconds in_use)
        : hash_{seed}, first_{bound(detail::checked(share).index, share.count)},
          size_{bound(share.index + 1, share.count) - first_}, rest_{static_cast<std::uint32_t>(
                                                                   (max_datagram_lifetime + in_use).count())},
          counters_(counter_count) {
        for (std::size_t i = 0; i < counter_count; ++i)
            counters_[i].next =
                static_cast<std::uint32_t>(hash_(tuple<ipv4>{.source_port = static_cast<std::uint16_t>(i)}) % size_);
    }

    /// An identification for a datagram that leaves as `sent`, or none. O(1)
    [[nodiscard]] std::optional<std::uint16_t> take(tuple<ipv4> const& sent, flow_time now) noexcept {
        auto const h =
            hash_(tuple<ipv4>{.source = sent.source, .destination = sent.destination, .protocol = sent.protocol});
        auto& c = counters_[static_cast<std::size_t>(h >> 32) % counter_count];
        auto& block = c.used[block_of(c.next)];
        // A block is entered at its first identification, or where the counter started.
        bool const is_entered = c.current != block_of(c.next) + 1;
        if (is_entered && block.is_used && detail::milliseconds_between(block.last, now) <= rest_) return std::nullopt;
        block = {now, true};
        c.current = static_cast<std::uint8_t>(block_of(c.next) + 1);
        auto const taken = static_cast<std::uint16_t>(first_ + c.next);
        c.next = c.next + 1 == size_ ? 0 : c.next + 1;
        return taken;
    }

  private:
    static constexpr std::chrono::milliseconds max_datagram_lifetime{120'000};
    static constexpr std::size_t blocks = 16, counter_count = 1024; // 140 KiB
    static_assert(65536 / blocks == worker_share::max_count, "each worker has an identification in each block");

    struct usage {
        flow_time last{};
        bool is_used = false;
    };
    struct counter {
        std::uint32_t next = 0;   // counts from the first one of this worker
        std::uint8_t current = 0; // the block in use, counted from 1; 0: none yet
        std::array<usage, blocks> used{};
    };

    [[nodiscard]] static constexpr std::uint32_t bound(std::uint32_t index, std::uint32_t count) noexcept {
        return static_cast<std::uint32_t>(std::uint64_t{65536} * index / count);
    }
    [[nodiscard]] std::size_t block_of(std::uint32_t next) const noexcept {
        return static_cast<std::size_t>(next) * blocks / size_;
    }

    flow_hash hash_;
    std::uint32_t first_, size_;
    std::uint32_t rest_; // milliseconds
    std::vector<counter> counters_;
};

/// Which identification a datagram in fragments was given. As in fragment_table, the oldest of a bucket gives way: then
/// the rest of its datagram gets another identification, and the receiver drops both parts.
template <ip_version V>
class identification_map {
  public:
    identification_map(std::uint64_t seed, std::size_t datagrams, std::chrono::milliseconds lifetime)
        : hash_{seed}, lifetime_{static_cast<std::uint32_t>(lifetime.count())},
          buckets_(std::bit_ceil((std::max<std::size_t>(datagrams, 1) + ways - 1) / ways)) {}

    [[nodiscard]] std::optional<std::uint16_t> find(fragment_key<V> const& key, flow_time now) const noexcept {
        for (auto const& e : buckets_[place_of(key)])
            if (e.is_used && e.key == key && age_of(e, now) <= lifetime_) return e.identification;
        return std::nullopt;
    }
    void note(fragment_key<V> const& key, std::uint16_t identification, flow_time now) noexcept {
        auto& bucket = buckets_[place_of(key)];
        auto const staleness = [&](entry const& e) { return e.is_used ? age_of(e, now) : ~std::uint32_t{0}; };
        *std::ranges::max_element(bucket, {}, staleness) = {key, now, identification, true};
    }

  private:
    static constexpr std::size_t ways = 8;

    struct entry {
        fragment_key<V> key{};
        flow_time noted{};
        std::uint16_t identification = 0;
        bool is_used = false;
    };

    [[nodiscard]] static std::uint32_t age_of(entry const& e, flow_time now) noexcept {
        return detail::milliseconds_between(e.noted, now);
    }
    [[nodiscard]] std::size_t place_of(fragment_key<V> const& key) const noexcept {
        return hash_(key) & (buckets_.size() - 1);
    }

    detail::fragment_hash<V> hash_;
    std::uint32_t lifetime_; // milliseconds
    std::vector<std::array<entry, ways>> buckets_;
};

/// Identifications for datagrams whose fragments leave with an address that several hosts share (RFC 6864 section 5.3):
/// one for all fragments of a datagram, in whatever order they come. One worker's, as fragment_table; no allocation
/// after construction.
class fragment_identifications {
  public:
    explicit fragment_identifications(identification_settings const& s)
        : pool_{s.seed, s.share, s.lifetime}, known_{identification_map<ipv4>{s.seed, s.datagrams, s.lifetime},
                                                     identification_map<ipv6>{s.seed, s.datagrams, s.lifetime}} {}

    /// \param datagram as it came
    /// \param sent how it leaves
    template <ip_version V>
    [[nodiscard]] std::optional<std::uint16_t> of(fragment_key<V> const& datagram, tuple<ipv4> const& sent,
                                                  flow_time now) noexcept {
        auto& known = std::get<identification_map<V>>(known_);
        if (auto const noted = known.find(datagram, now)) return noted;
        auto const taken = pool_.take(sent, now);
        if (taken) known.note(datagram, *taken, now);
        return taken;
    }

  private:
    identification_pool pool_;
    std::tuple<identification_map<ipv4>, identification_map<ipv6>> known_;
};

} // namespace v0_2
} // namespace kubeproxy
