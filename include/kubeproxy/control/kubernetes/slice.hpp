#pragma once

#include "kubeproxy/control/config/configuration.hpp"
#include "kubeproxy/control/config/rules.hpp"
#include "kubeproxy/control/config/topology.hpp"
#include "kubeproxy/control/kubernetes/fields.hpp"
#include "kubeproxy/control/kubernetes/meta.hpp"

#include <boost/json.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// An EndpointSlice (discovery.k8s.io/v1) as it is printed -> endpoints of a service of the configuration.
namespace kubeproxy {
inline namespace v0_2 {

/// Endpoints of a slice that cannot be used; the others are.
struct skipped_endpoints {
    std::size_t count = 0;
    std::string field{}; ///< of the first one: "endpoints[3].addresses[0]"
    std::string reason{};

    [[nodiscard]] std::string text() const {
        if (count < 2) return reason + "; this endpoint is skipped";
        return reason + "; this endpoint and " + std::to_string(count - 1) + " more are skipped";
    }
};

struct owned_slice {
    std::string service{}; ///< "default/web"
    endpoint_slice slice{};
    skipped_endpoints skipped{};
};

namespace detail {

/// Which service the slice is for; none: for none that kube-proxy knows.
[[nodiscard]] inline std::optional<std::string> owner_of(boost::json::object const& object,
                                                         kubernetes_name const& name) {
    auto const service = label_of(object, "kubernetes.io/service-name");
    if (!service || service->empty() || is_for_others(object)) return std::nullopt;
    return kubernetes_name{name.space, std::string{*service}}.text();
}

/// A port without a number is left out, as kube-proxy does.
[[nodiscard]] inline std::vector<endpoint_port> slice_ports(boost::json::object const& object) {
    std::vector<endpoint_port> all;
    for_each_in(object, "ports", [&](auto const& element) {
        auto const& port = object_in(element);
        auto const number = port_field(port, "port", 0).value_or(0);
        auto const protocol = protocol_field(port);
        if (number != 0) all.push_back({std::string{text_field(port, "name").value_or("")}, protocol, number});
    });
    return all;
}

/// \param list "forZones", of zones, or "forNodes"
[[nodiscard]] inline std::vector<std::string> hints_in(boost::json::object const& hints, std::string_view list) {
    std::vector<std::string> names;
    for_each_in(hints, list,
                [&](auto const& element) { names.emplace_back(text_field(object_in(element), "name").value_or("")); });
    std::ranges::sort(names);
    return names;
}

/// Absent conditions: ready, serving, not terminating (EndpointConditions).
inline void read_conditions(endpoint& e, boost::json::object const& conditions) {
    e.ready = flag_field(conditions, "ready").value_or(true);
    e.serving = flag_field(conditions, "serving").value_or(true);
    e.terminating = flag_field(conditions, "terminating").value_or(false);
}

/// Only the first address counts: the API says that all of them are one endpoint, and kube-proxy takes that one.
[[nodiscard]] inline ip_address first_address(boost::json::object const& object, unsigned version) {
    std::optional<ip_address> first;
    for_each_in(object, "addresses", [&](auto const& element) {
        if (first) return;
        auto const text = text_in(element);
        first = address_in(text);
        if (version_of(*first) != version)
            throw field_error{"", shown(text) + " is no IPv" + std::to_string(version) + " address"};
        if (auto const wrong = check_endpoint_address(*first)) throw field_error{"", *wrong};
    });
    if (!first) throw field_error{"addresses", "there is none"};
    return *first;
}

[[nodiscard]] inline endpoint read_endpoint(boost::json::object const& object, unsigned version,
                                            topology_pool& topologies) {
    endpoint e{.address = first_address(object, version)};
    inside(object, "conditions", [&](auto const& conditions) { read_conditions(e, conditions); });
    endpoint_topology topology{.node = std::string{text_field(object, "nodeName").value_or("")}};
    inside(object, "hints", [&](auto const& hints) {
        topology.for_zones = hints_in(hints, "forZones");
        topology.for_nodes = hints_in(hints, "forNodes");
    });
    e.topology = topologies.find_or_add(topology);
    return e;
}

/// An endpoint that cannot be used is skipped.
inline void add_endpoint(owned_slice& result, boost::json::value const& element, std::size_t index, unsigned version,
                         topology_pool& topologies) {
    try {
        result.slice.endpoints.push_back(read_endpoint(object_in(element), version, topologies));
    } catch (field_error& wrong) {
        auto& skipped = result.skipped;
        if (++skipped.count > 1) return;
        wrong.stands_in("endpoints[" + std::to_string(index) + ']');
        skipped.field = wrong.field();
        skipped.reason = wrong.what();
    }
}

} // namespace detail

/// None: kube-proxy has nothing to do with it (of names instead of addresses, for no service, for another proxy).
/// Throws field_error.
/// \param topologies shares what endpoints have in common
[[nodiscard]] inline std::optional<owned_slice> read_slice(boost::json::object const& object,
                                                           topology_pool& topologies) {
    auto name = name_of(object);
    auto service = detail::owner_of(object, name);
    auto const type = text_field(object, "addressType");
    if (!service || type == "FQDN") return std::nullopt;
    if (type != "IPv4" && type != "IPv6")
        throw field_error{"addressType", type ? shown(*type) + ": IPv4, IPv6 or FQDN is wanted" : "is missing"};
    owned_slice result{std::move(*service), {.name = std::move(name.name), .ports = detail::slice_ports(object)}};
    std::size_t index = 0;
    for_each_in(object, "endpoints", [&](auto const& element) {
        detail::add_endpoint(result, element, index++, type == "IPv4" ? 4 : 6, topologies);
    });
    // A slice of the configuration without ports would serve at the services' target ports.
    if (result.slice.ports.empty()) result.slice.endpoints.clear();
    return result;
}

} // namespace v0_2
} // namespace kubeproxy
