#pragma once

#include "kubeproxy/flow/hash.hpp"
#include "kubeproxy/flow/tuple_words.hpp"
#include "kubeproxy/service/affinity.hpp"
#include "kubeproxy/service/maglev.hpp"
#include "kubeproxy/service/snapshot.hpp"
#include "kubeproxy/wire/illegal_address.hpp"

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

inline constexpr std::uint32_t no_backend = 0xffff'ffff;

/// Who sent a packet, as kube-proxy's policy sees it.
enum class origin : std::uint8_t { pod, node, external };

/// An address of the node's in a range of pods, as a bridge has one, is a pod's to kube-proxy. Loopback addresses are
/// the node's.
/// \param is_from_pod_link the packet arrived by a link of local pods; counts if pods are recognized by their links
template <ip_version V>
[[nodiscard]] inline origin origin_of(node_addresses<V> const& node, typename V::address const& source,
                                      bool is_from_pod_link) noexcept {
    auto const contains = [&source](prefix<V> const& p) { return p.contains(source); };
    if (node.pods_by_link ? is_from_pod_link : std::ranges::any_of(node.pods, contains)) return origin::pod;
    bool const is_local = is_loopback(source) || std::ranges::find(node.local, source) != node.local.end();
    return is_local ? origin::node : origin::external;
}

/// Which endpoints a new flow may go to, and whether its source becomes the node's.
struct flow_policy {
    traffic_policy endpoints = traffic_policy::cluster;
    bool masquerade = false;
    [[nodiscard]] friend constexpr bool operator==(flow_policy, flow_policy) noexcept = default;
};

/// What the cluster's set-up says about masquerading.
struct masquerade_setup {
    bool pods_known = false; ///< packets of local pods can be told from others
    bool all = false;        ///< kube-proxy's --masquerade-all
};

/// kube-proxy's truth table (nftables mode): a cluster IP follows internalTrafficPolicy, everything else
/// externalTrafficPolicy, and only traffic from outside is bound to it, so that its source can stay.
[[nodiscard]] constexpr flow_policy policy_for(frontend_kind kind, origin from, traffic_policy internal,
                                               traffic_policy external, masquerade_setup setup) noexcept {
    if (kind == frontend_kind::cluster_ip)
        return {.endpoints = internal, .masquerade = setup.all || (setup.pods_known && from != origin::pod)};
    if (external == traffic_policy::cluster) return {.endpoints = traffic_policy::cluster, .masquerade = true};
    if (from == origin::external) return {.endpoints = traffic_policy::local, .masquerade = false};
    return {.endpoints = traffic_policy::cluster, .masquerade = from == origin::node};
}

/// What is to become of a flow's first packet.
struct selection {
    enum class decision : std::uint8_t { not_ours, forward, reject, drop };

    decision what = decision::not_ours;
    drop_reason why = drop_reason::none; ///< of a rejection or drop
    bool masquerade = false;
    std::uint32_t service = no_service;
    std::uint32_t backend = no_backend;
};

/// The hash that rings are entered with. Nodes with other instruction sets must agree on it.
using ring_entry_hash = basic_flow_hash<multiply_mixing>;

namespace detail {

template <ip_version V>
bool source_is_allowed(service_entry const& service, typename V::address const& source) noexcept {
    if (service.sources == nullptr) return true;
    auto const is_in = [&](std::vector<prefix<V>> const& ranges) {
        return ranges.empty() || std::ranges::any_of(ranges, [&](auto const& range) { return range.contains(source); });
    };
    if constexpr (std::same_as<V, ipv4>)
        return is_in(service.sources->of_ipv4);
    else
        return is_in(service.sources->of_ipv6);
}

inline void without_endpoint(selection& chosen, service_entry const& service, traffic_policy endpoints) noexcept {
    bool const elsewhere = endpoints == traffic_policy::local && service.everywhere != nullptr;
    chosen.what = elsewhere ? selection::decision::drop : selection::decision::reject;
    chosen.why = elsewhere ? drop_reason::no_local_endpoint : drop_reason::no_endpoints;
}

/// This endpoint among the backends of `ring`, or none. O(backends)
inline std::uint32_t backend_at(snapshot const& services, endpoint_ring const& ring,
                                affinity_choice const& endpoint) noexcept {
    auto const found = std::ranges::find_if(ring.backends, [&](std::uint32_t place) {
        auto const& b = services.backend_at(place);
        return b.address == endpoint.pod && b.port == endpoint.port;
    });
    return found == ring.backends.end() ? no_backend : *found;
}
/// A backend of `ring` in this pod, or none: `preferred`, if that is one. O(backends)
inline std::uint32_t backend_in_pod(snapshot const& services, endpoint_ring const& ring, ipv6::address const& pod,
                                    std::uint32_t preferred) noexcept {
    auto const is_in_pod = [&](std::uint32_t place) { return services.backend_at(place).address == pod; };
    if (is_in_pod(preferred)) return preferred;
    auto const found = std::ranges::find_if(ring.backends, is_in_pod);
    return found == ring.backends.end() ? no_backend : *found;
}

} // namespace detail

/// Whether session affinity counts. None: as if all clients were strangers.
enum class affinity_use : std::uint8_t { none, look };

/// What selection needs beside the snapshot.
template <class Affinity>
struct selector {
    ring_entry_hash hash;
    Affinity* clients;
    flow_time now{};

    /// The client's former choice where that endpoint still is usable; else the ring's.
    template <ip_version V>
    [[nodiscard]] std::uint32_t choose(snapshot const& services, service_entry const& service,
                                       endpoint_ring const& ring, tuple<V> const& flow,
                                       affinity_use use) const noexcept {
        bool const has_affinity = service.affinity_seconds != 0 && use != affinity_use::none;
        if (has_affinity) return choose_again(services, service, ring, flow);
        return by_ring(ring, flow);
    }
    /// The backend is the client's choice from now on, while session affinity lasts.
    template <ip_version V>
    void remember(snapshot const& services, service_entry const& service, std::uint32_t backend,
                  tuple<V> const& flow) const noexcept {
        auto const client = affinity_key::of<V>(service.affinity_group, service.port, flow.source);
        auto const& b = services.backend_at(backend);
        clients->note(client, {b.address, b.port}, now, service.affinity_seconds);
    }

  private:
    template <ip_version V>
    [[nodiscard]] std::uint32_t by_ring(endpoint_ring const& ring, tuple<V> const& flow) const noexcept {
        return ring.backends[pick(*ring.entries, hash(flow))];
    }
    template <ip_version V>
    [[nodiscard, gnu::noinline]] std::uint32_t choose_again(snapshot const& services, service_entry const& service,
                                                            endpoint_ring const& ring,
                                                            tuple<V> const& flow) const noexcept {
        auto chosen = no_backend;
        auto const client = affinity_key::of<V>(service.affinity_group, service.port, flow.source);
        if (auto const endpoint = clients->find(client, now, service.affinity_seconds))
            chosen = detail::backend_at(services, ring, *endpoint);
        if (chosen == no_backend) chosen = by_other_ports(services, service, ring, client, by_ring(ring, flow));
        return chosen;
    }
    /// The pod that another port of the Service remembers for the client, the latest one that this port has too.
    [[nodiscard]] std::uint32_t by_other_ports(snapshot const& services, service_entry const& service,
                                               endpoint_ring const& ring, affinity_key const& client,
                                               std::uint32_t otherwise) const noexcept {
        if (service.affinity_ports == nullptr || service.affinity_ports->size() < 2) return otherwise;
        auto chosen = otherwise;
        auto latest = ~std::uint32_t{0};
        auto const consider = [&](affinity_choice const& other, std::uint32_t silent) {
            if (silent >= latest) return;
            auto const found = detail::backend_in_pod(services, ring, other.pod, otherwise);
            if (found == no_backend) return;
            chosen = found;
            latest = silent;
        };
        clients->for_each_other_port(client, *service.affinity_ports, now, service.affinity_seconds, consider);
        return chosen;
    }
};

/// The backend of a new flow, by its first packet. O(prefix lengths in use); reads three or four cache lines.
/// \param is_from_pod_link see origin_of()
/// \param chosen where the result goes: returned, it would be put together in memory and waited for
template <ip_version V, class Affinity>
inline void select_backend(snapshot const& services, tuple<V> const& flow, selector<Affinity> const& by,
                           affinity_use use, bool is_from_pod_link, selection& chosen) noexcept {
    using decision = selection::decision;
    chosen = {};
    auto const* front = services.frontends<V>().find(flow.destination, flow.destination_port, flow.protocol);
    if (front == nullptr) return;
    auto const end_as = [&chosen](decision what, drop_reason why) {
        chosen.what = what;
        chosen.why = why;
    };
    if (front->kind == frontend_kind::reject_others) return end_as(decision::reject, drop_reason::no_endpoints);
    if (front->kind == frontend_kind::drop_others) return end_as(decision::drop, drop_reason::unallocated_address);

    auto const& service = services.service_at(front->service);
    auto const& node = services.node<V>();
    chosen.service = front->service;
    if (!detail::source_is_allowed<V>(service, flow.source))
        return end_as(decision::drop, drop_reason::source_not_allowed);
    // Before a client is remembered, a port taken or a flow entered.
    if (service.pod_version != V::number && is_illegal_source(flow.source, services.nat64_prefix))
        return end_as(decision::drop, drop_reason::illegal_address);
    auto const from = origin_of<V>(node, flow.source, is_from_pod_link);
    auto const policy = policy_for(front->kind, from, service.internal, service.external,
                                   {.pods_known = node.knows_pods(), .all = services.masquerade_all});
    auto const& ring = policy.endpoints == traffic_policy::local ? service.local : service.everywhere;
    if (ring == nullptr) return detail::without_endpoint(chosen, service, policy.endpoints);
    chosen.what = decision::forward;
    chosen.masquerade = policy.masquerade;
    chosen.backend = by.choose(services, service, *ring, flow, use);
}

/// A packet as it leaves for the chosen backend if its source may stay. From IPv6 to IPv4 it may not, and is left open.
/// \pre choice.what is forward, and the backend has an address of To
template <ip_version To, ip_version From>
[[nodiscard, gnu::always_inline]] inline tuple_words<To>
towards_backend(tuple<From> const& packet, snapshot const& services, selection const& choice) noexcept {
    auto const& target = services.backend_at(choice.backend);
    tuple_words<To> words;
    if constexpr (std::same_as<From, To>) {
        words = words_of(packet);
    } else {
        tuple<To> after{.source_port = packet.source_port,
                        .destination_port = packet.destination_port,
                        .protocol = packet.protocol == From::icmp_protocol ? To::icmp_protocol : packet.protocol};
        if constexpr (std::same_as<To, ipv6>) after.source = embed(services.nat64_prefix, packet.source);
        words = words_of(after);
    }
    words = with_destination(words, target.address_as<To>());
    bool const has_port = has_ports(packet.protocol) && target.port != 0;
    return has_port ? with_destination_port(words, target.port) : words;
}

namespace detail {
/// Whether a packet that leaves as `after`, otherwise, gets a source of the node's: where policy masquerades, where a
/// pod would meet its own address (hairpin), and from IPv6 to IPv4. From IPv4 to IPv6 each client has an address.
template <ip_version From, ip_version To>
[[nodiscard, gnu::always_inline]] inline bool needs_source(selection const& choice, tuple<From> const& packet,
                                                           tuple<To> const& after) noexcept {
    if constexpr (std::same_as<From, To>)
        return choice.masquerade || after.destination == packet.source;
    else
        return std::same_as<To, ipv4>;
}
} // namespace detail

} // namespace v0_2
} // namespace kubeproxy
