#pragma once

#include "kubeproxy/wire/address.hpp"
#include "support/ethernet.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace examples {

/// Times and bounds of neighbour resolution; the times are those of RFC 4861 section 10, for ARP too.
struct neighbour_settings {
    std::chrono::nanoseconds reachable = std::chrono::seconds{30}; ///< then it is asked again, while it is used
    std::chrono::nanoseconds retry = std::chrono::seconds{1};
    std::chrono::nanoseconds unused = std::chrono::minutes{10}; ///< then it is forgotten
    unsigned attempts = 3;
    std::size_t most_held = 16; ///< packets that wait for one neighbour; the oldest gives way
    std::size_t most = 4096;    ///< neighbours
};

/// A neighbour: its address, and the link that it is on.
template <kubeproxy::ip_version V>
struct neighbour_key {
    typename V::address address{};
    std::uint32_t link = 0;
    [[nodiscard]] friend bool operator==(neighbour_key const&, neighbour_key const&) = default;
};

/// The stations next to us and their MACs; packets wait here for one that is being asked for.
///
///     none ──resolve──▶ incomplete ──learn──▶ known ──30 s, still used──▶ probing ──learn──▶ known
///                          └─3 attempts─▶ none, packets unreachable          └─3 attempts─▶ none
///
/// One thread; the time comes in. A Packet is moved; it needs no more.
template <kubeproxy::ip_version V, class Packet>
class neighbours {
  public:
    using key = neighbour_key<V>;
    using time = std::chrono::nanoseconds;

    /// What to do for a packet to a neighbour.
    struct answer {
        mac_address const* mac = nullptr; ///< null: hold() the packet
        bool must_ask = false;            ///< now: who has the address
    };
    /// What is known of who told an address.
    enum class told_by : std::uint8_t {
        request, ///< somebody who wants to talk to us: worth an entry
        answer,  ///< updates what is there
    };

    explicit neighbours(neighbour_settings const& settings = {}) : settings_{settings} {}

    [[nodiscard]] answer resolve(key const& who, time now) {
        auto const found = entries_.find(who);
        if (found == entries_.end()) {
            if (entries_.size() >= settings_.most) return {};
            auto& made = entries_[who];
            made.used = now;
            begin_asking(made, now);
            return {nullptr, true};
        }
        auto& e = found->second;
        e.used = now;
        if (!e.mac) return {};
        bool const is_stale = e.attempts == 0 && now - e.confirmed >= settings_.reachable;
        if (is_stale) begin_asking(e, now);
        return {&*e.mac, is_stale};
    }

    /// Keeps a packet until the neighbour is known. \return a packet that is given up: the oldest, or this one
    [[nodiscard]] std::optional<Packet> hold(key const& who, Packet packet) {
        auto const found = entries_.find(who);
        if (found == entries_.end()) return packet;
        auto& held = found->second.held;
        std::optional<Packet> oldest;
        if (held.size() >= settings_.most_held) {
            oldest.emplace(std::move(held.front()));
            held.erase(held.begin());
        }
        held.push_back(std::move(packet));
        return oldest;
    }

    /// A neighbour told its MAC: calls release(packet) for each that waited. \return whether anything was new
    template <class Release>
    bool learn(key const& who, mac_address const& mac, told_by how, time now, Release&& release) {
        auto found = entries_.find(who);
        if (found == entries_.end()) {
            if (how == told_by::answer || entries_.size() >= settings_.most) return false;
            found = entries_.try_emplace(who).first;
            found->second.used = now;
        }
        auto& e = found->second;
        bool const is_new = e.mac != mac || e.attempts != 0;
        e.mac = mac;
        e.confirmed = now;
        e.attempts = 0;
        for (auto& packet : std::exchange(e.held, {})) release(std::move(packet));
        return is_new;
    }

    /// Every now and then: ask(key, mac or null) for who did not answer in time, give_up(packet) for each packet whose
    /// neighbour does not answer at all. O(neighbours)
    template <class Ask, class GiveUp>
    void tick(time now, Ask&& ask, GiveUp&& give_up) {
        std::vector<Packet> lost;
        for (auto one = entries_.begin(); one != entries_.end();) {
            auto const keep = still_wanted(one->first, one->second, now, ask);
            if (!keep) std::ranges::move(one->second.held, std::back_inserter(lost));
            one = keep ? std::next(one) : entries_.erase(one);
        }
        for (auto& packet : lost) give_up(std::move(packet));
    }

    [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }
    [[nodiscard]] std::size_t waiting() const noexcept {
        std::size_t sum = 0;
        for (auto const& [who, e] : entries_) sum += e.held.size();
        return sum;
    }

  private:
    struct entry {
        std::optional<mac_address> mac; ///< none: incomplete
        time confirmed{};
        time used{};
        time next_attempt{};
        unsigned attempts = 0; ///< 0: not being asked
        std::vector<Packet> held;
    };
    struct hash {
        [[nodiscard]] std::size_t operator()(key const& k) const noexcept {
            std::uint64_t mixed = k.link;
            for (auto const byte : k.address)
                mixed = (mixed ^ std::to_integer<std::uint64_t>(byte)) * 0x9e37'79b9'7f4a'7c15; // 2^64 / golden ratio
            return static_cast<std::size_t>(mixed ^ mixed >> 32);
        }
    };

    template <class Ask>
    [[nodiscard]] bool still_wanted(key const& who, entry& e, time now, Ask& ask) const {
        if (e.attempts == 0) return now - e.used < settings_.unused;
        if (now < e.next_attempt) return true;
        if (e.attempts == settings_.attempts) return false;
        ++e.attempts;
        e.next_attempt = now + settings_.retry;
        ask(who, e.mac ? &*e.mac : nullptr);
        return true;
    }
    void begin_asking(entry& e, time now) const noexcept {
        e.attempts = 1;
        e.next_attempt = now + settings_.retry;
    }

    neighbour_settings settings_;
    std::unordered_map<key, entry, hash> entries_;
};

} // namespace examples
