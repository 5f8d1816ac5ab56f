#pragma once

#include "kubeproxy/control/config/configuration.hpp"
#include "kubeproxy/control/config/rules.hpp"
#include "kubeproxy/control/kubernetes/fields.hpp"
#include "kubeproxy/control/kubernetes/meta.hpp"
#include "kubeproxy/control/kubernetes/node_settings.hpp"

#include <boost/json.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

/// Which node this is: from a file of our own form, or from the cluster's Node object.
namespace kubeproxy {
inline namespace v0_2 {

namespace detail {

/// kube-proxy's --nodeport-addresses: "primary", null and an empty list are the primary ones.
[[nodiscard]] inline std::optional<std::vector<ip_prefix>> node_port_prefixes(boost::json::object const& object) {
    if (field_of(object, "nodePortAddresses") == nullptr) return std::nullopt;
    std::vector<ip_prefix> all;
    bool primary = false;
    for_each_in(object, "nodePortAddresses", [&](auto const& element) {
        auto const text = text_in(element);
        if (text == "primary")
            primary = true;
        else
            all.push_back(prefix_in(text));
    });
    if (primary || all.empty()) return std::nullopt;
    return all;
}

/// What kube-proxy does by itself is "keep".
[[nodiscard]] inline std::optional<removed_endpoints> removed_field(boost::json::object const& object) {
    auto const text = text_field(object, "removedEndpoints");
    if (!text) return std::nullopt;
    if (*text == "keep") return removed_endpoints::keep;
    if (*text == "reset") return removed_endpoints::reset;
    throw field_error{"removedEndpoints", "is neither keep nor reset"};
}

inline void read_own_node(node_configuration& node, boost::json::object const& object) {
    reject_unknown_fields(object, node_file_fields);
    node.name = text_field(object, "name").value_or("");
    node.zone = text_field(object, "zone").value_or("");
    for_each_in(object, "addresses",
                [&](auto const& element) { node.addresses.push_back(address_in(text_in(element))); });
    node.node_port_addresses = node_port_prefixes(object);
    read_local_detection(node, object);
    node.service_ranges = prefixes_in(object, "serviceCIDRs");
    node.masquerade_all = flag_field(object, "masqueradeAll").value_or(false);
    node.external_ips = flag_field(object, "externalIPs").value_or(true);
    node.localhost_node_ports = flag_field(object, "localhostNodePorts").value_or(false);
    constexpr auto longest = static_cast<std::uint32_t>(max_timeout.count());
    if (auto const drain = number_field(object, "drainSeconds", 0, longest))
        node.drain = *drain == 0 ? std::nullopt : std::optional{std::chrono::seconds{*drain}};
    if (auto const removed = removed_field(object)) node.removed = *removed;
}

/// Addresses of this type in status.addresses of a v1 Node.
inline void add_node_addresses(node_configuration& node, boost::json::object const& status, std::string_view type) {
    for_each_in(status, "addresses", [&](auto const& element) {
        auto const& address = object_in(element);
        if (text_field(address, "type").value_or("") != type) return;
        inside("address", [&] { node.addresses.push_back(address_in(text_field(address, "address").value_or(""))); });
    });
}

/// v1 Node; it does not say which service ranges there are. InternalIPs precede ExternalIPs, in whatever order the
/// object lists them, so that the primary address of a family is an InternalIP if it has one (GetNodeHostIPs).
inline void read_cluster_node(node_configuration& node, boost::json::object const& object) {
    node.name = name_of(object).name;
    node.zone = label_of(object, "topology.kubernetes.io/zone").value_or("");
    inside(object, "spec", [&](auto const& spec) { node.pod_ranges = prefixes_in(spec, "podCIDRs"); });
    inside(object, "status", [&](auto const& status) {
        add_node_addresses(node, status, "InternalIP");
        add_node_addresses(node, status, "ExternalIP");
    });
}

} // namespace detail

/// Puts what a node object says into `node`, and leaves the settings that it does not know as they are. The object is
/// a v1 Node, or has the fields of detail::node_file_fields and no others, alone or as the member "node" of a larger
/// one. Throws field_error; then nothing has changed.
inline void take_node(node_configuration& node, boost::json::value const& value) {
    auto const& object = object_in(value);
    auto result = node;
    result.addresses.clear();
    result.pod_ranges.clear();
    auto const* inner = object_field(object, "node");
    if (inner != nullptr)
        inside("node", [&] { detail::read_own_node(result, *inner); });
    else if (text_field(object, "kind") == "Node")
        detail::read_cluster_node(result, object);
    else
        detail::read_own_node(result, object);
    node = std::move(result);
}

/// The taint that the cluster autoscaler puts on a node before it deletes the node.
inline constexpr std::string_view to_be_deleted_taint = "ToBeDeletedByClusterAutoscaler";

/// Whether load balancers should send new connections to the node of a v1 Node object: not if it is being deleted, or
/// the cluster autoscaler is about to delete it (kube-proxy's NodeEligible, kubernetes PR#116470). Any other object,
/// for example a node file of our own form, is eligible. Throws field_error.
[[nodiscard]] inline bool is_node_eligible(boost::json::object const& object) {
    bool is_eligible = true;
    inside(object, "metadata", [&](auto const& metadata) {
        if (text_field(metadata, "deletionTimestamp")) is_eligible = false;
    });
    inside(object, "spec", [&](auto const& spec) {
        for_each_in(spec, "taints", [&](auto const& element) {
            if (text_field(object_in(element), "key") == to_be_deleted_taint) is_eligible = false;
        });
    });
    return is_eligible;
}

/// From the text of a file: what is wrong with it, if anything is.
[[nodiscard]] inline std::optional<config_error> read_node(node_configuration& node, std::string_view text) {
    boost::json::error_code wrong;
    auto const value = boost::json::parse({text.data(), text.size()}, wrong);
    if (wrong) return config_error{"node", "is no JSON: " + wrong.message()};
    try {
        take_node(node, value);
    } catch (field_error const& refused) {
        return config_error{"node", (refused.field().empty() ? "" : refused.field() + ": ") + refused.what()};
    }
    return std::nullopt;
}

} // namespace v0_2
} // namespace kubeproxy
