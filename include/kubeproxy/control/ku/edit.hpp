#pragma once

#include "kubeproxy/control/config/claims.hpp"
#include "kubeproxy/control/config/rules.hpp"
#include "kubeproxy/control/config/valid_configuration.hpp"
#include "kubeproxy/control/ku/grammar.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

/// What reports call a VIP: "90.0.0.0/8:3306", "[2001::/16]:3306/tcp", "90.0.0.0/8" where it serves all ports.
[[nodiscard]] inline std::string ku_name(ip_prefix const& where, std::uint16_t port, service_protocol protocol) {
    auto name = to_text(where);
    if (port != 0) name = (version_of(where) == 6 ? '[' + name + ']' : name) + ':' + std::to_string(port);
    if (protocol == service_protocol::any) return name;
    return name + '/' + std::string{protocol_name(static_cast<std::uint8_t>(protocol))};
}

/// Whether the `ku` language can have made it, and so may change it.
[[nodiscard]] inline bool is_ku_vip(service_configuration const& service) noexcept {
    return service.addresses.size() == 1 && service.addresses.front().kind == service_address_kind::vip &&
           service.ports.size() == 1 && service.slices.size() == 1 && service.slices.front().ports.empty() &&
           service.pods != pod_family::as_client;
}

/// A copy of a configuration that commands change one after the other, to be kept or thrown away as a whole.
class ku_edit {
  public:
    explicit ku_edit(valid_configuration base);

    /// Each throws ku_error, and then changed nothing.
    void operator()(ku_conf const& conf);
    void operator()(ku_vip const& vip);
    void operator()(ku_pod const& pod);
    void operator()(ku_interface const& set);

    [[nodiscard]] valid_configuration finish() &&;

  private:
    void add(ku_vip const& vip);
    void remove(ku_vip const& vip);
    void add(ku_pod const& pod, std::vector<std::string> const& services);
    void remove(ku_pod const& pod, std::vector<std::string> const& services);
    [[nodiscard]] std::vector<std::string> services_of(ip_prefix const& vip) const;
    [[nodiscard]] service_configuration const& looked_at(std::string const& name) const;
    [[nodiscard]] std::vector<endpoint>& pods_of(std::string const& name);
    void set_node(node_configuration node);

    valid_configuration next_;
    std::multimap<ip_prefix, std::string> vips_;           ///< names by prefix
    std::map<std::string, service_configuration> changed_; ///< services whose pods are being changed
};

/// The lines are one change, so that a VIP can be deleted and defined anew though a Kubernetes Service waits for it.
inline ku_edit::ku_edit(valid_configuration base) : next_{std::move(base)} {
    next_.begin_changes();
    for (auto const& service : next_.services()) {
        if (service && is_ku_vip(*service)) vips_.emplace(service->addresses.front().where, service->name);
    }
}

inline void ku_edit::operator()(ku_conf const& conf) {
    auto node = next_.node();
    if (conf.buckets) node.buckets = conf.buckets;
    if (conf.drain) node.drain = *conf.drain == 0 ? std::nullopt : std::optional{std::chrono::seconds{*conf.drain}};
    if (conf.removed) node.removed = *conf.removed;
    if (conf.snat4) node.snat4 = conf.snat4;
    if (conf.snat6) node.snat6 = conf.snat6;
    if (conf.nat64_prefix) node.nat64_prefix = *conf.nat64_prefix;
    for (auto const& a : conf.nodes)
        if (std::ranges::find(node.addresses, a) == node.addresses.end()) node.addresses.push_back(a);
    if (!conf.nodes.empty()) node.node_port_addresses = std::vector<ip_prefix>{prefix<ipv4>{}, prefix<ipv6>{}};
    if (conf.timeout) {
        auto& t = node.lifetimes;
        for (auto* one :
             {&t.tcp_transitory, &t.udp_replied, &t.udp_unreplied, &t.icmp, &t.sctp_transitory, &t.other_unreplied})
            *one = std::chrono::seconds{*conf.timeout};
    }
    set_node(std::move(node));
}

inline void ku_edit::operator()(ku_interface const& set) {
    auto node = next_.node();
    auto const known = std::ranges::find(node.interfaces, set.what);
    if (!set.action) {
        if (known != node.interfaces.end()) return;
        node.interfaces.push_back(set.what);
    } else {
        if (known == node.interfaces.end())
            throw ku_error{"interface " + kubeproxy::quoted(set.what.interface) + " is not set"};
        node.interfaces.erase(known);
    }
    set_node(std::move(node));
}

inline void ku_edit::set_node(node_configuration node) {
    if (auto const wrong = next_.set_node(std::move(node))) throw ku_error{wrong->rule};
}

inline void ku_edit::operator()(ku_vip const& vip) {
    if (vip.action)
        remove(vip);
    else
        add(vip);
}

inline void ku_edit::add(ku_vip const& vip) {
    auto const port = vip.port.value_or(std::uint16_t{0});
    auto const protocol = vip.protocol.value_or(service_protocol::any);
    auto const same = version_of(vip.where) == 4 ? pod_family::ipv4 : pod_family::ipv6;
    service_configuration service{.name = ku_name(vip.where, port, protocol)};
    service.addresses.push_back({vip.where, service_address_kind::vip});
    service.ports.push_back({.name = {},
                             .protocol = protocol,
                             .port = port,
                             .target_port = vip.target_port.value_or(std::uint16_t{0}),
                             .node_port = vip.node_port.value_or(std::uint16_t{0})});
    service.slices.emplace_back();
    service.pods = vip.pods.value_or(same);
    service.ring_size = vip.new_len.value_or(0u);
    auto const name = service.name;
    if (next_.find(name)) throw ku_error{"duplicate VIP: " + name + " is there"};
    if (auto const wrong = next_.put(std::move(service))) throw ku_error{wrong->rule};
    vips_.emplace(vip.where, name);
}

/// The words that are given say which; without any, all of the prefix.
inline void ku_edit::remove(ku_vip const& vip) {
    auto const is_meant = [&vip](service_configuration const& service) {
        auto const& port = service.ports.front();
        return port.protocol == vip.protocol.value_or(port.protocol) && port.port == vip.port.value_or(port.port) &&
               port.target_port == vip.target_port.value_or(port.target_port) &&
               port.node_port == vip.node_port.value_or(port.node_port) &&
               service.pods == vip.pods.value_or(service.pods) &&
               service.ring_size == vip.new_len.value_or(service.ring_size);
    };
    auto names = services_of(vip.where);
    std::erase_if(names, [&](std::string const& name) { return !is_meant(looked_at(name)); });
    if (names.empty()) throw ku_error{"unknown VIP: no service of " + to_text(vip.where) + " is like that"};
    for (auto const& name : names) {
        changed_.erase(name);
        next_.remove(name);
        std::erase_if(vips_, [&name](auto const& known) { return known.second == name; });
    }
}

inline void ku_edit::operator()(ku_pod const& pod) {
    auto services = services_of(pod.where);
    if (services.empty()) throw ku_error{"unknown VIP: no service has the prefix " + to_text(pod.where)};
    std::erase_if(services, [&](std::string const& name) {
        auto const& port = looked_at(name).ports.front();
        return port.port != pod.port.value_or(port.port) || port.protocol != pod.protocol.value_or(port.protocol);
    });
    if (services.empty())
        throw ku_error{"unknown VIP: no service of " + to_text(pod.where) + " has that port and protocol"};
    if (pod.action)
        remove(pod, services);
    else
        add(pod, services);
}

/// A pod goes to every service of the prefix whose pods are of its family. One that is there stays as it is, but for
/// the weight if one is given.
inline void ku_edit::add(ku_pod const& pod, std::vector<std::string> const& services) {
    std::vector<std::pair<std::string, endpoint>> additions;
    for (auto const& address : pod.addresses) {
        endpoint const e{.address = address, .weight = pod.weight.value_or(std::uint16_t{1})};
        broken_rule wrong;
        auto const before = additions.size();
        for (auto const& name : services) {
            auto why_not = check_endpoint(e, looked_at(name).pods);
            if (why_not)
                wrong = std::move(why_not);
            else
                additions.emplace_back(name, e);
        }
        if (additions.size() == before) throw ku_error{"pod " + *wrong};
    }
    for (auto const& name : services)
        if (looked_at(name).slices.front().endpoints.size() + pod.addresses.size() > ring_backend_limit)
            throw ku_error{name + ": a service has at most " + std::to_string(ring_backend_limit) + " pods"};
    for (auto const& [name, e] : additions) {
        auto& pods = pods_of(name);
        auto const known = std::ranges::find(pods, e.address, &endpoint::address);
        if (known == pods.end())
            pods.push_back(e);
        else if (pod.weight)
            known->weight = e.weight;
    }
}

inline void ku_edit::remove(ku_pod const& pod, std::vector<std::string> const& services) {
    for (auto const& address : pod.addresses) {
        auto const has_it = [&](std::string const& name) {
            auto const& pods = looked_at(name).slices.front().endpoints;
            return std::ranges::find(pods, address, &endpoint::address) != pods.end();
        };
        if (std::ranges::none_of(services, has_it))
            throw ku_error{"unknown pod: " + to_text(address) + " is no pod of " + to_text(pod.where)};
    }
    for (auto const& name : services)
        std::erase_if(pods_of(name), [&pod](endpoint const& e) {
            return std::ranges::find(pod.addresses, e.address) != pod.addresses.end();
        });
}

inline std::vector<std::string> ku_edit::services_of(ip_prefix const& vip) const {
    std::vector<std::string> names;
    auto const [first, last] = vips_.equal_range(vip);
    for (auto i = first; i != last; ++i) names.push_back(i->second);
    return names;
}

inline service_configuration const& ku_edit::looked_at(std::string const& name) const {
    auto const found = changed_.find(name);
    return found != changed_.end() ? found->second : *next_.find(name);
}

inline std::vector<endpoint>& ku_edit::pods_of(std::string const& name) {
    auto found = changed_.find(name);
    if (found == changed_.end()) found = changed_.emplace(name, *next_.find(name)).first;
    return found->second.slices.front().endpoints;
}

inline valid_configuration ku_edit::finish() && {
    for (auto& [name, service] : changed_)
        if (auto const wrong = next_.put(std::move(service))) throw ku_error{wrong->text()};
    next_.end_changes();
    return std::move(next_);
}

} // namespace v0_2
} // namespace kubeproxy
