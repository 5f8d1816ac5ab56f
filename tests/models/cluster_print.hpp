#pragma once

#include "models/cluster_objects.hpp"

#include <boost/json.hpp>

#include <array>
#include <cstdio>
#include <string>
#include <utility>

/// How kubectl prints the objects of a cluster. Nothing here uses the library.
namespace kubeproxy::cluster {

namespace json = boost::json;

inline json::array array_of(texts const& all) {
    json::array result;
    for (auto const& text : all) result.emplace_back(text);
    return result;
}

inline json::object meta(std::string const& name) { return {{"namespace", "ns"}, {"name", name}}; }

/// \pre less than an hour
inline std::string printed_time(unsigned seconds) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "2026-05-31T12:%02u:%02uZ", seconds / 60, seconds % 60);
    return text.data();
}

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
        json::object port{{"port", p.number}, {"protocol", p.protocol}, {"targetPort", p.target}};
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
    auto metadata = meta(name);
    metadata["creationTimestamp"] = printed_time(s.created);
    return {{"apiVersion", "v1"},
            {"kind", "Service"},
            {"metadata", std::move(metadata)},
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
                        {"drainSeconds", n.drain_seconds},
                        {"removedEndpoints", n.resets_removed ? "reset" : "keep"}};
    if (n.node_port_addresses) result["nodePortAddresses"] = array_of(*n.node_port_addresses);
    return result;
}

} // namespace kubeproxy::cluster
