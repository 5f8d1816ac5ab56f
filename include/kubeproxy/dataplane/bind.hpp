#pragma once

#include "kubeproxy/dataplane/burst.hpp"
#include "kubeproxy/dataplane/context.hpp"
#include "kubeproxy/dataplane/related.hpp"
#include "kubeproxy/dataplane/routed.hpp"
#include "kubeproxy/dataplane/select.hpp"
#include "kubeproxy/flow/port_pool.hpp"
#include "kubeproxy/flow/table.hpp"
#include "kubeproxy/nat/rate_limit.hpp"

#include <cstdint>
#include <tuple>

namespace kubeproxy {

struct binding_settings {
    std::uint64_t port_seed = 1; ///< where the search for source ports starts; keep it from clients
    worker_share share{};
    rate_limit new_flows{.per_second = 0}; ///< beyond it flows are not entered; 0: no limit
};

/// Backend to flow: the addresses and ports that its packets leave with, entered in the table for both directions.
///
/// The source stays the client's where it can. It changes where policy masquerades, where a pod would meet its own
/// address (hairpin), where IPv6 clients go to IPv4 pods, and where another flow's replies would look the same.
template <packet_buffer P, class Table>
class bind_stage {
  public:
    bind_stage(Table& flows, burst_context const& burst, binding_settings const& settings)
        : flows_{&flows}, burst_{&burst}, new_flows_{settings.new_flows}, pools_{pool_for<ipv4>(settings),
                                                                                 pool_for<ipv6>(settings)} {}

    template <ip_version V>
    using next = step<routed<P, V, V>, routed<P, V, typename V::other>, routed_error<P, V, V>,
                      routed_error<P, V, typename V::other>>;

    template <ip_version V>
    next<V> operator()(chosen<P, V>& c) noexcept {
        auto const& service = services().services[c.choice.service];
        return service.pod_version == ipv6::number ? bind<ipv6>(c) : bind<ipv4>(c);
    }

  private:
    template <ip_version V>
    [[nodiscard]] static port_pool<V> pool_for(binding_settings const& s) {
        return port_pool<V>{s.port_seed, s.share};
    }

    [[nodiscard]] snapshot const& services() const noexcept { return *burst_->services; }

    template <ip_version To, ip_version From>
    next<From> bind(chosen<P, From> const& c) noexcept {
        auto const& u = c.packet;
        auto after = translated<To>(u.key, services().backends[c.choice.backend]);
        bool const changes_source = needs_source<From>(c.choice, u.key, after);
        outcome so_far{.masqueraded = changes_source, .service = c.choice.service, .backend = c.choice.backend};
        if (u.headers.what == content::icmp_error) return follow_ring(u, after, so_far);
        if (!new_flows_.allow(burst_->clock)) return without_flow(u, after, so_far, drop_reason::flow_rate_limited);
        if (changes_source) {
            auto const why = take_source(u.key, after, services().template node<To>());
            if (why != drop_reason::none) return dropped(so_far, why);
        }
        return enter(u, after, so_far);
    }

    /// The packet as it leaves if its source may stay.
    template <ip_version To, ip_version From>
    [[nodiscard]] tuple<To> translated(tuple<From> const& key, backend const& target) const noexcept {
        bool const has_port = has_ports(key.protocol) && target.port != 0;
        tuple<To> after{.destination = target.address_as<To>(),
                        .source_port = key.source_port,
                        .destination_port = has_port ? target.port : key.destination_port,
                        .protocol = key.protocol == From::icmp_protocol ? To::icmp_protocol : key.protocol};
        if constexpr (std::same_as<From, To>)
            after.source = key.source;
        else if constexpr (std::same_as<To, ipv6>)
            after.source = embed(services().nat64_prefix, key.source);
        return after;
    }

    template <ip_version From, ip_version To>
    [[nodiscard]] static bool needs_source(selection const& choice, tuple<From> const& key,
                                           tuple<To> const& after) noexcept {
        if constexpr (std::same_as<From, To>)
            return choice.masquerade || after.destination == key.source;
        else
            return std::same_as<To, ipv4>;
    }

    /// A source of this node's for the flow, with a port that its replies are told by.
    template <ip_version From, ip_version To>
    [[nodiscard]] drop_reason take_source(tuple<From> const& key, tuple<To>& after,
                                          node_addresses<To> const& node) noexcept {
        if (is_unspecified(node.pool_first)) return drop_reason::no_source_address;
        return take_port(key, after, node.pool_first, node.pool_last);
    }

    template <ip_version From, ip_version To>
    [[nodiscard]] drop_reason take_port(tuple<From> const& key, tuple<To>& after, typename To::address const& first,
                                        typename To::address const& last) noexcept {
        source_range<To> from{.first = first, .last = last};
        if (services().excluded_ports_first != 0)
            from.excluded = {services().excluded_ports_first, services().excluded_ports_last};
        auto const is_free = [this](tuple<To> const& t) { return flows_->reply_is_free(t, burst_->now); };
        auto const taken = std::get<port_pool<To>>(pools_).choose(from, key, after, is_free);
        if (!taken) return drop_reason::ports_exhausted;
        after = *taken;
        return drop_reason::none;
    }

    template <ip_version From, ip_version To>
    next<From> enter(unknown<P, From> const& u, tuple<To> after, outcome so_far) noexcept {
        auto inserted = insert(u, after, so_far);
        if (inserted.what == insert_outcome::reply_taken) {
            // Another flow of this client to the same backend, through another address of ours, has the same ports.
            auto const why = take_port(u.key, after, after.source, after.source);
            if (why != drop_reason::none) return dropped(so_far, why);
            inserted = insert(u, after, so_far);
        }
        if (inserted.what != insert_outcome::inserted)
            return without_flow(u, after, so_far, drop_reason::flow_table_full);
        so_far.relation = flow_relation::fresh;
        return routed<P, From, To>{u.packet, u.headers, after, changes_of(u.key, after), so_far};
    }

    template <ip_version From, ip_version To>
    [[nodiscard]] insert_result insert(unknown<P, From> const& u, tuple<To> const& after,
                                       outcome const& so_far) noexcept {
        auto const state = initial_state(u.key.protocol, event_of(u.headers));
        return flows_->insert(u.key, after,
                              {.service = so_far.service,
                               .backend = so_far.backend,
                               .generation = services().status[so_far.backend].generation,
                               .state = state,
                               .flags = so_far.masqueraded ? flow_flag::masqueraded : std::uint8_t{0},
                               .timeout = timeout_of(state, services().lifetimes_of(so_far.service))},
                              burst_->now);
    }

    /// The ring alone tells where the packet goes, as long as its source may stay.
    template <ip_version From, ip_version To>
    next<From> without_flow(unknown<P, From> const& u, tuple<To> const& after, outcome const& so_far,
                            drop_reason otherwise) const noexcept {
        if (so_far.masqueraded) return dropped(so_far, otherwise);
        return routed<P, From, To>{u.packet, u.headers, after, changes_of(u.key, after), so_far};
    }

    /// An ICMP error about a flow that this node has not seen: its backend is the one that the ring gives the flow.
    template <ip_version From, ip_version To>
    next<From> follow_ring(unknown<P, From> const& u, tuple<To> const& after, outcome so_far) const noexcept {
        if (so_far.masqueraded) return outcome{};
        so_far.relation = flow_relation::related;
        return routed_error<P, From, To>{u.packet, u.headers, related_mapping(u.headers, u.key, after, services()),
                                         so_far};
    }

    [[nodiscard]] static outcome dropped(outcome so_far, drop_reason why) noexcept {
        so_far.what = verdict::drop(why);
        return so_far;
    }

    Table* flows_;
    burst_context const* burst_;
    rate_limiter new_flows_;
    std::tuple<port_pool<ipv4>, port_pool<ipv6>> pools_;
};

} // namespace kubeproxy
