#pragma once

#include "models/cluster_addresses.hpp"
#include "support/conversation.hpp"

#include <algorithm>
#include <compare>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

/// Which Service has an address and port that several of them claim (kubernetes#69599, #97076), the slow way. Nothing
/// here uses the library.
namespace kubeproxy::cluster {

/// An address and port, or a node port of one IP version.
struct claimed_pair {
    std::string address; ///< empty: a node port
    unsigned version = 4;
    std::string protocol;
    unsigned port = 0;

    [[nodiscard]] friend auto operator<=>(claimed_pair const&, claimed_pair const&) = default;
};

/// A Service that claims a pair. One that was deleted and created again is another one.
struct claimant {
    bool is_outer = false; ///< by an external IP or load-balancer IP: goes behind cluster IPs and node ports
    unsigned created = 0;
    std::string service;

    [[nodiscard]] friend auto operator<=>(claimant const&, claimant const&) = default;
    [[nodiscard]] bool is_same_service(claimant const& other) const {
        return service == other.service && created == other.created;
    }
};

inline void add_claims(std::map<claimed_pair, std::set<claimant>>& all, std::string const& name, service const& s) {
    for (unsigned const version : {4u, 6u}) {
        auto const ip = cluster_ip(s, version);
        if (ip.empty()) continue;
        for (auto const& p : s.ports) {
            auto const claim = [&](std::string const& address, unsigned port, bool is_outer) {
                all[{address, version, p.protocol, port}].insert({is_outer, s.created, name});
            };
            claim(ip, p.number, false);
            if (p.node_port != 0) claim("", p.node_port, false);
            for (auto const* list : {&s.external_ips, &s.ingress})
                for (auto const& address : *list)
                    if (version_of(address) == version && address != ip) claim(address, p.number, true);
        }
    }
}

/// A pair that a Service claims and another one has.
struct lost_pair {
    std::string loser;
    claimed_pair what;
    std::string winner;

    [[nodiscard]] friend auto operator<=>(lost_pair const&, lost_pair const&) = default;
};

class claims {
  public:
    /// The Services are read together: who has a pair keeps it; else cluster IPs and node ports, then the oldest, then
    /// the first name.
    void publish(state const& all, std::map<std::string, std::size_t>& tally) {
        claimants_.clear();
        for (auto const& [name, s] : all.services) add_claims(claimants_, name, s);
        std::map<claimed_pair, claimant> holders;
        for (auto const& [what, who] : claimants_) {
            auto const before = holders_.find(what);
            auto const first = *who.begin();
            auto const held = before == holders_.end() ? who.end() : std::ranges::find_if(who, [&](auto const& c) {
                return c.is_same_service(before->second);
            });
            bool const keeps = held != who.end() && held->is_outer == first.is_outer;
            holders[what] = keeps ? *held : first;
            if (who.size() > 1) ++tally[keeps && *held != first ? "kept from an older one" : "contested"];
            if (!keeps && held != who.end()) ++tally["taken by a cluster IP or node port"];
            if (held == who.end() && before != holders_.end()) ++tally["released to the next"];
        }
        holders_ = std::move(holders);
    }

    /// The Service that serves the pair on this node; none: nobody claims it. A node port goes before another Service's
    /// external IP that is an address of the node.
    [[nodiscard]] std::optional<std::string> server(claimed_pair const& what, node const& here) const {
        auto const holder = holders_.find(what);
        bool const is_own = holder != holders_.end() && !holder->second.is_outer;
        if (!is_own && serves_node_ports(here, what.address)) {
            auto const node_port = holders_.find({"", what.version, what.protocol, what.port});
            if (node_port != holders_.end()) return node_port->second.service;
        }
        return holder == holders_.end() ? std::nullopt : std::optional{holder->second.service};
    }

    [[nodiscard]] std::set<lost_pair> lost(node const& here) const {
        std::set<lost_pair> all;
        for (auto const& [what, who] : claimants_)
            for (auto const& c : who)
                if (auto const winner = server(what, here); winner != c.service) all.insert({c.service, what, *winner});
        return all;
    }

  private:
    std::map<claimed_pair, std::set<claimant>> claimants_;
    std::map<claimed_pair, claimant> holders_;
};

} // namespace kubeproxy::cluster
