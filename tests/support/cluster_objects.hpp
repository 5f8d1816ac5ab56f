#pragma once

#include <boost/json.hpp>

#include <arpa/inet.h>

#include <array>
#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

/// A cluster as its API server knows it: plain values, and how kubectl prints them. Nothing here uses the library.
namespace kubeproxy::cluster {

namespace json = boost::json;
using texts = std::vector<std::string>;

/// Its endpoints of both IP versions, in whatever slices they are.
struct pod {
    std::string address4, address6;
    std::optional<bool> ready{}, serving{}, terminating{}; ///< none: the object does not say
    std::optional<std::string> node{};
    texts zone_hints{}, node_hints{};
};

struct port {
    std::string name;
    std::string protocol;
    unsigned number = 0; ///< of the Service, or the target
    unsigned node_port = 0;
};

struct slice {
    std::string service;
    unsigned version = 4;
    std::vector<port> ports{};
    std::set<std::string> pods{};
};

/// Without cluster IPs it is of type ExternalName; the cluster IP None makes it headless.
struct service {
    std::string type = "ClusterIP";
    texts cluster_ips{};
    std::vector<port> ports{};
    texts external_ips{}, ingress{}, source_ranges{};
    std::optional<unsigned> affinity_seconds{};
    std::string internal_policy = "Cluster", external_policy = "Cluster";
};

struct node {
    std::string name = "here", zone{};
    texts addresses{};
    std::optional<texts> node_port_addresses{}; ///< none or empty: the primary ones
    texts pod_ranges{}, service_ranges{};
    bool masquerade_all = false;
    unsigned drain_seconds = 0; ///< 0: never
};

/// By name.
struct state {
    std::map<std::string, pod> pods;
    std::map<std::string, service> services;
    std::map<std::string, slice> slices;
};

inline unsigned version_of(std::string const& address) { return address.find(':') == std::string::npos ? 4 : 6; }

/// "10.0.0.0/8" and an address of any version.
inline bool contains(std::string const& range, std::string const& address) {
    auto const slash = range.find('/');
    auto const base = range.substr(0, slash);
    if (version_of(base) != version_of(address)) return false;
    std::array<unsigned char, 16> a{}, b{};
    int const family = version_of(base) == 4 ? AF_INET : AF_INET6;
    ::inet_pton(family, base.c_str(), a.data());
    ::inet_pton(family, address.c_str(), b.data());
    for (int bit = 0; bit < std::stoi(range.substr(slash + 1)); ++bit) {
        auto const at = static_cast<std::size_t>(bit / 8);
        if (((a.at(at) ^ b.at(at)) >> (7 - bit % 8) & 1) != 0) return false;
    }
    return true;
}

inline json::array array_of(texts const& all) {
    json::array result;
    for (auto const& text : all) result.emplace_back(text);
    return result;
}

inline json::object meta(std::string const& name) { return {{"namespace", "ns"}, {"name", name}}; }

inline json::object printed(std::string const& name, service const& s) {
    json::object spec{{"type", s.type}, {"internalTrafficPolicy", s.internal_policy}};
    if (s.type == "ExternalName") {
        spec["externalName"] = "example.org";
        spec["sessionAffinity"] = "None";
    } else {
        spec["clusterIP"] = s.cluster_ips.front();
        spec["clusterIPs"] = array_of(s.cluster_ips);
    }
    json::array ports;
    for (auto const& p : s.ports) {
        json::object port{{"port", p.number}, {"protocol", p.protocol}, {"targetPort", "named"}};
        if (!p.name.empty()) port["name"] = p.name;
        if (p.node_port != 0) port["nodePort"] = p.node_port;
        ports.push_back(std::move(port));
    }
    spec["ports"] = std::move(ports);
    if (!s.external_ips.empty()) spec["externalIPs"] = array_of(s.external_ips);
    if (!s.source_ranges.empty()) spec["loadBalancerSourceRanges"] = array_of(s.source_ranges);
    if (s.external_policy != "Cluster" || s.type != "ClusterIP") spec["externalTrafficPolicy"] = s.external_policy;
    if (s.affinity_seconds) {
        spec["sessionAffinity"] = "ClientIP";
        spec["sessionAffinityConfig"] = {{"clientIP", {{"timeoutSeconds", *s.affinity_seconds}}}};
    }
    json::array ingress;
    for (auto const& ip : s.ingress) ingress.push_back(json::object{{"ip", ip}, {"ipMode", "VIP"}});
    json::object balancer;
    if (!ingress.empty()) balancer["ingress"] = std::move(ingress);
    return {{"apiVersion", "v1"},
            {"kind", "Service"},
            {"metadata", meta(name)},
            {"spec", std::move(spec)},
            {"status", {{"loadBalancer", std::move(balancer)}}}};
}

inline json::object printed(pod const& p, unsigned version) {
    json::object conditions, endpoint{{"addresses", array_of({version == 4 ? p.address4 : p.address6})}};
    if (p.ready) conditions["ready"] = *p.ready;
    if (p.serving) conditions["serving"] = *p.serving;
    if (p.terminating) conditions["terminating"] = *p.terminating;
    endpoint["conditions"] = std::move(conditions);
    if (p.node) endpoint["nodeName"] = *p.node;
    json::object hints;
    auto const add = [&hints](char const* list, texts const& names) {
        json::array all;
        for (auto const& name : names) all.push_back(json::object{{"name", name}});
        if (!all.empty()) hints[list] = std::move(all);
    };
    add("forZones", p.zone_hints);
    add("forNodes", p.node_hints);
    if (!hints.empty()) endpoint["hints"] = std::move(hints);
    return endpoint;
}

inline json::object printed(std::string const& name, slice const& s, state const& all) {
    auto metadata = meta(name);
    metadata["labels"] = {{"kubernetes.io/service-name", s.service}};
    json::array endpoints, ports;
    for (auto const& p : s.pods) endpoints.push_back(printed(all.pods.at(p), s.version));
    for (auto const& p : s.ports)
        ports.push_back(json::object{{"name", p.name}, {"protocol", p.protocol}, {"port", p.number}});
    json::object result{{"apiVersion", "discovery.k8s.io/v1"},
                        {"kind", "EndpointSlice"},
                        {"metadata", std::move(metadata)},
                        {"addressType", s.version == 4 ? "IPv4" : "IPv6"}};
    // kubectl prints null where a list of Go's is nil.
    auto const list = [](json::array of) { return of.empty() ? json::value(nullptr) : json::value(std::move(of)); };
    result["endpoints"] = list(std::move(endpoints));
    result["ports"] = list(std::move(ports));
    return result;
}

inline json::object printed(node const& n) {
    json::object result{{"name", n.name},
                        {"zone", n.zone},
                        {"addresses", array_of(n.addresses)},
                        {"podCIDRs", array_of(n.pod_ranges)},
                        {"serviceCIDRs", array_of(n.service_ranges)},
                        {"masqueradeAll", n.masquerade_all},
                        {"drainSeconds", n.drain_seconds}};
    if (n.node_port_addresses) result["nodePortAddresses"] = array_of(*n.node_port_addresses);
    return result;
}

} // namespace kubeproxy::cluster
