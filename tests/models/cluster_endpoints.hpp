#pragma once

#include "models/cluster_objects.hpp"
#include "support/conversation.hpp"

#include <algorithm>
#include <string>
#include <vector>

/// Which endpoints a Service port has, and which of them take new connections, the slow way: from the documentation of
/// EndpointSlices, KEPs 1669, 2433 and 3015 and the rules that kube-proxy's changes of 2025 say. Nothing here uses the
/// library.
namespace kubeproxy::cluster {

using build::conversation;
using build::side;

/// A pod that serves a port of a service, at one of the slices' ports.
struct candidate {
    side at;
    pod const* is;               ///< that counts
    unsigned entries = 1;        ///< with this address and port
    bool by_former_name = false; ///< the slices do not have the port's present name yet
};

inline bool is_ready(pod const& p) { return p.ready.value_or(true); }
inline bool is_leaving(pod const& p) {
    return !is_ready(p) && p.serving.value_or(true) && p.terminating.value_or(false);
}
inline bool is_local(pod const& p, node const& n) { return p.node && *p.node == n.name; }

inline std::string address_of(pod const& p, unsigned version) { return version == 4 ? p.address4 : p.address6; }

/// Whether `a` counts rather than `b` if both have the same address and port (kubernetes#135266): one that does not
/// terminate before one that does, then ready before not ready. Nothing else decides.
inline bool counts_before(pod const& a, pod const& b) {
    bool const a_ends = a.terminating.value_or(false), b_ends = b.terminating.value_or(false);
    return a_ends != b_ends ? b_ends : is_ready(a) && !is_ready(b);
}

inline void add_candidate(std::vector<candidate>& all, candidate const& next) {
    auto const same = std::ranges::find(all, next.at, &candidate::at);
    if (same == all.end()) return all.push_back(next);
    ++same->entries;
    if (counts_before(*next.is, *same->is)) same->is = next.is;
    same->by_former_name = same->by_former_name && next.by_former_name;
}

/// Those that serve a port, each address and port once. A slice means a port of its Service by protocol and number,
/// whatever the name was when it was written.
inline std::vector<candidate> candidates(state const& all, std::string const& service, port const& wanted,
                                         unsigned version) {
    std::vector<candidate> found;
    for (auto const& [name, slice] : all.slices) {
        if (slice.service != service || slice.version != version) continue;
        for (auto const& offered : slice.ports) {
            if (offered.service_port != wanted.number || offered.protocol != wanted.protocol) continue;
            for (auto const& name_of_pod : slice.pods) {
                auto const& p = all.pods.at(name_of_pod);
                add_candidate(found, {{address_of(p, version), offered.number}, &p, 1, offered.name != wanted.name});
            }
        }
    }
    return found;
}

/// The one that counts of those that slices of the service list at this address and port, for whichever service port;
/// null: none, which is when it has been removed.
inline pod const* listed_at(state const& all, std::string const& service, std::string const& protocol, unsigned version,
                            side const& at) {
    pod const* best = nullptr;
    for (auto const& [name, slice] : all.slices) {
        if (slice.service != service || slice.version != version) continue;
        for (auto const& offered : slice.ports) {
            if (offered.protocol != protocol || offered.number != at.port) continue;
            for (auto const& name_of_pod : slice.pods) {
                auto const& p = all.pods.at(name_of_pod);
                if (address_of(p, version) != at.address) continue;
                if (best == nullptr || counts_before(p, *best)) best = &p;
            }
        }
    }
    return best;
}

/// Ready ones; where there is none, those that terminate and still serve (KEP-1669).
inline std::vector<candidate> usable(std::vector<candidate> const& all) {
    std::vector<candidate> ready, leaving;
    for (auto const& c : all) {
        if (is_ready(*c.is)) ready.push_back(c);
        if (is_leaving(*c.is)) leaving.push_back(c);
    }
    return ready.empty() ? leaving : ready;
}

/// Policy Cluster: hints for nodes, then for zones, are followed if all ready endpoints have some and one of them is
/// for here (KEP-2433, KEP-3015).
inline std::vector<candidate> of_cluster(std::vector<candidate> const& all, node const& here) {
    auto const usable_ones = usable(all);
    if (usable_ones.empty() || !is_ready(*usable_ones.front().is)) return usable_ones;
    for (bool const by_node : {true, false}) {
        auto const& place = by_node ? here.name : here.zone;
        std::vector<candidate> for_here;
        bool all_have = true;
        for (auto const& c : usable_ones) {
            auto const& hints = by_node ? c.is->node_hints : c.is->zone_hints;
            all_have = all_have && !hints.empty();
            if (std::ranges::find(hints, place) != hints.end()) for_here.push_back(c);
        }
        if (all_have && !for_here.empty()) return for_here;
    }
    return usable_ones;
}

inline std::vector<candidate> of_node(std::vector<candidate> all, node const& here) {
    std::erase_if(all, [&](candidate const& c) { return !is_local(*c.is, here); });
    return usable(all);
}

} // namespace kubeproxy::cluster
