#pragma once

#include "kubeproxy/flow/lifetime.hpp"
#include "kubeproxy/service/address_set.hpp"
#include "kubeproxy/service/frontend.hpp"
#include "kubeproxy/service/frontend_index.hpp"
#include "kubeproxy/service/paged_array.hpp"
#include "kubeproxy/wire/embedded_address.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

/// internalTrafficPolicy and externalTrafficPolicy of a Kubernetes Service.
enum class traffic_policy : std::uint8_t { cluster, local };

/// Where a flow's destination goes: one endpoint of one service, at a fixed place of the snapshot's array.
/// An address of IPv4 stands in the first four bytes.
struct backend {
    ipv6::address address{};
    std::uint16_t port = 0; ///< 0: the packet's port is kept
    std::uint32_t service = no_service;

    template <ip_version V>
    [[nodiscard]] typename V::address address_as() const noexcept {
        typename V::address result;
        std::ranges::copy_n(address.begin(), result.size(), result.begin());
        return result;
    }
};

/// What a known flow asks of its backend at every packet: four bytes, apart from the rest so that they stay in cache.
///
/// The generation has two halves. The upper byte is the place's life: it changes when the place gets another owner, and
/// when the drain time of its owner ends. The lower byte changes when flows must look up once more whether the address
/// that their client spoke to still belongs to their service; after that they are current again.
struct backend_status {
    std::uint16_t generation = 0;
    bool in_use = false;      ///< false: the endpoint was removed; it may come back to this place
    bool terminating = false; ///< keeps its TCP flows until they close or the drain deadline ends

    void begin_life() noexcept { generation = static_cast<std::uint16_t>((generation & 0xff00u) + 0x100u); }
    void ask_again() noexcept {
        generation = static_cast<std::uint16_t>((generation & 0xff00u) | ((generation + 1u) & 0xffu));
    }
    [[nodiscard]] bool is_current(std::uint16_t its_generation) const noexcept {
        return generation == its_generation && in_use;
    }
    [[nodiscard]] bool is_same_life(std::uint16_t its_generation) const noexcept {
        return (generation ^ its_generation) < 0x100;
    }
};

/// A ring and the backends that its entries name. Shared by services and snapshots where it is the same.
struct endpoint_ring {
    std::shared_ptr<std::vector<std::uint16_t> const> entries; ///< positions in `backends`
    std::vector<std::uint32_t> backends;                       ///< indices into snapshot::backends

    [[nodiscard]] bool empty() const noexcept { return backends.empty(); }
};

/// loadBalancerSourceRanges; of an IP version that has none, everybody.
struct source_ranges {
    std::vector<prefix<ipv4>> of_ipv4;
    std::vector<prefix<ipv6>> of_ipv6;
};

/// What identifies a Service port within its Service.
struct affinity_port {
    std::uint16_t number = 0;  ///< 0: all ports
    std::uint8_t protocol = 0; ///< 0: all protocols

    [[nodiscard]] friend bool operator==(affinity_port, affinity_port) noexcept = default;
};

/// One service port, compiled for one IP version of its clients.
struct service_entry {
    std::shared_ptr<endpoint_ring const> everywhere; ///< usable endpoints; null: none
    std::shared_ptr<endpoint_ring const> local;      ///< those on this node; null: none
    std::shared_ptr<timeouts const> lifetimes;       ///< null: the snapshot's
    std::shared_ptr<std::string const> name;         ///< for reports: "default/web:http", or what the `ku` line said
    std::shared_ptr<source_ranges const> sources;    ///< who may come in here; null: everybody
    std::shared_ptr<std::vector<affinity_port> const> affinity_ports; ///< all ports of the Service; null: no affinity
    std::uint32_t main_place = no_service; ///< of the same service port without source ranges; else itself
    std::uint32_t affinity_seconds = 0;    ///< session affinity ClientIP; 0: none
    std::uint32_t affinity_group = 0;      ///< the same for all ports of one Service
    affinity_port port{};                  ///< which of the Service's ports this is
    std::uint8_t pod_version = 4;          ///< 4 or 6: what packets become
    traffic_policy internal = traffic_policy::cluster;
    traffic_policy external = traffic_policy::cluster;
};

/// What the data path knows of the node it runs on.
template <ip_version V>
struct node_addresses {
    std::vector<typename V::address> local; ///< packets from these come from the node itself
    std::vector<prefix<V>> pods{};          ///< of local pods, unless they are recognized by their links
    bool pods_by_link = false;              ///< the host says which packets come from local pods
    typename V::address pool_first{};       ///< sources of masqueraded and translated flows, first to last;
    typename V::address pool_last{};        ///< unspecified: there is none

    /// Whether packets of local pods can be told from others.
    [[nodiscard]] bool knows_pods() const noexcept { return pods_by_link || !pods.empty(); }
};

/// The source address and port that a backend's reply gets where it is translated without a flow (`ku set interface`).
struct reply_mapping {
    ipv6::address vip{};    ///< an IPv4 one in the first four bytes
    std::uint16_t port = 0; ///< 0: the packet's port is kept
    std::uint8_t version = 4;
};

/// All services at one moment: immutable once compiled, read by every worker, built by control/compile.
/// Everything is found by index; lookup costs do not depend on how many services there are.
///
/// Snapshots share what is the same in them: pages of services and of backends, shards of frontends and addresses,
/// rings. So one costs what has changed, beside a copy of their tables and of `status`, which stays in one piece
/// because it is read for every packet of a known flow. Workers touch no reference count; only the control path makes
/// and frees.
struct snapshot {
    frontend_index<ipv4> frontends4;
    frontend_index<ipv6> frontends6;
    paged_array<service_entry, 64> services;
    paged_array<backend, 256> backends;
    std::vector<backend_status> status;      ///< as many as backends
    address_set backend_addresses;           ///< whose packets may be replies
    frontend_index<ipv4> stateless_replies4; ///< by backend; `service` is an index into reply_mappings
    frontend_index<ipv6> stateless_replies6;
    std::vector<reply_mapping> reply_mappings; ///< empty if replies are translated by their flows only
    node_addresses<ipv4> node4;
    node_addresses<ipv6> node6;
    prefix<ipv6> nat64_prefix = local_use_nat64_prefix; ///< IPv4 clients appear behind it to IPv6 pods
    timeouts lifetimes;
    bool some_have_lifetimes = false;       ///< services; else no entry is read for a packet of a known flow
    std::uint16_t excluded_ports_first = 0; ///< ports that are never taken as a source: node ports; 0: none
    std::uint16_t excluded_ports_last = 0;
    bool masquerade_all = false;
    bool resets_removed = false;   ///< TCP flows of removed endpoints are reset; else they live on
    std::uint64_t reset_epoch = 0; ///< changes when there may be flows to reset that send no packets
    std::uint64_t generation = 0;  ///< counts publications

    template <ip_version V>
    [[nodiscard]] frontend_index<V> const& frontends() const noexcept {
        if constexpr (std::same_as<V, ipv4>)
            return frontends4;
        else
            return frontends6;
    }
    template <ip_version V>
    [[nodiscard]] frontend_index<V> const& stateless_replies() const noexcept {
        if constexpr (std::same_as<V, ipv4>)
            return stateless_replies4;
        else
            return stateless_replies6;
    }
    template <ip_version V>
    [[nodiscard]] node_addresses<V> const& node() const noexcept {
        if constexpr (std::same_as<V, ipv4>)
            return node4;
        else
            return node6;
    }
    /// The entries of these indices. \pre they are below service_count() and backend_count()
    [[nodiscard]] service_entry const& service_at(std::uint32_t index) const noexcept { return services[index]; }
    [[nodiscard]] backend const& backend_at(std::uint32_t index) const noexcept { return backends[index]; }
    [[nodiscard]] backend_status status_of(std::uint32_t index) const noexcept { return status[index]; }
    [[nodiscard]] std::size_t service_count() const noexcept { return services.size(); }
    [[nodiscard]] std::size_t backend_count() const noexcept { return backends.size(); }

    [[nodiscard]] timeouts const& lifetimes_of(std::uint32_t service) const noexcept {
        bool const has_own =
            some_have_lifetimes && service < service_count() && service_at(service).lifetimes != nullptr;
        return has_own ? *service_at(service).lifetimes : lifetimes;
    }
    /// Whether `index` still is the backend that a flow was given, and its frontend is sure to be the same.
    [[nodiscard]] bool is_current(std::uint32_t index, std::uint16_t its_generation) const noexcept {
        return index < status.size() && status[index].is_current(its_generation);
    }
    /// Whether the place still belongs to the endpoint that the flow was given. The flow may have to check its
    /// frontend.
    [[nodiscard]] bool is_alive(std::uint32_t index, std::uint16_t its_generation) const noexcept {
        return index < status.size() && status[index].in_use && status[index].is_same_life(its_generation);
    }
};

} // namespace v0_2
} // namespace kubeproxy
