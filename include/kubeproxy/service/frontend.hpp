#pragma once

#include "kubeproxy/wire/address.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace kubeproxy::inline v0_2 {

/// What an address and a port in front of the pods is. It decides, with the source, about policy and masquerade.
enum class frontend_kind : std::uint8_t {
    cluster_ip,    ///< the service's own address, or a VIP of the `ku` language
    external,      ///< a node port, a load-balancer IP or an external IP
    reject_others, ///< a cluster IP at a port that no service has: answered with an ICMP error
    drop_others,   ///< a service range: an address that no service has is dropped
};

inline constexpr std::uint32_t no_service = 0xffff'ffff;

/// Where traffic to a service arrives: a prefix, a port and a protocol.
template <ip_version V>
struct frontend {
    prefix<V> vip;
    std::uint16_t port = 0;    ///< 0: every port that no other frontend of this prefix has
    std::uint8_t protocol = 0; ///< 0: every protocol; then port is 0
    frontend_kind kind = frontend_kind::cluster_ip;
    std::uint32_t service = no_service;
};

/// Finds the frontend of a packet: the longest prefix that has one for the port and protocol, or for all ports.
///
/// Hash tables, one for each prefix length in use and in one array: a cluster has two or three lengths, most often
/// just the whole address, so a lookup costs one probe for a hit and two for each length otherwise.
///
///     lengths_  /32 -> [ . e . e e . ]   entry: tag of (masked address, port, protocol) and index into frontends_
///               /8  -> [ e . ]           load <= 50 %, linear probing
template <ip_version V>
class frontend_index {
  public:
    using address = typename V::address;

    frontend_index() = default;
    /// Of several frontends with the same prefix, port and protocol the first one counts.
    explicit frontend_index(std::vector<frontend<V>> frontends);

    [[nodiscard]] frontend<V> const* find(address const& destination, std::uint16_t port,
                                          std::uint8_t protocol) const noexcept;
    /// Whether a frontend has the address, at whatever port.
    [[nodiscard]] bool covers(address const& destination) const noexcept;
    /// Brings the line that find() reads first nearer.
    void prefetch(address const& destination, std::uint16_t port, std::uint8_t protocol) const noexcept;
    [[nodiscard]] std::vector<frontend<V>> const& all() const noexcept { return frontends_; }

  private:
    struct entry {
        std::uint32_t tag = 0;
        std::uint32_t frontend = no_service;
    };
    struct level {
        std::uint8_t length;
        std::uint8_t wildcards; ///< whether a frontend of this length serves all ports of a protocol, or all protocols
        std::uint32_t first;    ///< in entries_
        std::uint32_t mask;     ///< number of entries - 1
    };
    static constexpr std::uint8_t any_port = 1, any_protocol = 2;
    static constexpr std::uint8_t presence =
        255; ///< reserved as a protocol (IANA): the entry says that the prefix is in use

    [[nodiscard]] static std::uint64_t hash(address const& a, std::uint16_t port, std::uint8_t protocol) noexcept;
    [[nodiscard]] frontend<V> const* probe(level const& at, address const& masked, std::uint16_t port,
                                           std::uint8_t protocol) const noexcept;
    void add_level(std::uint8_t length);
    void add_entry(level const& at, std::uint32_t index) noexcept;
    void insert(level const& at, std::uint64_t hash, std::uint32_t index) noexcept;
    [[nodiscard]] bool is_present(level const& at, address const& masked) const noexcept;

    std::vector<frontend<V>> frontends_;
    std::vector<level> levels_; ///< longest first
    std::vector<entry> entries_;
};

template <ip_version V>
frontend_index<V>::frontend_index(std::vector<frontend<V>> frontends) : frontends_{std::move(frontends)} {
    std::array<bool, address_bits<V> + 1> in_use{};
    for (auto const& f : frontends_) in_use[f.vip.length] = true;
    for (unsigned length = address_bits<V> + 1; length-- > 0;)
        if (in_use[length]) add_level(static_cast<std::uint8_t>(length));
}

template <ip_version V>
void frontend_index<V>::add_level(std::uint8_t length) {
    std::size_t count = 0;
    std::uint8_t wildcards = 0;
    for (auto const& f : frontends_) {
        if (f.vip.length != length) continue;
        ++count;
        if (f.port == 0) wildcards |= f.protocol == 0 ? any_protocol : any_port;
    }
    auto const size = std::bit_ceil(count * 4); // one entry for the frontend, one for its prefix
    level const added{length, wildcards, static_cast<std::uint32_t>(entries_.size()),
                      static_cast<std::uint32_t>(size - 1)};
    levels_.push_back(added);
    entries_.resize(entries_.size() + size);
    for (std::uint32_t i = 0; i < frontends_.size(); ++i)
        if (frontends_[i].vip.length == length) add_entry(added, i);
}

template <ip_version V>
void frontend_index<V>::add_entry(level const& at, std::uint32_t index) noexcept {
    auto const& f = frontends_[index];
    if (probe(at, f.vip.address, f.port, f.protocol) != nullptr) return;
    insert(at, hash(f.vip.address, f.port, f.protocol), index);
    if (!is_present(at, f.vip.address)) insert(at, hash(f.vip.address, 0, presence), index);
}

template <ip_version V>
void frontend_index<V>::insert(level const& at, std::uint64_t hash, std::uint32_t index) noexcept {
    auto i = static_cast<std::uint32_t>(hash) & at.mask;
    while (entries_[at.first + i].frontend != no_service) i = (i + 1) & at.mask;
    entries_[at.first + i] = {static_cast<std::uint32_t>(hash >> 32), index};
}

template <ip_version V>
bool frontend_index<V>::is_present(level const& at, address const& masked) const noexcept {
    auto const h = hash(masked, 0, presence);
    for (auto i = static_cast<std::uint32_t>(h) & at.mask;; i = (i + 1) & at.mask) {
        auto const& e = entries_[at.first + i];
        if (e.frontend == no_service) return false;
        if (e.tag == static_cast<std::uint32_t>(h >> 32) && frontends_[e.frontend].vip.address == masked) return true;
    }
}

template <ip_version V>
bool frontend_index<V>::covers(address const& destination) const noexcept {
    return std::ranges::any_of(levels_,
                               [&](level const& at) { return is_present(at, masked(destination, at.length)); });
}

template <ip_version V>
std::uint64_t frontend_index<V>::hash(address const& a, std::uint16_t port, std::uint8_t protocol) noexcept {
    // Not keyed: the entries are the operator's, not an attacker's, so the longest probe is known when it is built.
    constexpr std::uint64_t odd = 0x9e37'79b9'7f4a'7c15; // 2^64 / golden ratio (Knuth, TAOCP 6.4)
    std::uint64_t h = std::uint64_t{port} << 8 | protocol;
    if constexpr (std::same_as<V, ipv4>) {
        h |= std::uint64_t{to_number(a)} << 32;
    } else {
        auto const words = std::bit_cast<std::array<std::uint64_t, 2>>(a);
        h = (h ^ words[0]) * odd;
        h = (h ^ h >> 32 ^ words[1]);
    }
    h *= odd;
    h ^= h >> 32;
    h *= odd;
    return h ^ h >> 29;
}

template <ip_version V>
frontend<V> const* frontend_index<V>::probe(level const& at, address const& masked, std::uint16_t port,
                                            std::uint8_t protocol) const noexcept {
    auto const h = hash(masked, port, protocol);
    for (auto i = static_cast<std::uint32_t>(h) & at.mask;; i = (i + 1) & at.mask) {
        auto const& e = entries_[at.first + i];
        if (e.frontend == no_service) return nullptr;
        auto const& f = frontends_[e.frontend];
        if (e.tag == static_cast<std::uint32_t>(h >> 32) && f.vip.address == masked && f.port == port &&
            f.protocol == protocol)
            return &f;
    }
}

template <ip_version V>
frontend<V> const* frontend_index<V>::find(address const& destination, std::uint16_t port,
                                           std::uint8_t protocol) const noexcept {
    for (auto const& at : levels_) {
        auto const address_there = masked(destination, at.length);
        frontend<V> const* found = port == 0 ? nullptr : probe(at, address_there, port, protocol);
        if (found == nullptr && (at.wildcards & any_port) != 0) found = probe(at, address_there, 0, protocol);
        if (found == nullptr && (at.wildcards & any_protocol) != 0) found = probe(at, address_there, 0, 0);
        if (found != nullptr) return found;
    }
    return nullptr;
}

template <ip_version V>
void frontend_index<V>::prefetch(address const& destination, std::uint16_t port, std::uint8_t protocol) const noexcept {
    if (levels_.empty()) return;
    auto const& at = levels_.front();
    auto const h = hash(masked(destination, at.length), port, protocol);
    __builtin_prefetch(&entries_[at.first + (static_cast<std::uint32_t>(h) & at.mask)]);
}

} // namespace kubeproxy::inline v0_2
