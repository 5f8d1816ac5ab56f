#pragma once

#include "kubeproxy/wire/address.hpp"
#include "support/ethernet.hpp"
#include "tap_forwarder/router/held_packets.hpp"
#include "tap_forwarder/router/neighbour_table.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <utility>
#include <vector>

namespace examples {

/// The stations next to us and their MACs; packets wait here for one that is being asked for.
///
///     none ──resolve──▶ incomplete ──learn──▶ known ──30 s, still used──▶ probing ──learn──▶ known
///                          └─3 attempts─▶ none, packets unreachable          └─3 attempts─▶ none
///
/// Each link has a quota of entries, so that the stations of one link cannot use up the room of another. See
/// neighbour_table for which entry gives way when a link's quota is used up.
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

    /// \param held outlives this; it may hold packets of other neighbours, too
    explicit neighbours(held_packets<Packet>& held, neighbour_settings const& settings = {})
        : settings_{settings}, held_{&held}, table_{settings.max_per_link, settings.seed} {}
    neighbours(neighbours const&) = delete;
    neighbours& operator=(neighbours const&) = delete;
    ~neighbours() {
        for (auto one = table_.begin(); one != table_.end(); ++one) drop_held(one->second, [](Packet) {});
    }

    /// Calls drop(packet) for each packet that waited for a neighbour whose entry gives way.
    template <class Drop>
    [[nodiscard]] answer resolve(key const& who, time now, Drop&& drop) {
        auto const found = table_.find(who);
        if (found == table_.end()) {
            while (table_.is_full(who.link)) evict(table_.least_useful(who.link), drop);
            auto& made = table_.add(who, neighbour_use::incomplete, now)->second;
            begin_asking(made, now);
            return {nullptr, true};
        }
        auto& e = found->second;
        e.used = now;
        if (!e.mac) return {};
        if (e.use == neighbour_use::unused) table_.move(*found, neighbour_use::used, now);
        bool const is_stale = e.attempts == 0 && now - e.confirmed >= settings_.reachable;
        if (is_stale) begin_asking(e, now);
        return {&*e.mac, is_stale};
    }

    /// Keeps a packet until the neighbour is known. \return a packet that is given up: an older one, or this one
    [[nodiscard]] std::optional<Packet> hold(key const& who, Packet packet) {
        auto const found = table_.find(who);
        if (found == table_.end()) return packet;
        return held_->push(found->second.held, std::move(packet), settings_.max_held);
    }

    /// A neighbour told its MAC: calls release(packet) for each that waited, and drop(packet) for each that waited for
    /// a neighbour whose entry gives way. \return whether anything was new
    template <class Release, class Drop>
    bool learn(key const& who, mac_address const& mac, told_by how, time now, Release&& release, Drop&& drop) {
        auto found = table_.find(who);
        if (found == table_.end()) {
            if (how == told_by::answer || !make_room_for_unused(who.link, drop)) return false;
            found = table_.add(who, neighbour_use::unused, now);
        }
        auto& e = found->second;
        bool const is_new = e.mac != mac || e.attempts != 0;
        if (!e.mac && e.use == neighbour_use::incomplete) table_.move(*found, neighbour_use::used, now);
        e.mac = mac;
        e.confirmed = now;
        e.attempts = 0;
        while (e.held.size() != 0) release(held_->pop(e.held));
        return is_new;
    }

    /// Every now and then: ask(key, mac or null) for who did not answer in time, give_up(packet) for each packet whose
    /// neighbour does not answer at all. O(neighbours)
    template <class Ask, class GiveUp>
    void tick(time now, Ask&& ask, GiveUp&& give_up) {
        std::vector<Packet> lost;
        for (auto one = table_.begin(); one != table_.end();) {
            auto const next = std::next(one);
            if (!still_wanted(one->first, one->second, now, ask))
                evict(*one, [&](Packet packet) { lost.push_back(std::move(packet)); });
            one = next;
        }
        for (auto& packet : lost) give_up(std::move(packet));
    }

    [[nodiscard]] std::size_t size() const noexcept { return table_.size(); }

  private:
    using table = neighbour_table<V, Packet>;
    using entry = neighbour_entry<V, Packet>;

    template <class Drop>
    void drop_held(entry& e, Drop&& drop) {
        while (e.held.size() != 0) drop(held_->pop(e.held));
    }
    template <class Drop>
    void evict(typename table::value_type& one, Drop&& drop) {
        drop_held(one.second, drop);
        table_.erase(one);
    }
    /// The entry of a station that sends a request replaces an unused one first, so that a flood of requests does not
    /// remove the entries of neighbours that packets wait for. It never replaces a neighbour in use.
    template <class Drop>
    [[nodiscard]] bool make_room_for_unused(std::uint32_t link, Drop&& drop) {
        if (!table_.is_full(link)) return true;
        for (auto const use : {neighbour_use::unused, neighbour_use::incomplete})
            if (auto* const one = table_.oldest(link, use); one != nullptr) return evict(*one, drop), true;
        return false;
    }

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
    held_packets<Packet>* held_;
    table table_;
};

} // namespace examples
