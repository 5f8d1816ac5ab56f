#pragma once

#include "kubeproxy/flow/flow_time.hpp"
#include "kubeproxy/flow/tuple.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

/// The fragments of one message share it: RFC 791 section 3.2 for IPv4, RFC 8200 section 4.5 for IPv6, where the next
/// header may differ between fragments, so that `protocol` is 0. No padding: equal objects have equal bytes.
template <ip_version V>
struct fragment_key {
    typename V::address source{};
    typename V::address destination{};
    std::uint32_t identification = 0;
    std::uint8_t protocol = 0;
    std::array<std::uint8_t, 3> zero{};

    /// \pre p.is_fragment
    [[nodiscard]] static fragment_key of(parsed<V> const& p) noexcept {
        assert(p.is_fragment);
        auto const ends = detail::addresses_of(p);
        if constexpr (std::same_as<V, ipv4>)
            return {ends.source, ends.destination, ipv4_view{p.bytes}.identification(), p.protocol};
        else
            return {ends.source, ends.destination,
                    fragment_header_view{p.bytes.subspan(p.fragment_header)}.identification()};
    }
    [[nodiscard]] friend constexpr bool operator==(fragment_key const& a, fragment_key const& b) noexcept {
        using words = std::array<std::uint64_t, sizeof(fragment_key) / sizeof(std::uint64_t)>;
        auto const x = std::bit_cast<words>(a), y = std::bit_cast<words>(b);
        std::uint64_t difference = 0;
        for (std::size_t i = 0; i < x.size(); ++i) difference |= x[i] ^ y[i];
        return difference == 0;
    }
};
static_assert(std::has_unique_object_representations_v<fragment_key<ipv4>> &&
              std::has_unique_object_representations_v<fragment_key<ipv6>>);

namespace detail {

/// How far `then` is from `now`, in milliseconds, before or after it. A clock set back a little expires nothing, and
/// what nobody swept for half the clock's period is not young again, as it would be by flow_time::since.
[[nodiscard]] constexpr std::uint32_t milliseconds_between(flow_time then, flow_time now) noexcept {
    auto const difference = now.milliseconds() - then.milliseconds();
    return std::min(difference, 0u - difference);
}

/// Multilinear hashing (Lemire and Kaser, "Strongly universal string hashing is fast", 2014): whatever keys someone
/// chooses who does not know the seed, two of them share n bits of their hash with a probability of 2^-n. MurmurHash3's
/// finalizer, a bijection, keeps that, and scatters identifications that count up, which a sum may leave in step.
template <ip_version V>
class fragment_hash {
  public:
    explicit constexpr fragment_hash(std::uint64_t seed) noexcept {
        for (auto& m : multipliers_) { // SplitMix64 (Steele, Lea, Flood, OOPSLA 2014)
            auto z = seed += 0x9e3779b97f4a7c15u;
            z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
            z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
            m = z ^ (z >> 31);
        }
    }
    [[nodiscard]] constexpr std::uint32_t operator()(fragment_key<V> const& key) const noexcept {
        auto const of_key = std::bit_cast<words>(key);
        auto sum = multipliers_.back();
        for (std::size_t i = 0; i < of_key.size(); ++i) sum += multipliers_[i] * of_key[i];
        auto hash = static_cast<std::uint32_t>(sum >> 32);
        hash = (hash ^ (hash >> 16)) * 0x85ebca6bu;
        hash = (hash ^ (hash >> 13)) * 0xc2b2ae35u;
        return hash ^ (hash >> 16);
    }

  private:
    using words = std::array<std::uint32_t, sizeof(fragment_key<V>) / sizeof(std::uint32_t)>;
    std::array<std::uint64_t, std::tuple_size_v<words> + 1> multipliers_{};
};

} // namespace detail

struct fragment_table_settings {
    std::size_t messages = 8192; ///< at least 1; rounded up to whole buckets and a power of two
    /// How long a first fragment speaks for later ones. Linux waits as long for them (ipfrag_time); RFC 8200
    /// section 4.5 and RFC 1122 section 3.3.2 have receivers wait 60 s and more. \pre not negative, below 2^30 ms
    std::chrono::milliseconds lifetime{30'000};
};

struct fragment_table_counters {
    std::uint64_t noted = 0;    ///< first fragments of messages that were not known
    std::uint64_t repeated = 0; ///< of messages that were, with the same ports
    std::uint64_t replaced = 0; ///< of messages that were, with other ports
    std::uint64_t evicted = 0;  ///< messages forgotten before their time
};

/// Which tuple a fragmented message has: only its first fragment shows the ports, the later ones ask here.
///
///     hash of the key -> bucket (8 messages; the oldest goes when a ninth comes) -> ports, protocol, when
///
/// One worker's: all fragments of a message must come to the same worker, so the host distributes fragments by their
/// addresses alone. No lock, and no allocation after construction.
///
/// A live message whose first fragment comes again with other ports is replaced, not condemned. Identifications are
/// soon used again: 16 bits wrap within seconds at high rates (RFC 4963), also in IPv6 behind a translator (RFC 7915
/// section 4.1). To condemn would let anyone who guesses one silence the message. Nothing is gained by replacing: each
/// first fragment goes where its own ports lead, ports stand before the lowest offset (8) of a later fragment, and the
/// receiver discards what overlaps (RFC 5722, RFC 8200 section 4.5).
template <ip_version V>
class fragment_table {
  public:
    explicit fragment_table(std::uint64_t seed, fragment_table_settings const& settings = {})
        : hash_{seed}, lifetime_{static_cast<std::uint32_t>(settings.lifetime.count())},
          buckets_(std::bit_ceil((std::max<std::size_t>(settings.messages, 1) + ways - 1) / ways)) {
        assert(settings.lifetime.count() >= 0 && settings.lifetime.count() < 1 << 30);
    }

    /// Later fragments of the message have the ports and the protocol of `message` from now on.
    void note_first(fragment_key<V> const& key, tuple<V> const& message, flow_time now) noexcept {
        auto& b = bucket_of(key);
        if (auto* const known = live(b, key, now)) {
            ++(known->shows(message) ? counters_.repeated : counters_.replaced);
            known->keep(key, message, now);
            return;
        }
        ++counters_.noted;
        auto& place = *std::ranges::max_element(b.entries, {}, [&](entry const& e) { return staleness(e, now); });
        if (is_live(place, now)) ++counters_.evicted;
        place.keep(key, message, now);
    }

    /// The tuple of the message, or none when its first fragment is not known (any more).
    [[nodiscard]] std::optional<tuple<V>> find(fragment_key<V> const& key, flow_time now) const noexcept {
        auto const* const e = live(bucket_of(key), key, now);
        if (e == nullptr) return std::nullopt;
        return tuple<V>{key.source, key.destination, e->source_port, e->destination_port, e->protocol};
    }

    [[nodiscard]] std::size_t capacity() const noexcept { return buckets_.size() * ways; }
    [[nodiscard]] fragment_table_counters const& counters() const noexcept { return counters_; }

  private:
    // Half full, by Poisson's distribution, less than one message in a hundred finds no room. 256 bytes for IPv4.
    static constexpr std::size_t ways = 8;

    struct entry {
        fragment_key<V> key;
        flow_time noted{};
        std::uint16_t source_port = 0;
        std::uint16_t destination_port = 0;
        std::uint8_t protocol = 0;
        bool is_used = false;

        [[nodiscard]] bool shows(tuple<V> const& t) const noexcept {
            return source_port == t.source_port && destination_port == t.destination_port && protocol == t.protocol;
        }
        void keep(fragment_key<V> const& of, tuple<V> const& t, flow_time now) noexcept {
            *this = {of, now, t.source_port, t.destination_port, t.protocol, true};
        }
    };
    struct alignas(64) bucket {
        std::array<entry, ways> entries{};
    };

    [[nodiscard]] bool is_live(entry const& e, flow_time now) const noexcept {
        return e.is_used && detail::milliseconds_between(e.noted, now) <= lifetime_;
    }
    /// Higher for what is missed less.
    [[nodiscard]] std::int64_t staleness(entry const& e, flow_time now) const noexcept {
        if (!is_live(e, now)) return std::int64_t{1} << 32;
        return static_cast<std::int32_t>(now.milliseconds() -
                                         e.noted.milliseconds()); // below 0 where the clock stepped back
    }
    [[nodiscard]] auto* live(auto& in, fragment_key<V> const& key, flow_time now) const noexcept {
        auto const found =
            std::ranges::find_if(in.entries, [&](entry const& e) { return e.key == key && is_live(e, now); });
        return found == in.entries.end() ? nullptr : &*found;
    }
    [[nodiscard]] bucket const& bucket_of(fragment_key<V> const& key) const noexcept {
        return buckets_[hash_(key) & (buckets_.size() - 1)];
    }
    [[nodiscard]] bucket& bucket_of(fragment_key<V> const& key) noexcept {
        return buckets_[hash_(key) & (buckets_.size() - 1)];
    }

    detail::fragment_hash<V> hash_;
    std::uint32_t lifetime_; // milliseconds
    std::vector<bucket> buckets_;
    fragment_table_counters counters_;
};

} // namespace v0_2
} // namespace kubeproxy
