#pragma once

#include "models/cluster_claims.hpp"
#include "models/cluster_endpoints.hpp"

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <vector>

/// What kube-proxy does with a connection's first packet, the slow way: from the documentation of Services,
/// EndpointSlices and virtual IPs (kubernetes.io/docs/reference/networking/virtual-ips) and KEPs 1669, 2086 and 2433,
/// looking through all objects for every packet. Nothing here uses the library.
namespace kubeproxy::cluster {

struct decision {
    enum class verdict { pass, forward, reject, drop } what = verdict::pass;
    std::set<side> backends{};
    bool masquerade = false;
    std::string service{};       ///< that it is for
    std::string port{};          ///< what flows' backends belong to; see port_identity()
    std::set<side> shared{};     ///< backends that several entries have
    bool by_former_name = false; ///< slices still have a former name of the port
};

/// A service port of clients of one version is the same as long as this is: it has no name.
inline std::string port_identity(std::string const& name, service const& s, port const& p, unsigned version) {
    return name + '|' + cluster_ip(s, version) + '|' + p.protocol + '|' + std::to_string(p.number);
}

enum class door { none, cluster_ip, external, guarded };

/// By which of its addresses a packet comes to a service's port.
inline door door_of(service const& s, port const& p, side const& to) {
    auto const is_one_of = [&](texts const& all) { return std::ranges::find(all, to.address) != all.end(); };
    auto const version = version_of(to.address);
    auto const ip = cluster_ip(s, version);
    if (ip.empty()) return door::none;
    if (to.port == p.number) {
        if (to.address == ip) return door::cluster_ip;
        if (is_one_of(s.ingress)) return has_ranges(s.source_ranges, version) ? door::guarded : door::external;
        if (is_one_of(s.external_ips)) return door::external;
    }
    return door::none;
}
inline door node_port_of(service const& s, port const& p, node const& n, side const& to) {
    if (cluster_ip(s, version_of(to.address)).empty() || p.node_port == 0 || to.port != p.node_port) return door::none;
    return serves_node_ports(n, to.address) ? door::external : door::none;
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
    for (auto const& b : local ? of_node(everybody, here) : of_cluster(everybody, here)) {
        result.backends.insert(b.at);
        if (b.entries > 1) result.shared.insert(b.at);
        result.by_former_name = result.by_former_name || b.by_former_name;
    }
    if (!result.backends.empty())
        result.what = forward;
    else if (usable(everybody).empty())
        result.what = reject;
    return result;
}

/// What becomes of the first packet of a connection.
inline decision decide(state const& all, claims const& claimed, node const& here, conversation const& c) {
    using enum decision::verdict;
    auto const& to = c.destination;
    for (bool const by_node_port : {false, true}) // a Service's own addresses go before its node ports
        for (auto const& [name, s] : all.services)
            for (auto const& p : s.ports) {
                if (build::number_of(p.protocol) != c.protocol) continue;
                auto const by = by_node_port ? node_port_of(s, p, here, to) : door_of(s, p, to);
                if (by == door::none) continue;
                if (claimed.server({to.address, version_of(to.address), p.protocol, to.port}, here) != name) continue;
                return enter(all, here, name, p, by, c);
            }
    for (auto const& [name, s] : all.services)
        if (cluster_ip(s, version_of(c.destination.address)) == c.destination.address) return {.what = reject};
    if (is_in(here.service_ranges, c.destination.address)) return {.what = drop};
    return {};
}

} // namespace kubeproxy::cluster
