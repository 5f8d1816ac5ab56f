#pragma once

#include "models/cluster_api_server.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

/// Random changes of Services, as people make them. Nothing here uses the library.
namespace kubeproxy::cluster {

/// The name tells the port's protocol and number, so that nobody can take one port's name for another's.
inline std::string random_port_name(dice& d, port const& p) {
    auto const base = p.protocol + std::to_string(p.number);
    if (base == "TCP80" && d.percent(40)) return {};
    return base + d.one_of<char const*>({"", "-a", "-b", "-c"});
}

class service_changes {
  public:
    explicit service_changes(api_server& api) : api_{&api} {}

    /// If there is one of this name, it is deleted and created again.
    void create(std::string const& name);
    /// \return whether there is one
    bool change(std::string const& name) {
        if (!api_->now.services.contains(name)) return false;
        auto& s = api_->now.services.at(name);
        switch (api_->random->below(4)) {
        case 0: ports_of(name, s); break;
        case 1: doors_of(name, s); break;
        case 2: policies_of(s); break;
        default: rename_ports(name, s); break;
        }
        api_->tell_service(name);
        return true;
    }
    void remove(std::string const& name) {
        if (!api_->now.services.contains(name)) return;
        api_->tell("DELETED", printed(name, api_->now.services.at(name)));
        api_->now.services.erase(name);
        api_->published.erase(name);
    }

  private:
    [[nodiscard]] std::optional<std::string> name_of(std::string const& service, std::vector<port> const& before,
                                                     port const& p);
    [[nodiscard]] port random_port();
    void ports_of(std::string const& name, service& s);
    void add_node_port(service const& s, port& p);
    void rename_ports(std::string const& name, service& s);
    void doors_of(std::string const& name, service& s);
    [[nodiscard]] std::string contested_ip(unsigned version);
    void policies_of(service& s);

    api_server* api_;
};

inline void service_changes::create(std::string const& name) {
    auto& d = *api_->random;
    auto const former = api_->now.services.find(name);
    api_->seconds += d.below(3); // several may be of the same age
    if (former != api_->now.services.end()) api_->seconds = std::max(api_->seconds, former->second.created + 1);
    api_->now.services.erase(name);
    api_->published.erase(name);
    service s{.type = d.one_of<char const*>(
                  {"ClusterIP", "ClusterIP", "NodePort", "LoadBalancer", "LoadBalancer", "ExternalName"}),
              .created = api_->seconds};
    if (s.type != "ExternalName") {
        switch (d.below(7)) {
        case 0: s.cluster_ips = {"None"}; break;
        case 1: s.cluster_ips = {api_->free_ip(6)}; break;
        case 2: s.cluster_ips = {api_->free_ip(6), api_->free_ip(4)}; break;
        case 3: s.cluster_ips = {api_->free_ip(4), api_->free_ip(6)}; break;
        default: s.cluster_ips = {api_->free_ip(4)}; break;
        }
        if (s.cluster_ips.front() == "None") s.type = "ClusterIP";
    }
    ports_of(name, s);
    doors_of(name, s);
    policies_of(s);
    api_->now.services[name] = s;
    api_->tell_service(name);
}

/// A port keeps its name, and a new one has the name that slices have for it: only renaming makes slices late. None:
/// they have several.
inline std::optional<std::string> service_changes::name_of(std::string const& service, std::vector<port> const& before,
                                                           port const& p) {
    for (auto const& known : before)
        if (known.protocol == p.protocol && known.number == p.number) return known.name;
    std::optional<std::string> written;
    for (auto const& [name, e] : api_->now.slices)
        for (auto const& offered : e.ports) {
            if (e.service != service || offered.protocol != p.protocol || offered.service_port != p.number) continue;
            if (written && *written != offered.name) return std::nullopt;
            written = offered.name;
        }
    return written ? *written : random_port_name(*api_->random, p);
}

inline port service_changes::random_port() {
    auto& d = *api_->random;
    return {.name = {},
            .protocol = d.one_of<char const*>({"TCP", "UDP", "TCP", "UDP", "SCTP"}),
            .number = d.percent(6) ? 30000 + d.below(6) : d.one_of({80u, 443u, 53u}),
            .target = d.one_of<char const*>({"named", "other"})};
}

inline void service_changes::ports_of(std::string const& name, service& s) {
    auto const before = std::exchange(s.ports, {});
    api_->published.erase(name);
    for (unsigned count = api_->random->one_of({1u, 1u, 2u, 3u}); count > 0 || s.ports.empty();) {
        auto p = random_port();
        count -= count > 0 ? 1 : 0;
        auto const is_same = [&](port const& q) { return q.number == p.number && q.protocol == p.protocol; };
        auto const its_name = name_of(name, before, p);
        if (!its_name || std::ranges::any_of(s.ports, is_same)) continue;
        p.name = *its_name;
        add_node_port(s, p);
        s.ports.push_back(p);
    }
}

/// The API server gives a node port to one Service, but a node may meet two that have it.
inline void service_changes::add_node_port(service const& s, port& p) {
    if (s.type == "ClusterIP" || s.type == "ExternalName") return;
    auto const node_port = 30000 + api_->random->below(6);
    auto const has_it = [&](port const& q) { return q.node_port == node_port && q.protocol == p.protocol; };
    if (std::ranges::any_of(s.ports, has_it)) return;
    if (api_->is_used(p.protocol, node_port) && !api_->percent(25)) return;
    p.node_port = node_port;
}

/// Other names, another order, perhaps one more port or another name of the target: all ports stay what they are.
inline void service_changes::rename_ports(std::string const& name, service& s) {
    auto& d = *api_->random;
    std::ranges::shuffle(s.ports, d.engine());
    for (auto& p : s.ports) p.target = d.one_of<char const*>({"named", "other"});
    if (!api_->published.contains(name)) return;
    for (auto& p : s.ports)
        if (d.percent(70)) p.name = random_port_name(d, p);
    api_->published.erase(name);
    auto next = random_port();
    auto const is_same = [&](port const& q) { return q.number == next.number && q.protocol == next.protocol; };
    if (d.percent(60) || std::ranges::any_of(s.ports, is_same)) return;
    auto const its_name = name_of(name, {}, next);
    if (!its_name) return;
    next.name = *its_name;
    s.ports.push_back(next);
}

/// What other Services may have, too: anybody who may create a Service can write any external IP.
inline std::string service_changes::contested_ip(unsigned version) {
    auto& d = *api_->random;
    auto const host = std::to_string(1 + d.below(8));
    if (version == 4)
        return d.one_of<std::string>({"203.0.113.77", "203.0.113.77", "10.96.0." + host, "192.0.2.10", "192.0.2.11"});
    return d.one_of<std::string>({"2001:db8:e::77", "2001:db8:e::77", "fd00:96::" + host, "2001:db8::10"});
}

inline void service_changes::doors_of(std::string const& name, service& s) {
    auto& d = *api_->random;
    auto const host = std::to_string(name.back() - '0' + 1);
    s.external_ips.clear(), s.ingress.clear(), s.source_ranges.clear();
    if (d.percent(30)) s.external_ips = {"203.0.113." + host, "2001:db8:e::" + host};
    for (unsigned const version : {4u, 6u})
        if (d.percent(35)) s.external_ips.push_back(contested_ip(version));
    if (s.type != "LoadBalancer") return;
    s.ingress = {"198.51.100.10" + host, "2001:db8:1b::" + host};
    if (d.percent(20)) s.ingress.push_back("203.0.113.77");
    if (d.percent(20) && !s.external_ips.empty() && s.external_ips.front() != s.ingress.back())
        s.ingress.push_back(s.external_ips.front());
    if (d.percent(50)) s.source_ranges = {"203.0.113.128/25", "10.244.0.0/16", "192.0.2.0/24"};
    if (d.percent(30)) s.source_ranges.push_back("2001:db8:c::/48");
}

inline void service_changes::policies_of(service& s) {
    auto& d = *api_->random;
    s.internal_policy = d.percent(25) ? "Local" : "Cluster";
    s.external_policy = d.percent(35) && s.type != "ExternalName" ? "Local" : "Cluster";
    s.affinity_seconds.reset();
    if (d.percent(30)) s.affinity_seconds = d.one_of({10u, 120u, 10800u});
}

} // namespace kubeproxy::cluster
