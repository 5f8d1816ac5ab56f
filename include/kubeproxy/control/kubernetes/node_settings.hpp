#pragma once

#include "kubeproxy/control/config/configuration.hpp"
#include "kubeproxy/control/kubernetes/fields.hpp"

#include <boost/json.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

/// Settings of the node file that kube-proxy's configuration (kubeproxy.config.k8s.io/v1alpha1) has under the same
/// names.
namespace kubeproxy {
inline namespace v0_2 {
namespace detail {

/// All fields of a node file of our own form.
inline constexpr auto node_file_fields = std::to_array<std::string_view>(
    {"name", "zone", "addresses", "nodePortAddresses", "podCIDRs", "clusterCIDR", "serviceCIDRs", "masqueradeAll",
     "detectLocalMode", "detectLocal", "externalIPs", "localhostNodePorts", "drainSeconds", "removedEndpoints"});
inline constexpr auto detect_local_fields = std::to_array<std::string_view>({"bridgeInterface", "interfaceNamePrefix"});

/// Throws field_error that names the first member of the object that is not among these fields.
inline void reject_unknown_fields(boost::json::object const& object, std::span<std::string_view const> fields) {
    auto const lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
    for (auto const& member : object) {
        std::string_view const key{member.key()};
        if (std::ranges::find(fields, key) != fields.end()) continue;
        auto const similar =
            std::ranges::find_if(fields, [&](auto field) { return std::ranges::equal(field, key, {}, lower, lower); });
        throw field_error{"", shown(key) + " is no field of the node file" +
                                  (similar == fields.end() ? "" : "; it is spelled " + std::string{*similar})};
    }
}

[[nodiscard]] inline std::vector<ip_prefix> prefixes_in(boost::json::object const& object, std::string_view name) {
    std::vector<ip_prefix> all;
    for_each_in(object, name, [&](auto const& element) { all.push_back(prefix_in(text_in(element))); });
    return all;
}

/// kube-proxy's clusterCIDR: one prefix, or one of each IP family with a comma in between.
[[nodiscard]] inline std::vector<ip_prefix> cluster_ranges(boost::json::object const& object) {
    std::vector<ip_prefix> all;
    auto const text = text_field(object, "clusterCIDR").value_or("");
    if (text.empty()) return all;
    inside("clusterCIDR", [&] {
        for (std::size_t begin = 0, end = 0; end < text.size(); begin = end + 1) {
            end = std::min(text.find(',', begin), text.size());
            all.push_back(prefix_in(text.substr(begin, end - begin)));
        }
        if (all.size() > 2 || (all.size() == 2 && all[0].index() == all[1].index()))
            throw field_error{"", shown(text) + ": one prefix, or one of each IP family, is wanted"};
    });
    return all;
}

/// The name, or the beginning of the names, of links: a field of `detectLocal`.
[[nodiscard]] inline std::string link_name(boost::json::object const& object, std::string_view field) {
    constexpr std::size_t max_link_name = 15; // IFNAMSIZ of Linux, with the byte that ends it
    std::string name;
    inside(object, "detectLocal", [&](auto const& links) { name = text_field(links, field).value_or(""); });
    auto const place = "detectLocal." + std::string{field};
    if (name.empty()) throw field_error{place, "is missing: this detectLocalMode needs it"};
    if (name.size() > max_link_name)
        throw field_error{place, shown(name) + ": the name of a link has at most 15 characters"};
    return name;
}

/// How packets of local pods are recognized: kube-proxy's detectLocalMode. Without a mode, by clusterCIDR, otherwise by
/// podCIDRs.
inline void read_local_detection(node_configuration& node, boost::json::object const& object) {
    inside(object, "detectLocal", [](auto const& links) { reject_unknown_fields(links, detect_local_fields); });
    auto const of_node = prefixes_in(object, "podCIDRs"), of_cluster = cluster_ranges(object);
    auto const mode = text_field(object, "detectLocalMode").value_or("");
    node.pod_links.reset();
    if (mode == "ClusterCIDR" && of_cluster.empty())
        throw field_error{"clusterCIDR", "is missing: detectLocalMode ClusterCIDR needs it"};
    if (mode == "NodeCIDR" && of_node.empty())
        throw field_error{"podCIDRs", "is missing: detectLocalMode NodeCIDR needs it"};
    if (mode == "BridgeInterface") {
        node.pod_links = {link_name(object, "bridgeInterface"), false};
    } else if (mode == "InterfaceNamePrefix") {
        node.pod_links = {link_name(object, "interfaceNamePrefix"), true};
    } else if (mode.empty() || mode == "ClusterCIDR" || mode == "NodeCIDR") {
        bool const takes_cluster = mode == "ClusterCIDR" || (mode.empty() && !of_cluster.empty());
        node.pod_ranges = takes_cluster ? of_cluster : of_node;
    } else {
        throw field_error{"detectLocalMode",
                          shown(mode) + ": ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix is wanted"};
    }
}

} // namespace detail
} // namespace v0_2
} // namespace kubeproxy
