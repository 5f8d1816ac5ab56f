#pragma once

#include "support/cluster_objects.hpp"
#include "support/conversation.hpp"

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <vector>

/// What kube-proxy does with a connection's first packet, the slow way: from the documentation of Services,
/// EndpointSlices and virtual IPs (kubernetes.io/docs/reference/networking/virtual-ips) and KEPs 1669, 2086 and 2433,
/// looking through all objects for every packet. Nothing here uses the library.
namespace kubeproxy::cluster {

using build::conversation;
using build::side;

struct decision {
    enum class verdict { pass, forward, reject, drop } what = verdict::pass;
    std::set<side> backends{};
    bool masquerade = false;
    std::string service{}; ///< that it is for
    std::string port{};    ///< what flows' backends belong to; see port_identity()
};

/// A pod that serves a port of a service, at one of the slices' ports.
struct candidate {
    side at;
    pod const* is;
};

inline bool is_ready(pod const& p) { return p.ready.value_or(true); }
inline bool is_leaving(pod const& p) {
    return !is_ready(p) && p.serving.value_or(true) && p.terminating.value_or(false);
}
inline bool is_local(pod const& p, node const& n) { return p.node && *p.node == n.name; }

inline std::string address_of(pod const& p, unsigned version) { return version == 4 ? p.address4 : p.address6; }

/// The first of the version that is no loopback.
inline std::string primary(node const& n, unsigned version) {
    for (auto const& a : n.addresses)
        if (version_of(a) == version && !a.starts_with("127.") && a != "::1") return a;
    return {};
}

/// Headless Services, and those of type ExternalName, have none; a version without one is not served.
inline std::string cluster_ip(service const& s, unsigned version) {
    if (s.type == "ExternalName") return {};
    for (auto const& ip : s.cluster_ips)
        if (ip != "None" && version_of(ip) == version) return ip;
    return {};
}

/// A service port of clients of one version is the same as long as this is.
inline std::string port_identity(std::string const& name, service const& s, port const& p, unsigned version) {
    return name + '|' + cluster_ip(s, version) + '|' + p.name + '|' + p.protocol + '|' + std::to_string(p.number);
}

inline std::vector<candidate> candidates(state const& all, std::string const& service, port const& wanted,
                                         unsigned version) {
    std::vector<candidate> found;
    for (auto const& [name, slice] : all.slices) {
        if (slice.service != service || slice.version != version) continue;
        for (auto const& offered : slice.ports) {
            if (offered.name != wanted.name || offered.protocol != wanted.protocol) continue;
            for (auto const& name_of_pod : slice.pods) {
                auto const& p = all.pods.at(name_of_pod);
                found.push_back({{address_of(p, version), offered.number}, &p});
            }
        }
    }
    return found;
}

/// A pod that some slice of the service lists at this address and port, for whichever service port; null: none.
inline pod const* listed_at(state const& all, std::string const& service, std::string const& protocol, unsigned version,
                            side const& at) {
    for (auto const& [name, slice] : all.slices) {
        if (slice.service != service || slice.version != version) continue;
        for (auto const& offered : slice.ports) {
            if (offered.protocol != protocol || offered.number != at.port) continue;
            for (auto const& name_of_pod : slice.pods)
                if (auto const& p = all.pods.at(name_of_pod); address_of(p, version) == at.address) return &p;
        }
    }
    return nullptr;
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

inline bool serves_node_ports(node const& n, std::string const& address) {
    if (std::ranges::find(n.addresses, address) == n.addresses.end()) return false;
    if (address.starts_with("127.") || address == "::1") return false;
    if (!n.node_port_addresses || n.node_port_addresses->empty()) return address == primary(n, version_of(address));
    bool has_range = false;
    for (auto const& range : *n.node_port_addresses) {
        has_range = has_range || version_of(range.substr(0, range.find('/'))) == version_of(address);
        if (contains(range, address)) return true;
    }
    return !has_range;
}

enum class source { pod, node, external };

inline bool has_ranges(texts const& ranges, unsigned version) {
    return std::ranges::any_of(ranges, [&](auto const& r) { return version_of(r.substr(0, r.find('/'))) == version; });
}
inline bool is_in(texts const& ranges, std::string const& address) {
    return std::ranges::any_of(ranges, [&](auto const& range) { return contains(range, address); });
}

inline source source_of(node const& n, std::string const& address) {
    if (is_in(n.pod_ranges, address)) return source::pod;
    return std::ranges::find(n.addresses, address) != n.addresses.end() ? source::node : source::external;
}

enum class door { none, cluster_ip, external, guarded };

/// By which of its doors a packet comes to a service's port.
inline door door_of(service const& s, port const& p, node const& n, side const& to) {
    auto const is_one_of = [&](texts const& all) { return std::ranges::find(all, to.address) != all.end(); };
    auto const version = version_of(to.address);
    auto const ip = cluster_ip(s, version);
    if (ip.empty()) return door::none;
    if (to.port == p.number) {
        if (to.address == ip) return door::cluster_ip;
        if (is_one_of(s.ingress)) return has_ranges(s.source_ranges, version) ? door::guarded : door::external;
        if (is_one_of(s.external_ips)) return door::external;
    }
    if (p.node_port != 0 && to.port == p.node_port && serves_node_ports(n, to.address)) return door::external;
    return door::none;
}

/// loadBalancerSourceRanges; a node that is in one may have the load balancer's IP, and then comes from there.
inline bool may_enter(service const& s, node const& n, std::string const& from) {
    if (is_in(s.source_ranges, from)) return true;
    bool const is_ingress = std::ranges::find(s.ingress, from) != s.ingress.end();
    return is_ingress && is_in(s.source_ranges, primary(n, version_of(from)));
}

/// Behind a door. The table of what kube-proxy does with internalTrafficPolicy and externalTrafficPolicy.
inline decision enter(state const& all, node const& here, std::string const& name, port const& p, door by,
                      conversation const& c) {
    using enum decision::verdict;
    auto const& s = all.services.at(name);
    auto const version = version_of(c.destination.address);
    auto const from = source_of(here, c.source.address);
    decision result{.what = drop, .service = name, .port = port_identity(name, s, p, version)};
    if (by == door::guarded && !may_enter(s, here, c.source.address)) return result;
    bool local = false;
    if (by == door::cluster_ip) {
        local = s.internal_policy == "Local";
        result.masquerade = here.masquerade_all || (has_ranges(here.pod_ranges, version) && from != source::pod);
    } else if (s.external_policy == "Local") {
        local = from == source::external;
        result.masquerade = from == source::node;
    } else {
        result.masquerade = true;
    }
    auto const everybody = candidates(all, name, p, version);
    for (auto const& b : local ? of_node(everybody, here) : of_cluster(everybody, here)) result.backends.insert(b.at);
    if (!result.backends.empty())
        result.what = forward;
    else if (usable(everybody).empty())
        result.what = reject;
    return result;
}

/// What becomes of the first packet of a connection.
inline decision decide(state const& all, node const& here, conversation const& c) {
    using enum decision::verdict;
    for (auto const& [name, s] : all.services)
        for (auto const& p : s.ports)
            if (build::number_of(p.protocol) == c.protocol)
                if (auto const by = door_of(s, p, here, c.destination); by != door::none)
                    return enter(all, here, name, p, by, c);
    for (auto const& [name, s] : all.services)
        if (cluster_ip(s, version_of(c.destination.address)) == c.destination.address) return {.what = reject};
    if (is_in(here.service_ranges, c.destination.address)) return {.what = drop};
    return {};
}

} // namespace kubeproxy::cluster
