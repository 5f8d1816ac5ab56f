#pragma once

#include "kubeproxy/flow/hash.hpp"
#include "kubeproxy/wire/address.hpp"
#include "support/ethernet.hpp"
#include "tap_forwarder/router/held_packets.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <random>
#include <unordered_map>
#include <utility>
#include <vector>

namespace examples {

/// A seed that nobody outside can know, from the system.
[[nodiscard]] inline std::uint64_t secret_seed() {
    std::random_device device;
    return std::uint64_t{device()} << 32 | device();
}

/// Times and bounds of neighbour resolution; the times are those of RFC 4861 section 10, for ARP too.
struct neighbour_settings {
    std::chrono::nanoseconds reachable = std::chrono::seconds{30}; ///< then it is asked again, while it is used
    std::chrono::nanoseconds retry = std::chrono::seconds{1};
    std::chrono::nanoseconds unused = std::chrono::minutes{10}; ///< then it is forgotten
    unsigned attempts = 3;
    std::size_t max_held = 16;          ///< packets that wait for one neighbour; the oldest gives way
    std::size_t max_per_link = 4096;    ///< neighbours of each link and IP version, at least 1
    std::uint64_t seed = secret_seed(); ///< of the table's hash
};

/// A neighbour: its address, and the link that it is on.
template <kubeproxy::ip_version V>
struct neighbour_key {
    typename V::address address{};
    std::uint32_t link = 0;
    [[nodiscard]] friend bool operator==(neighbour_key const&, neighbour_key const&) = default;
};

/// What we have of a neighbour; entries give way in this order.
enum class neighbour_use : std::uint8_t {
    incomplete, ///< its MAC is not known
    unused,     ///< it asked for us, and nothing was sent to it yet
    used        ///< packets are sent to it
};

template <kubeproxy::ip_version V, class Packet>
struct neighbour_entry {
    using time = std::chrono::nanoseconds;
    using list = std::list<std::pair<neighbour_key<V> const, neighbour_entry>*>;

    std::optional<mac_address> mac{}; ///< none: incomplete
    time confirmed{};
    time used{};
    time next_attempt{};
    unsigned attempts = 0; ///< 0: not being asked
    neighbour_use use = neighbour_use::incomplete;
    time listed{}; ///< when it was put last in its list
    typename list::iterator position{};
    typename held_packets<Packet>::queue held{};
};

/// The entries of all links, with a quota for each link. Stations choose their addresses, so the hash is keyed by a
/// secret: they cannot choose addresses that meet in one bucket.
///
/// For each link and use there is a list of its entries in the order in which they came to be used so.
template <kubeproxy::ip_version V, class Packet>
class neighbour_table {
    struct hash {
        kubeproxy::flow_hash mix;
        [[nodiscard]] std::size_t operator()(neighbour_key<V> const& k) const noexcept {
            return static_cast<std::size_t>(
                mix(kubeproxy::tuple<V>{.destination = k.address,
                                        .source_port = static_cast<std::uint16_t>(k.link >> 16),
                                        .destination_port = static_cast<std::uint16_t>(k.link)}));
        }
    };
    using map = std::unordered_map<neighbour_key<V>, neighbour_entry<V, Packet>, hash>;

  public:
    using key = neighbour_key<V>;
    using time = std::chrono::nanoseconds;
    using value_type = typename map::value_type;
    using iterator = typename map::iterator;

    neighbour_table(std::size_t max_per_link, std::uint64_t seed)
        : max_per_link_{max_per_link}, entries_{0, hash{kubeproxy::flow_hash{seed}}} {}

    [[nodiscard]] iterator begin() noexcept { return entries_.begin(); }
    [[nodiscard]] iterator end() noexcept { return entries_.end(); }
    [[nodiscard]] iterator find(key const& who) { return entries_.find(who); }
    [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }
    [[nodiscard]] bool is_full(std::uint32_t link) { return of(link).size >= max_per_link_; }

    /// \pre !is_full(who.link), and there is no such entry
    iterator add(key const& who, neighbour_use use, time now) {
        auto const made = entries_.try_emplace(who).first;
        auto& e = made->second;
        auto& list = of(who.link).by_use[index(use)];
        e.used = e.listed = now;
        e.use = use;
        e.position = list.insert(list.end(), &*made);
        ++of(who.link).size;
        return made;
    }
    /// Puts an entry last in the list of another use, or of its own.
    void move(value_type& one, neighbour_use use, time now) {
        auto& lists = of(one.first.link).by_use;
        auto& to = lists[index(use)];
        to.splice(to.end(), lists[index(one.second.use)], one.second.position);
        one.second.use = use;
        one.second.listed = now;
    }
    /// \pre no packet waits for it
    void erase(value_type& one) {
        auto& link = of(one.first.link);
        link.by_use[index(one.second.use)].erase(one.second.position);
        --link.size;
        entries_.erase(entries_.find(one.first));
    }

    /// The entry that was longest in a list; null if the list is empty.
    [[nodiscard]] value_type* oldest(std::uint32_t link, neighbour_use use) {
        auto& list = of(link).by_use[index(use)];
        return list.empty() ? nullptr : list.front();
    }
    /// The entry to give way: an incomplete one, else one that was never used, else one that was not used lately.
    /// \pre is_full(link)
    [[nodiscard]] value_type& least_useful(std::uint32_t link) {
        for (auto const use : {neighbour_use::incomplete, neighbour_use::unused})
            if (auto* const one = oldest(link, use); one != nullptr) return *one;
        constexpr int max_examined = 16; // bounds the time; an entry that was used lately has another chance
        for (int i = 0; i < max_examined; ++i) {
            auto& one = *oldest(link, neighbour_use::used);
            if (one.second.used <= one.second.listed) return one;
            move(one, neighbour_use::used, one.second.used);
        }
        return *oldest(link, neighbour_use::used);
    }

  private:
    struct link_entries {
        std::size_t size = 0;
        std::array<typename neighbour_entry<V, Packet>::list, 3> by_use{}; ///< entries stay in place in the map
    };

    [[nodiscard]] static std::size_t index(neighbour_use use) noexcept { return static_cast<std::size_t>(use); }
    [[nodiscard]] link_entries& of(std::uint32_t link) {
        if (link >= links_.size()) links_.resize(std::size_t{link} + 1);
        return links_[link];
    }

    std::size_t max_per_link_;
    map entries_;
    std::vector<link_entries> links_;
};

} // namespace examples
