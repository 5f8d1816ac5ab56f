#pragma once

#include "kubeproxy/control/config/configuration.hpp"
#include "kubeproxy/control/config/rules.hpp"
#include "kubeproxy/control/kubernetes/fields.hpp"
#include "kubeproxy/control/kubernetes/meta.hpp"

#include <boost/json.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

/// A Service as it is printed -> a service of the configuration, without endpoints.
namespace kubeproxy {
inline namespace v0_2 {

namespace detail {

/// Kubernetes' DefaultClientIPServiceAffinitySeconds: three hours.
inline constexpr std::uint32_t default_affinity = 10800;

[[nodiscard]] inline traffic_policy policy_field(boost::json::object const& spec, std::string_view name) {
    auto const text = text_field(spec, name).value_or("Cluster");
    if (text.empty() || text == "Cluster") return traffic_policy::cluster;
    if (text == "Local") return traffic_policy::local;
    throw field_error{name, shown(text) + ": Cluster or Local is wanted"};
}

[[nodiscard]] inline std::uint32_t affinity_of(boost::json::object const& spec) {
    auto const kind = text_field(spec, "sessionAffinity").value_or("None");
    if (kind.empty() || kind == "None") return 0;
    if (kind != "ClientIP") throw field_error{"sessionAffinity", shown(kind) + ": None or ClientIP is wanted"};
    auto seconds = default_affinity;
    inside(spec, "sessionAffinityConfig", [&](auto const& config) {
        inside(config, "clientIP", [&](auto const& client) {
            seconds = number_field(client, "timeoutSeconds", 1, max_affinity).value_or(seconds);
        });
    });
    return seconds;
}

/// Where one address is there for several reasons, the one that kube-proxy's rules are about first: the cluster IP's
/// policy, then the load-balancer IP's source ranges.
inline void add_address(std::vector<service_address>& all, ip_address const& address, service_address_kind kind) {
    auto const where = host_prefix(address);
    auto const known = std::ranges::find(all, where, &service_address::where);
    if (known == all.end())
        all.push_back({where, kind});
    else if (kind == service_address_kind::load_balancer_ip && known->kind == service_address_kind::external_ip)
        known->kind = kind;
}

/// A version without a cluster IP is not served, whatever other addresses of it there are.
inline void add_outer_address(std::vector<service_address>& all, ip_address const& address, service_address_kind kind) {
    auto const is_cluster_ip = [&](service_address const& a) {
        return a.kind == service_address_kind::cluster_ip && version_of(a.where) == version_of(address);
    };
    if (std::ranges::any_of(all, is_cluster_ip)) add_address(all, address, kind);
}

inline void add_cluster_ips(std::vector<service_address>& all, boost::json::object const& spec) {
    for_each_in(spec, "clusterIPs", [&](auto const& element) {
        auto const text = text_in(element);
        if (text != "None" && !text.empty()) add_address(all, address_in(text), service_address_kind::cluster_ip);
    });
    if (!all.empty()) return;
    auto const text = text_field(spec, "clusterIP").value_or("");
    if (text.empty() || text == "None") return;
    inside("clusterIP", [&] { add_address(all, address_in(text), service_address_kind::cluster_ip); });
}

/// Ingress by name, and ingress that sends to the node's own addresses (ipMode Proxy, KEP-1860), is none of ours.
inline void add_load_balancer_ips(std::vector<service_address>& all, boost::json::object const& object) {
    inside(object, "status", [&](auto const& status) {
        inside(status, "loadBalancer", [&](auto const& balancer) {
            for_each_in(balancer, "ingress", [&](auto const& element) {
                auto const& ingress = object_in(element);
                auto const text = text_field(ingress, "ip").value_or("");
                if (text.empty() || text_field(ingress, "ipMode").value_or("VIP") != "VIP") return;
                inside("ip", [&] { add_outer_address(all, address_in(text), service_address_kind::load_balancer_ip); });
            });
        });
    });
}

[[nodiscard]] inline std::vector<service_address> addresses_of(boost::json::object const& object,
                                                               boost::json::object const& spec) {
    std::vector<service_address> all;
    inside("spec", [&] {
        add_cluster_ips(all, spec);
        for_each_in(spec, "externalIPs", [&](auto const& element) {
            add_outer_address(all, address_in(text_in(element)), service_address_kind::external_ip);
        });
    });
    add_load_balancer_ips(all, object);
    return all;
}

[[nodiscard]] inline std::vector<service_port> ports_of(boost::json::object const& spec) {
    std::vector<service_port> all;
    for_each_in(spec, "ports", [&](auto const& element) {
        auto const& port = object_in(element);
        auto const number = port_field(port, "port");
        if (!number) throw field_error{"port", "is missing"};
        auto const* target = field_of(port, "targetPort");
        auto const is_number = target != nullptr && target->is_number();
        all.push_back({.name = std::string{text_field(port, "name").value_or("")},
                       .protocol = protocol_field(port),
                       .port = *number,
                       .target_port = is_number ? port_field(port, "targetPort", 0).value_or(0) : std::uint16_t{0},
                       .node_port = port_field(port, "nodePort", 0).value_or(0)});
    });
    return all;
}

/// An external policy is only in force where something outside can come in.
[[nodiscard]] inline bool is_reached_from_outside(std::string_view type, boost::json::object const& spec) {
    if (type == "LoadBalancer" || type == "NodePort") return true;
    auto const* external = field_of(spec, "externalIPs");
    return external != nullptr && external->is_array() && !external->get_array().empty();
}

inline void read_spec(service_configuration& service, boost::json::object const& spec, std::string_view type) {
    service.ports = ports_of(spec);
    service.internal_policy = policy_field(spec, "internalTrafficPolicy");
    auto const external = policy_field(spec, "externalTrafficPolicy");
    if (is_reached_from_outside(type, spec)) service.external_policy = external;
    service.affinity_seconds = affinity_of(spec);
    for_each_in(spec, "loadBalancerSourceRanges",
                [&](auto const& element) { service.source_ranges.push_back(prefix_in(text_in(element))); });
    auto const health = port_field(spec, "healthCheckNodePort", 0).value_or(0);
    if (type == "LoadBalancer" && external == traffic_policy::local) service.health_check_node_port = health;
}

} // namespace detail

/// None: kube-proxy has nothing to do with it (headless, ExternalName, without a cluster IP, for another proxy).
/// Throws field_error.
[[nodiscard]] inline std::optional<service_configuration> read_service(boost::json::object const& object) {
    service_configuration service{.name = name_of(object).text()};
    if (is_for_others(object)) return std::nullopt;
    auto const* spec = object_field(object, "spec");
    if (spec == nullptr) throw field_error{"spec", "is missing"};
    std::string_view type;
    bool is_headless = false;
    inside("spec", [&] {
        type = text_field(*spec, "type").value_or("ClusterIP");
        is_headless = text_field(*spec, "clusterIP").value_or("") == "None";
    });
    if (type == "ExternalName" || is_headless) return std::nullopt;
    service.addresses = detail::addresses_of(object, *spec);
    if (service.addresses.empty()) return std::nullopt;
    inside("spec", [&] { detail::read_spec(service, *spec, type); });
    service.created = creation_time_of(object);
    return service;
}

/// As kube-proxy without the feature gate AllowServiceExternalIPs: the Service keeps all its other addresses.
inline void leave_out_external_ips(service_configuration& service) {
    std::erase_if(service.addresses, [](auto const& a) { return a.kind == service_address_kind::external_ip; });
}

} // namespace v0_2
} // namespace kubeproxy
