#pragma once

#include "kubeproxy/control/config/topology.hpp"
#include "kubeproxy/service/snapshot.hpp"
#include "kubeproxy/wire/address_text.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

/// What the operator wants, in the words of Kubernetes' Service, EndpointSlice and Node; a `ku` VIP is a Service whose
/// address is a prefix. Plain values: valid_configuration says whether they fit together.
namespace kubeproxy {
inline namespace v0_2 {

/// IANA protocol numbers.
enum class service_protocol : std::uint8_t {
    any = 0, ///< all protocols; together with a port those of them that `ku` means: TCP and UDP
    tcp = 6,
    udp = 17,
    sctp = 132,
};

enum class service_address_kind : std::uint8_t {
    vip,              ///< of the `ku` language: other ports of it are none of our business
    cluster_ip,       ///< other ports of it are rejected
    load_balancer_ip, ///< status.loadBalancer.ingress with ipMode VIP; guarded by the source ranges
    external_ip,
};

struct service_address {
    ip_prefix where{};
    service_address_kind kind = service_address_kind::vip;

    [[nodiscard]] friend bool operator==(service_address const&, service_address const&) = default;
};

struct service_port {
    std::string name{}; ///< empty where there is one port only
    service_protocol protocol = service_protocol::any;
    std::uint16_t port = 0;        ///< 0: all ports that no other service of the same address has
    std::uint16_t target_port = 0; ///< for endpoints whose slice names no ports; 0: the packet's port is kept
    std::uint16_t node_port = 0;   ///< 0: none

    [[nodiscard]] friend bool operator==(service_port const&, service_port const&) = default;
};

/// An address that serves.
struct endpoint {
    ip_address address{};
    std::uint16_t weight = 1; ///< beside the other endpoints of the service; 0: no new flows
    bool ready = true;
    bool serving = true;
    bool terminating = false;
    shared_topology topology{}; ///< its node and hints

    [[nodiscard]] friend bool operator==(endpoint const&, endpoint const&) = default;
};

/// The port that endpoints offer under the name and protocol of a service port.
struct endpoint_port {
    std::string name{};
    service_protocol protocol = service_protocol::tcp;
    std::uint16_t port = 0;

    [[nodiscard]] friend bool operator==(endpoint_port const&, endpoint_port const&) = default;
};

/// Endpoints with the same ports, as an EndpointSlice has them.
struct endpoint_slice {
    std::string name{};
    std::vector<endpoint_port> ports{}; ///< empty: the service ports' target_port
    std::vector<endpoint> endpoints{};

    [[nodiscard]] friend bool operator==(endpoint_slice const&, endpoint_slice const&) = default;
};

/// The IP version of a service's pods.
enum class pod_family : std::uint8_t {
    as_client, ///< Kubernetes: a client meets the endpoints of its own version
    ipv4,      ///< `ku … nat4`: NAT44 and NAT64
    ipv6,      ///< `ku … nat6`: NAT66 and NAT46
};

[[nodiscard]] constexpr unsigned pod_version(pod_family pods, unsigned client_version) noexcept {
    if (pods == pod_family::as_client) return client_version;
    return pods == pod_family::ipv4 ? 4 : 6;
}

struct service_configuration {
    std::string name{}; ///< "default/web", or what the `ku` line said: "90.0.0.0/8:3306"
    std::vector<service_address> addresses{};
    std::vector<service_port> ports{};
    std::vector<endpoint_slice> slices{};
    /// The ports before each change of their names, newest first, as long as a slice follows them; see port_names.hpp.
    std::vector<std::vector<service_port>> former_ports{};
    pod_family pods = pod_family::as_client;
    traffic_policy internal_policy = traffic_policy::cluster;
    traffic_policy external_policy = traffic_policy::cluster;
    std::uint16_t health_check_node_port = 0; ///< 0: none
    std::uint32_t affinity_seconds = 0;       ///< sessionAffinity ClientIP and its timeout; 0: None
    std::uint32_t ring_size = 0;              ///< at least so many entries; 0: by the number of endpoints
    std::vector<ip_prefix> source_ranges{};   ///< loadBalancerSourceRanges; empty: everybody
    std::optional<timeouts> lifetimes{};      ///< none: the node's
    /// metadata.creationTimestamp: of Services that are read together, the oldest one gets an address and port that
    /// several claim. An unknown time is max(), so that such a Service counts as the newest.
    std::chrono::sys_seconds created = std::chrono::sys_seconds::max();

    [[nodiscard]] friend bool operator==(service_configuration const&, service_configuration const&) = default;
};

/// What reports call one port of a service: "default/web:http", "default/web:80" where the port has no name. What the
/// `ku` language calls a service says the port already.
[[nodiscard]] inline std::string report_name(service_configuration const& service, service_port const& port) {
    if (!port.name.empty()) return service.name + ':' + port.name;
    bool const is_of_ku = service.addresses.empty() || service.addresses.front().kind == service_address_kind::vip;
    return is_of_ku ? service.name : service.name + ':' + std::to_string(port.port);
}

/// `ku set interface`: the interfaces whose replies are translated without a flow.
struct interface_nat {
    std::string interface {};
    pod_family pods = pod_family::ipv4;

    [[nodiscard]] friend bool operator==(interface_nat const&, interface_nat const&) = default;
};

struct ipv4_range {
    ipv4::address first{};
    ipv4::address last{};
};
struct port_range {
    std::uint16_t first = 0;
    std::uint16_t last = 0;
};

/// What becomes of TCP flows whose endpoint is removed.
enum class removed_endpoints : std::uint8_t {
    keep,  ///< they live on until they close or time out, as behind kube-proxy
    reset, ///< both ends receive a reset
};

/// Links by which only packets of local pods arrive: the link with this name, or all links whose names begin with it.
struct pod_link_names {
    std::string name{};
    bool is_prefix = false;

    [[nodiscard]] bool contain(std::string_view link) const noexcept {
        return is_prefix ? link.starts_with(name) : link == name;
    }
    [[nodiscard]] friend bool operator==(pod_link_names const&, pod_link_names const&) = default;
};

/// The node that the proxy runs on, and everything that is not about one service.
struct node_configuration {
    std::string name{};
    std::string zone{};
    std::vector<ip_address> addresses{}; ///< local ones; the first of a version that is no loopback is its primary
    /// Which of the addresses serve node ports; none: the primary ones.
    std::optional<std::vector<ip_prefix>> node_port_addresses{};
    std::vector<ip_prefix> pod_ranges{}; ///< empty: pods are not told from others
    /// If set, local pods are recognized by the link that a packet arrived by, not by pod_ranges. The host tells the
    /// data path with `is_from_local_pod()` of its packets.
    std::optional<pod_link_names> pod_links{};
    std::vector<ip_prefix> service_ranges{}; ///< unowned addresses in them are dropped
    std::optional<port_range> node_ports{}; ///< never taken as a source port; none: from the lowest to the highest used
    bool masquerade_all = false;
    /// Whether kubernetes_reader gives Services their external IPs. Applies to the Services that it reads from then on.
    bool external_ips = true;
    bool localhost_node_ports = false; ///< node ports are also served on 127.0.0.0/8
    std::optional<ipv4_range> snat4{}; ///< IPv4 sources of NAT64 and masquerade; none: the primary, else 198.18.0.1
    std::optional<ipv6::address> snat6{};
    prefix<ipv6> nat64_prefix = local_use_nat64_prefix;
    timeouts lifetimes{};
    /// How long a terminating endpoint keeps its flows, at most; none: until it is removed.
    std::optional<std::chrono::seconds> drain{};
    removed_endpoints removed = removed_endpoints::keep;
    std::optional<std::uint32_t> buckets{}; ///< of the flow table, for the host that makes one
    std::vector<interface_nat> interfaces{};
};

/// The first address of this version that is no loopback.
template <ip_version V>
[[nodiscard]] std::optional<typename V::address> primary_address(node_configuration const& node) noexcept {
    for (auto const& a : node.addresses)
        if (auto const* address = std::get_if<typename V::address>(&a); address != nullptr && !is_loopback(*address))
            return *address;
    return std::nullopt;
}

struct configuration {
    node_configuration node{};
    std::vector<service_configuration> services{};
};

/// What does not fit, and which rule says so.
struct config_error {
    std::string subject{}; ///< "default/web:http", "node"
    std::string rule{};    ///< "port 0 (a Service port is 1..65535)"

    [[nodiscard]] std::string text() const { return subject + ": " + rule; }
};

} // namespace v0_2
} // namespace kubeproxy
