#pragma once

#include "kubeproxy/control/controller.hpp"

#include <array>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>

/// Configurations with all four translations, of each kind that the data path tells apart. Every one has the same
/// addresses, so that one packet makes sense in all of them:
///
///     198.51.100.0/25   44    2001:db8:1::/64     66    clients are 192.0.2.0/24 and 2001:db8::/64
///     198.51.100.128/25 46    2001:db8:1:1::/64   64    pods are 10.244.1.0/24 and fd00:244::/64
namespace kubeproxy::testing_support {

namespace detail {

inline constexpr std::string_view node_line =
    "ku conf node 192.0.2.254 node 2001:db8::fe snat4 198.18.0.9-198.18.0.10\n";

inline constexpr std::string_view pod_lines = "ku pod 198.51.100.0/25 10.244.1.7 10.244.1.8\n"
                                              "ku pod 198.51.100.128/25 fd00:244::7 fd00:244::8\n"
                                              "ku pod 2001:db8:1::/64 fd00:244::7\n"
                                              "ku pod 2001:db8:1:1::/64 10.244.1.7 10.244.1.9\n";

/// A line for each translation, with `words` in each.
inline std::string vips(std::string_view words) {
    std::string text;
    for (std::string_view const start :
         {"198.51.100.0/25", "198.51.100.128/25 nat6", "2001:db8:1::/64", "2001:db8:1:1::/64 nat4"})
        text.append("ku vip ").append(start).append(" ").append(words).append("\n");
    return text;
}

inline std::string named_ports() {
    return vips("protocol udp port 53 target_port 5353") + vips("protocol tcp port 80 target_port 8080") +
           vips("protocol sctp port 5060 target_port 5061");
}

inline void require(bool is_fine, std::string_view what) {
    if (!is_fine) throw std::logic_error{std::string{what}};
}

inline void do_lines(controller& control, std::string_view text) {
    auto const result = control.apply(text);
    require(result.ok(), result.error ? result.error->reason : "");
}

inline ip_prefix prefix_of(std::string_view text) { return parse_prefix(text).value(); }

/// As Kubernetes has them: other ports are rejected, unowned addresses dropped, sources restricted, policy Local.
inline service_configuration cluster_service(std::string name, std::string_view vip, service_address_kind kind,
                                             pod_family pods, std::string_view pod) {
    service_configuration service{.name = std::move(name)};
    service.addresses.push_back({prefix_of(vip), kind});
    service.ports.push_back({.name = "dns", .protocol = service_protocol::udp, .port = 53, .target_port = 5353});
    service.ports.push_back({.name = "web", .protocol = service_protocol::tcp, .port = 80, .target_port = 8080});
    service.slices.push_back({.endpoints = {{.address = parse_address(pod).value()}}});
    service.pods = pods;
    service.affinity_seconds = 30;
    return service;
}

inline void put_cluster(controller& control) {
    using kind = service_address_kind;
    auto& all = control.configuration();
    node_configuration node;
    for (auto const* a : {"192.0.2.254", "2001:db8::fe"}) node.addresses.push_back(parse_address(a).value());
    for (auto const* range : {"10.244.1.0/24", "fd00:244::/64", "192.0.2.0/28"})
        node.pod_ranges.push_back(prefix_of(range));
    for (auto const* range : {"198.51.0.0/16", "2001:db8:1::/48"}) node.service_ranges.push_back(prefix_of(range));
    node.masquerade_all = true;
    require(!all.set_node(std::move(node)), "node");
    auto local = cluster_service("local", "198.51.100.6/32", kind::external_ip, pod_family::ipv4, "10.244.1.7");
    local.external_policy = traffic_policy::local;
    auto guarded = cluster_service("guarded", "198.51.100.8/32", kind::load_balancer_ip, pod_family::ipv4, "192.0.2.1");
    guarded.source_ranges.push_back(prefix_of("192.0.2.0/30"));
    for (auto service : {cluster_service("44", "198.51.100.7/32", kind::cluster_ip, pod_family::ipv4, "10.244.1.7"),
                         cluster_service("46", "198.51.100.135/32", kind::cluster_ip, pod_family::ipv6, "fd00:244::7"),
                         cluster_service("66", "2001:db8:1::7/128", kind::external_ip, pod_family::ipv6, "fd00:244::7"),
                         cluster_service("64", "2001:db8:1:1::7/128", kind::cluster_ip, pod_family::ipv4, "10.244.1.7"),
                         local, guarded})
        require(!all.put(std::move(service)), "service");
    control.publish();
}

} // namespace detail

enum class hostile_services : std::uint8_t {
    all_ports,     ///< port 0: every protocol is forwarded by address
    named_ports,   ///< other ports pass; replies without a flow are mapped back
    without_pods,  ///< everything is rejected
    node_ports,    ///< masqueraded through the node's addresses
    hairpin,       ///< the client is the only pod
    cluster,       ///< Kubernetes services
    short_of_time, ///< flows end after a second; clients behind the well-known prefix
    none,          ///< nothing was published
    count_
};

inline void configure(controller& control, hostile_services which) {
    using detail::do_lines;
    std::string const node{detail::node_line};
    switch (which) {
    case hostile_services::all_ports:
        return do_lines(control, node + detail::vips("") + std::string{detail::pod_lines});
    case hostile_services::named_ports:
        return do_lines(control, node + detail::named_ports() + std::string{detail::pod_lines} +
                                     "ku set interface nat4 in pods\nku set interface nat6 in pods\n");
    case hostile_services::without_pods: return do_lines(control, node + detail::vips(""));
    case hostile_services::node_ports:
        return do_lines(control, node +
                                     "ku vip 198.51.100.0/25 protocol udp port 53 node_port 30053\n"
                                     "ku vip 198.51.100.128/25 protocol tcp port 80 node_port 30080 nat6\n"
                                     "ku vip 2001:db8:1::/64 protocol udp port 53 node_port 30054\n"
                                     "ku vip 2001:db8:1:1::/64 protocol tcp port 80 node_port 30081 nat4\n" +
                                     std::string{detail::pod_lines});
    case hostile_services::hairpin:
        return do_lines(control, node + detail::vips("") +
                                     "ku pod 198.51.100.0/25 192.0.2.1\nku pod 198.51.100.128/25 2001:db8::1\n"
                                     "ku pod 2001:db8:1::/64 2001:db8::1\nku pod 2001:db8:1:1::/64 192.0.2.1\n");
    case hostile_services::cluster: return detail::put_cluster(control);
    case hostile_services::short_of_time:
        return do_lines(control, "ku conf timeout 1 nat64_prefix 64:ff9b::/96\n" + detail::vips("") +
                                     std::string{detail::pod_lines});
    case hostile_services::none:
    case hostile_services::count_: return;
    }
}

/// What may change while packets are under way. A line that does not fit the services of the moment is refused.
inline constexpr std::array<std::string_view, 16> changes{
    "ku pod 198.51.100.0/25 10.244.1.7 del",
    "ku pod 198.51.100.0/25 10.244.1.7 10.244.1.10",
    "ku pod 198.51.100.128/25 fd00:244::7 del",
    "ku pod 198.51.100.128/25 fd00:244::7 weight 3",
    "ku pod 2001:db8:1::/64 fd00:244::7 del",
    "ku pod 2001:db8:1::/64 fd00:244::7 fd00:244::9",
    "ku pod 2001:db8:1:1::/64 10.244.1.7 del",
    "ku pod 2001:db8:1:1::/64 10.244.1.7 10.244.1.8 10.244.1.9",
    "ku vip 198.51.100.0/25 del",
    "ku vip 198.51.100.0/25\nku pod 198.51.100.0/25 10.244.1.8 192.0.2.1",
    "ku vip 2001:db8:1:1::/64 del",
    "ku vip 2001:db8:1:1::/64 nat4\nku pod 2001:db8:1:1::/64 10.244.1.8",
    "ku vip 198.51.100.7 port 53 target_port 53 nat6\nku pod 198.51.100.7 fd00:244::5",
    "ku conf snat4 198.18.0.20",
    "ku conf timeout 2",
    "ku conf nat64_prefix 64:ff9b::/96",
};

} // namespace kubeproxy::testing_support
