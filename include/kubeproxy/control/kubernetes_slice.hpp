#pragma once

#include "kubeproxy/control/config.hpp"
#include "kubeproxy/control/kubernetes_fields.hpp"
#include "kubeproxy/control/kubernetes_meta.hpp"

#include <boost/json.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// An EndpointSlice (discovery.k8s.io/v1) as it is printed -> endpoints of a service of the configuration.
namespace kubeproxy::inline v0_2 {

struct owned_slice {
    std::string service{}; ///< "default/web"
    endpoint_slice slice{};
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
[[nodiscard]] inline topology_hint hint_of(boost::json::object const& hints, std::string_view list,
                                           std::string_view here) {
    auto hint = topology_hint::none;
    for_each_in(hints, list, [&](auto const& element) {
        auto const name = text_field(object_in(element), "name").value_or("");
        if (hint == topology_hint::none) hint = topology_hint::elsewhere;
        if (!here.empty() && name == here) hint = topology_hint::here;
    });
    return hint;
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
        auto const text = text_in(element);
        auto const address = address_in(text);
        if (version_of(address) != version)
            throw field_error{"", shown(text) + " is no IPv" + std::to_string(version) + " address"};
        if (!first) first = address;
    });
    if (!first) throw field_error{"addresses", "there is none"};
    return *first;
}

[[nodiscard]] inline endpoint read_endpoint(boost::json::object const& object, unsigned version,
                                            node_configuration const& node) {
    endpoint e{.address = first_address(object, version)};
    inside(object, "conditions", [&](auto const& conditions) { read_conditions(e, conditions); });
    auto const where = text_field(object, "nodeName").value_or("");
    e.on_this_node = !where.empty() && where == node.name;
    inside(object, "hints", [&](auto const& hints) {
        e.hint = hint_of(hints, "forZones", node.zone);
        e.node_hint = hint_of(hints, "forNodes", node.name);
    });
    return e;
}

} // namespace detail

/// None: kube-proxy has nothing to do with it (of names instead of addresses, for no service, for another proxy).
/// Throws field_error.
/// \param node whose endpoints are local, and whose zone's hints count
[[nodiscard]] inline std::optional<owned_slice> read_slice(boost::json::object const& object,
                                                           node_configuration const& node) {
    auto name = name_of(object);
    auto service = detail::owner_of(object, name);
    auto const type = text_field(object, "addressType");
    if (!service || type == "FQDN") return std::nullopt;
    if (type != "IPv4" && type != "IPv6")
        throw field_error{"addressType", type ? shown(*type) + ": IPv4, IPv6 or FQDN is wanted" : "is missing"};
    owned_slice result{std::move(*service), {.name = std::move(name.name), .ports = detail::slice_ports(object)}};
    for_each_in(object, "endpoints", [&](auto const& element) {
        result.slice.endpoints.push_back(detail::read_endpoint(object_in(element), type == "IPv4" ? 4 : 6, node));
    });
    // A slice of the configuration without ports would serve at the services' target ports.
    if (result.slice.ports.empty()) result.slice.endpoints.clear();
    return result;
}

} // namespace kubeproxy::inline v0_2
