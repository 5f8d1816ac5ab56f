#pragma once

#include "models/slow_model_comparison.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

/// Messages in parts: whose they are, and which parts wait for the first one.
namespace kubeproxy::slow {

inline constexpr std::int64_t first_fragment_speaks_for = 30'000; ///< milliseconds
inline constexpr std::int64_t early_fragment_waits = 1'000;
inline constexpr std::size_t longest_early_fragment = 2048;

/// RFC 791 section 3.2; RFC 8200 section 4.5, where the next header is no part of it.
struct message_key {
    octets source, destination;
    std::size_t identification = 0;
    unsigned protocol = 0;

    [[nodiscard]] static message_key of(reading const& r) {
        return {r.shown.source, r.shown.destination, r.identification, r.version == 4 ? r.shown.protocol : 0};
    }
    [[nodiscard]] bool is_ipv6() const { return source.size() == 16; }
    [[nodiscard]] auto all() const { return std::tie(source, destination, identification, protocol); }
    [[nodiscard]] friend bool operator<(message_key const& a, message_key const& b) { return a.all() < b.all(); }
};

class messages {
  public:
    void note_first(message_key const& key, ends const& shown, std::int64_t now) {
        known_[key] = {shown, now};
        if (early_.contains(key)) due_.push_back(key);
    }
    /// The ends of the message, as its first fragment showed them.
    [[nodiscard]] std::optional<ends> find(message_key const& key, std::int64_t now) const {
        auto const known = known_.find(key);
        if (known == known_.end() || now - known->second.second > first_fragment_speaks_for) return std::nullopt;
        auto result = known->second.first;
        result.source = key.source;
        result.destination = key.destination;
        return result;
    }
    void hold(message_key const& key, std::size_t offset, octets const& packet, std::int64_t now) {
        auto& waiting = early_.try_emplace(key, waiting_parts{now, {}}).first->second;
        waiting.parts.emplace(offset, packet); // equal offsets stay in the order of arrival
    }
    /// What may go on now, IPv4 before IPv6, each message in order.
    [[nodiscard]] std::vector<octets> release() {
        std::vector<octets> parts;
        for (bool const ipv6 : {false, true})
            for (auto const& key : due_) {
                if (key.is_ipv6() != ipv6) continue;
                for (auto const& [offset, packet] : early_[key].parts) parts.push_back(packet);
                early_.erase(key);
            }
        due_.clear();
        return parts;
    }
    /// How many were dropped because their first one did not come.
    [[nodiscard]] std::size_t expire(std::int64_t now) {
        std::size_t count = 0;
        std::erase_if(early_, [&](auto const& one) {
            bool const is_late = now - one.second.since > early_fragment_waits;
            count += is_late ? one.second.parts.size() : 0;
            return is_late;
        });
        return count;
    }

  private:
    struct waiting_parts {
        std::int64_t since;
        std::multimap<std::size_t, octets> parts;
    };
    std::map<message_key, std::pair<ends, std::int64_t>> known_{};
    std::map<message_key, waiting_parts> early_{};
    std::vector<message_key> due_{};
};

/// RFC 6864 section 5.3: one identification for all parts of a message, and no other message has it between these
/// hosts. Which one is free to choose.
class identifications {
  public:
    /// Gives `part` the identification that came out, if that is right.
    void adopt(message_key const& key, octets& packet, std::int64_t now, observed const& o) {
        auto const sum = [&] { return residue(part(packet, 0, 10)) + residue(part(packet, 12, 8)); };
        auto const before = sum();
        put(packet, 4, 2, get(o.bytes, 4, 2));
        put(packet, 10, 2, carried_over(get(packet, 10, 2), before, sum(), get(o.bytes, 10, 2)));
        auto const hosts = seed::joined({part(packet, 12, 8), part(packet, 9, 1), part(packet, 4, 2)});
        auto& mine = given_[key];
        if (!mine.second.empty() && now - mine.first <= first_fragment_speaks_for)
            return want(mine.second == hosts, o, "another identification than the other parts of the message have");
        auto const [last, is_new] = taken_.try_emplace(hosts, now);
        want(is_new || now - last->second >= 120'000, o, "an identification that another message had lately");
        last->second = now;
        mine = {now, hosts};
    }

  private:
    std::map<message_key, std::pair<std::int64_t, octets>> given_{}; ///< when, to whom and which
    std::map<octets, std::int64_t> taken_{};
};

} // namespace kubeproxy::slow
