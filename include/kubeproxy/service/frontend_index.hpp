#pragma once

#include "kubeproxy/service/frontend.hpp"
#include "kubeproxy/sync/sharing.hpp"
#include "kubeproxy/wire/address.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

/// Finds the frontend of a packet: the longest prefix that has one for the port and protocol, or for all ports.
///
/// A hash table of all prefix lengths, in shards that copies of the index share until one of them changes: a copy costs
/// a pointer for each shard, a change the copy of one or two shards (20,000 frontends: 2 KiB each for IPv4).
///
///     hash of (masked address, length, port, protocol): 8 bits -> shard, others -> [ . f . p f . . f ]
///
///     f: a frontend    p: a prefix that frontends have, and how many of them    load <= 5/8, linear probing
///
/// A cluster has two or three prefix lengths, most often just the whole address, so a lookup reads one or two cache
/// lines for a hit and two for each length otherwise.
template <ip_version V>
class frontend_index {
  public:
    using address = typename V::address;

    frontend_index() = default;
    /// Of several frontends with the same prefix, port and protocol the first one counts.
    explicit frontend_index(std::vector<frontend<V>> const& frontends) {
        for (auto const& f : frontends) static_cast<void>(insert(f));
    }

    /// False: there is one of this prefix, port and protocol, and it stays.
    bool insert(frontend<V> const& added);
    /// The frontend of exactly this prefix, port and protocol; null: there is none.
    [[nodiscard]] frontend<V> const* at(prefix<V> const& vip, std::uint16_t port, std::uint8_t protocol) const noexcept;
    /// Takes out the frontend of exactly this prefix, port and protocol. False: there is none.
    bool erase(prefix<V> const& vip, std::uint16_t port, std::uint8_t protocol);

    [[nodiscard]] frontend<V> const* find(address const& destination, std::uint16_t port,
                                          std::uint8_t protocol) const noexcept;
    /// Whether a frontend has the address, at whatever port.
    [[nodiscard]] bool covers(address const& destination) const noexcept;
    /// Brings the line that find() reads first nearer.
    void prefetch(address const& destination, std::uint16_t port, std::uint8_t protocol) const noexcept;

    /// In no order.
    [[nodiscard]] std::vector<frontend<V>> all() const;
    /// How many shards of another index are this one's own, for those who watch what a change costs.
    [[nodiscard]] std::size_t shards_apart(frontend_index const& other) const noexcept;

  private:
    static constexpr std::size_t shard_count = 256;
    static constexpr std::uint32_t min_capacity = 8;
    static constexpr std::uint8_t no_length = 255; ///< the slot is free
    /// Reserved as a protocol (IANA): the slot tells that the prefix is in use, and `service` by how many.
    static constexpr std::uint8_t presence = 255;

    using slot = frontend<V>;
    struct shard {
        std::shared_ptr<slot[]> slots;
        std::uint32_t capacity = 0; ///< a power of two, or none
        std::uint32_t used = 0;
    };
    /// A prefix length in use, and how many frontends have it.
    struct level {
        std::uint8_t length;
        address mask;
        std::uint32_t frontends = 0;
        std::uint32_t any_port = 0;     ///< of these, for all ports of one protocol
        std::uint32_t any_protocol = 0; ///< of these, for all ports and protocols
    };

    [[nodiscard]] static std::uint64_t hash(prefix<V> const& vip, std::uint16_t port, std::uint8_t protocol) noexcept;
    [[nodiscard]] static bool is(slot const& s, prefix<V> const& vip, std::uint16_t port,
                                 std::uint8_t protocol) noexcept {
        return s.vip == vip && s.port == port && s.protocol == protocol;
    }
    [[nodiscard]] static std::size_t shard_of(std::uint64_t hash) noexcept { return hash >> 56; }
    [[nodiscard]] slot const* probe(prefix<V> const& vip, std::uint16_t port, std::uint8_t protocol) const noexcept;

    [[nodiscard]] shard& own(std::size_t number);
    static void resize(shard& s, std::uint32_t capacity);
    static void place(shard& s, std::uint64_t hash, slot const& added) noexcept;
    void insert_slot(slot const& added);
    void erase_slot(prefix<V> const& vip, std::uint16_t port, std::uint8_t protocol);
    [[nodiscard]] slot& edit(prefix<V> const& vip, std::uint16_t port, std::uint8_t protocol);
    [[nodiscard]] level& level_of(std::uint8_t length);
    static void count(level& l, frontend<V> const& f) noexcept;
    static void uncount(level& l, frontend<V> const& f) noexcept;

    std::vector<level> levels_; ///< longest first
    std::array<shard, shard_count> shards_{};
};

template <ip_version V>
std::uint64_t frontend_index<V>::hash(prefix<V> const& vip, std::uint16_t port, std::uint8_t protocol) noexcept {
    // Not keyed: the entries are the operator's, not an attacker's, so the longest probe is known when it is built.
    constexpr std::uint64_t odd = 0x9e37'79b9'7f4a'7c15; // 2^64 / golden ratio (Knuth, TAOCP 6.4)
    std::uint64_t h = std::uint64_t{vip.length} << 24 | std::uint64_t{port} << 8 | protocol;
    if constexpr (std::same_as<V, ipv4>) {
        h |= std::uint64_t{to_number(vip.address)} << 32;
    } else {
        auto const words = std::bit_cast<std::array<std::uint64_t, 2>>(vip.address);
        h = (h ^ words[0]) * odd;
        h = (h ^ h >> 32 ^ words[1]);
    }
    h *= odd;
    h ^= h >> 32;
    h *= odd;
    return h ^ h >> 29;
}

template <ip_version V>
auto frontend_index<V>::probe(prefix<V> const& vip, std::uint16_t port, std::uint8_t protocol) const noexcept
    -> slot const* {
    auto const h = hash(vip, port, protocol);
    auto const& s = shards_[shard_of(h)];
    if (s.used == 0) return nullptr;
    for (auto i = static_cast<std::uint32_t>(h) & (s.capacity - 1);; i = (i + 1) & (s.capacity - 1)) {
        auto const& candidate = s.slots[i];
        if (candidate.vip.length == no_length) return nullptr;
        if (is(candidate, vip, port, protocol)) return &candidate;
    }
}

template <ip_version V>
frontend<V> const* frontend_index<V>::at(prefix<V> const& vip, std::uint16_t port,
                                         std::uint8_t protocol) const noexcept {
    return protocol == presence ? nullptr : probe(vip, port, protocol);
}

template <ip_version V>
frontend<V> const* frontend_index<V>::find(address const& destination, std::uint16_t port,
                                           std::uint8_t protocol) const noexcept {
    for (auto const& l : levels_) {
        prefix<V> const vip{masked_by(destination, l.mask), l.length};
        frontend<V> const* found = port == 0 ? nullptr : at(vip, port, protocol);
        if (found == nullptr && l.any_port != 0) found = at(vip, 0, protocol);
        if (found == nullptr && l.any_protocol != 0) found = at(vip, 0, 0);
        if (found != nullptr) return found;
    }
    return nullptr;
}

template <ip_version V>
bool frontend_index<V>::covers(address const& destination) const noexcept {
    return std::ranges::any_of(
        levels_, [&](level const& l) { return probe(prefix<V>::of(destination, l.length), 0, presence) != nullptr; });
}

template <ip_version V>
void frontend_index<V>::prefetch(address const& destination, std::uint16_t port, std::uint8_t protocol) const noexcept {
    if (levels_.empty()) return;
    auto const h = hash(prefix<V>::of(destination, levels_.front().length), port, protocol);
    auto const& s = shards_[shard_of(h)];
    if (s.used != 0) prefetch_for_read(&s.slots[static_cast<std::uint32_t>(h) & (s.capacity - 1)]);
}

template <ip_version V>
bool frontend_index<V>::insert(frontend<V> const& added) {
    if (at(added.vip, added.port, added.protocol) != nullptr) return false;
    insert_slot(added);
    if (probe(added.vip, 0, presence) == nullptr)
        insert_slot({added.vip, 0, presence, frontend_kind::cluster_ip, 1});
    else
        ++edit(added.vip, 0, presence).service;
    count(level_of(added.vip.length), added);
    return true;
}

template <ip_version V>
bool frontend_index<V>::erase(prefix<V> const& vip, std::uint16_t port, std::uint8_t protocol) {
    auto const* found = at(vip, port, protocol);
    if (found == nullptr) return false;
    auto& l = level_of(vip.length);
    uncount(l, *found);
    erase_slot(vip, port, protocol);
    if (--edit(vip, 0, presence).service == 0) erase_slot(vip, 0, presence);
    if (l.frontends == 0) levels_.erase(levels_.begin() + (&l - levels_.data()));
    return true;
}

template <ip_version V>
void frontend_index<V>::count(level& l, frontend<V> const& f) noexcept {
    ++l.frontends;
    if (f.port == 0) ++(f.protocol == 0 ? l.any_protocol : l.any_port);
}

template <ip_version V>
void frontend_index<V>::uncount(level& l, frontend<V> const& f) noexcept {
    --l.frontends;
    if (f.port == 0) --(f.protocol == 0 ? l.any_protocol : l.any_port);
}

template <ip_version V>
auto frontend_index<V>::level_of(std::uint8_t length) -> level& {
    auto const here = std::ranges::find_if(levels_, [length](level const& l) { return l.length <= length; });
    if (here != levels_.end() && here->length == length) return *here;
    address all_bits;
    all_bits.fill(std::byte{0xff});
    return *levels_.insert(here, level{.length = length, .mask = masked(all_bits, length)});
}

/// The shard, belonging to this index alone.
template <ip_version V>
auto frontend_index<V>::own(std::size_t number) -> shard& {
    auto& s = shards_[number];
    if (s.slots != nullptr && s.slots.use_count() != 1) {
        auto copy = std::make_shared<slot[]>(s.capacity);
        std::copy_n(s.slots.get(), s.capacity, copy.get());
        s.slots = std::move(copy);
    }
    return s;
}

template <ip_version V>
void frontend_index<V>::resize(shard& s, std::uint32_t capacity) {
    auto const before = s;
    slot nobody{};
    nobody.vip.length = no_length;
    s.slots = std::make_shared<slot[]>(capacity, nobody);
    s.capacity = capacity;
    for (std::uint32_t i = 0; i < before.capacity; ++i) {
        auto const& moved = before.slots[i];
        if (moved.vip.length != no_length) place(s, hash(moved.vip, moved.port, moved.protocol), moved);
    }
}

/// \pre there is a free slot, and no equal one
template <ip_version V>
void frontend_index<V>::place(shard& s, std::uint64_t hash, slot const& added) noexcept {
    auto i = static_cast<std::uint32_t>(hash) & (s.capacity - 1);
    while (s.slots[i].vip.length != no_length) i = (i + 1) & (s.capacity - 1);
    s.slots[i] = added;
}

template <ip_version V>
void frontend_index<V>::insert_slot(slot const& added) {
    auto const h = hash(added.vip, added.port, added.protocol);
    auto& s = shards_[shard_of(h)];
    if ((s.used + 1) * 8 > s.capacity * 5)
        resize(s, std::max(min_capacity, s.capacity * 2));
    else
        static_cast<void>(own(shard_of(h)));
    place(s, h, added);
    ++s.used;
}

/// Moves up what probing would not reach any more (Knuth, TAOCP 6.4, algorithm R). \pre it is there
template <ip_version V>
void frontend_index<V>::erase_slot(prefix<V> const& vip, std::uint16_t port, std::uint8_t protocol) {
    auto& s = own(shard_of(hash(vip, port, protocol)));
    auto const last = s.capacity - 1;
    auto hole = static_cast<std::uint32_t>(probe(vip, port, protocol) - s.slots.get());
    for (auto i = (hole + 1) & last; s.slots[i].vip.length != no_length; i = (i + 1) & last) {
        auto const& next = s.slots[i];
        auto const home = static_cast<std::uint32_t>(hash(next.vip, next.port, next.protocol)) & last;
        if (((i - home) & last) < ((i - hole) & last)) continue; // it stands between its home and the hole
        s.slots[hole] = next;
        hole = i;
    }
    s.slots[hole].vip.length = no_length;
    --s.used;
    if (s.used * 8 < s.capacity && s.capacity > min_capacity) resize(s, s.capacity / 2);
}

/// \pre it is there
template <ip_version V>
auto frontend_index<V>::edit(prefix<V> const& vip, std::uint16_t port, std::uint8_t protocol) -> slot& {
    auto& s = own(shard_of(hash(vip, port, protocol)));
    return s.slots[static_cast<std::uint32_t>(probe(vip, port, protocol) - s.slots.get())];
}

template <ip_version V>
std::vector<frontend<V>> frontend_index<V>::all() const {
    std::vector<frontend<V>> found;
    for (auto const& s : shards_)
        for (std::uint32_t i = 0; i < s.capacity; ++i)
            if (s.slots[i].vip.length != no_length && s.slots[i].protocol != presence) found.push_back(s.slots[i]);
    return found;
}

template <ip_version V>
std::size_t frontend_index<V>::shards_apart(frontend_index const& other) const noexcept {
    std::size_t apart = 0;
    for (std::size_t i = 0; i < shard_count; ++i) apart += shards_[i].slots != other.shards_[i].slots ? 1u : 0u;
    return apart;
}

} // namespace v0_2
} // namespace kubeproxy
