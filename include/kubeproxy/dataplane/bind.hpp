#pragma once

#include "kubeproxy/dataplane/checksum_trust.hpp"
#include "kubeproxy/dataplane/context.hpp"
#include "kubeproxy/dataplane/packet_states.hpp"
#include "kubeproxy/flow/port_pool.hpp"
#include "kubeproxy/flow/port_reclaim.hpp"
#include "kubeproxy/flow/table.hpp"
#include "kubeproxy/nat/rate_limit.hpp"
#include "kubeproxy/nat/refusal.hpp"
#include "kubeproxy/service/select.hpp"
#include "kubeproxy/service/standing.hpp"

#include <concepts>
#include <cstdint>
#include <tuple>

namespace kubeproxy {
inline namespace v0_2 {

struct binding_settings {
    std::uint64_t port_seed; ///< where the search for source ports starts; derived from a secret
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
    using next = step<resolved<P, V, V>, resolved<P, V, typename V::other>, resolved_error<P, V, V>,
                      resolved_error<P, V, typename V::other>>;

    /// Not inlined: what follows track is mostly rewrite, and that has all registers.
    template <ip_version V>
    [[gnu::noinline]] next<V> operator()(selected<P, V> p) noexcept {
        if (p.choice().service == no_service) return bind_direct(p);
        auto const& service = services().service_at(p.choice().service);
        return service.pod_version == ipv6::number ? bind<ipv6>(p) : bind<ipv4>(p);
    }

  private:
    static constexpr bool is_shared = Table::sharing_type::is_shared;
    /// How often to enter one flow again after a failure. A single worker needs one attempt, with another port: a port
    /// that was free when the pool chose it is still free at the insertion. Where workers share the table, another
    /// worker may enter a flow with the same port or with the same original tuple in between.
    static constexpr unsigned max_attempts = is_shared ? 4 : 1;

    template <ip_version V>
    [[nodiscard]] static port_pool<V> pool_for(binding_settings const& s) {
        return port_pool<V>{s.port_seed, s.share};
    }

    [[nodiscard]] snapshot const& services() const noexcept { return *burst_->services; }

    template <ip_version To, ip_version From>
    next<From> bind(selected<P, From> p) noexcept {
        auto& after = detail::storage_of(p).template resolved_as<To>();
        if (!p.is_preselected()) store_words(after, towards_backend<To>(p.key(), services(), p.choice()));
        bool const changes_source = detail::needs_source(p.choice(), p.key(), after);
        p.result().masqueraded = changes_source;
        p.result().backend = p.choice().backend;
        if (p.headers().what == content::icmp_error) return follow_ring<To>(p);
        if (!detail::may_open_flow(p)) return without_flow<To>(p, drop_reason::bad_transport_checksum);
        if (!new_flows_.allow(burst_->clock)) return without_flow<To>(p, drop_reason::flow_rate_limited);
        if (changes_source) {
            auto const why = take_source(p.key(), after, services().template node<To>());
            if (why != drop_reason::none) return p.drop(why);
        }
        return enter<To>(p);
    }

    /// A connection that no service translates. What cannot have a flow passes, as it would if it were none of ours.
    template <ip_version V>
    next<V> bind_direct(selected<P, V> p) noexcept {
        auto& after = detail::storage_of(p).template resolved_as<V>();
        after = p.key();
        bool const is_refused =
            detail::refusal_of(p.headers(), after, transport_checksum_of(p.packet())) != drop_reason::none;
        bool const has_flow = !is_refused && detail::may_open_flow(p) && new_flows_.allow(burst_->clock);
        return has_flow ? insert_flow<V>(p) : p.settle(verdict::pass());
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
        auto& pool = std::get<port_pool<To>>(pools_);
        port_reclaim<Table, To> holders{*flows_, burst_->now};
        auto const is_free = [&holders](tuple<To> const& t) { return holders.is_free(t); };
        auto taken = pool.choose(from, key, after, is_free);
        if (!taken && pool.has_choice(after.protocol)) {
            taken = pool.sample(from, key, after, is_free);
            if (!taken) taken = holders.take();
        }
        if (!taken) return drop_reason::ports_exhausted;
        after = *taken;
        return drop_reason::none;
    }

    template <ip_version To, ip_version From>
    next<From> enter(selected<P, From> p) noexcept {
        auto const& after = detail::storage_of(p).template resolved_as<To>();
        // A packet that the rewrite stage will refuse enters no flow.
        if (detail::refusal_of(p.headers(), after, transport_checksum_of(p.packet())) != drop_reason::none)
            return resolved<P, From, To>{p, changes_of(p.key(), after)};
        return insert_flow<To>(p);
    }

    /// \pre the rewrite stage will not refuse the packet
    template <ip_version To, ip_version From>
    next<From> insert_flow(selected<P, From> p) noexcept {
        auto& after = detail::storage_of(p).template resolved_as<To>();
        bool const knows_reply = p.is_preselected() && !p.result().masqueraded;
        auto inserted = insert(p, after, knows_reply ? p.reply_hash() : flows_->reply_hash(after));
        for (unsigned attempt = 0; inserted.what != insert_outcome::inserted; ++attempt) {
            bool const is_joint = is_shared && inserted.what == insert_outcome::duplicate;
            if (is_joint && !is_outdated(inserted.ref)) {
                if (flows_->leaves_as_ipv6(inserted.ref) != std::same_as<To, ipv6>) break;
                return join<To>(p, inserted.ref);
            }
            if (attempt == max_attempts) break;
            if (is_joint) {
                flows_->erase(inserted.ref);
            } else if (inserted.what == insert_outcome::reply_taken) {
                // Another flow of this client to the same backend, through another address of ours, has the same ports.
                auto const why = take_port(p.key(), after, after.source, after.source);
                if (why != drop_reason::none) return p.drop(why);
            } else {
                break;
            }
            inserted = insert(p, after, flows_->reply_hash(after));
        }
        if (inserted.what != insert_outcome::inserted) return without_flow<To>(p, drop_reason::flow_table_full);
        p.result().relation = flow_relation::fresh;
        auto const& body = flows_->body(inserted.ref);
        return resolved<P, From, To>{p, {body.network_change, body.transport_change}};
    }

    /// Whether a flow that another worker has entered since this one looked for it goes to a backend that this worker's
    /// snapshot does not have. The two workers began their bursts before and after a change of the services. The packet
    /// must not follow that flow: its backend may have been gone before this burst began.
    [[nodiscard]] bool is_outdated(flow_ref flow) const noexcept {
        auto const& body = flows_->body(flow);
        return !burst_->is_current(body.backend.load(), body.generation.load()) &&
               standing_of(services(), *flows_, flow).what != flow_standing::current;
    }

    /// Another worker has entered the packet's flow since this one looked for it: the packet belongs to that flow.
    template <ip_version To, ip_version From>
    [[gnu::noinline]] next<From> join(packet_state<P, From> p, flow_ref flow) noexcept {
        auto const& body = flows_->body(flow);
        p.result().relation =
            flow.direction() == flow_direction::original ? flow_relation::original : flow_relation::reply;
        p.result().masqueraded = body.is_masqueraded();
        p.result().service = body.service;
        p.result().backend = body.backend.load();
        flows_->touch(flow, burst_->now, event_of(p.headers()), static_cast<std::uint32_t>(p.headers().bytes.size()),
                      services().lifetimes_of(body.service));
        sum_changes const changes{body.network_change, body.transport_change};
        return resolved<P, From, To>{p, words_of(flows_->template leaves_as<To>(flow)),
                                     towards(changes, flow.direction())};
    }

    template <ip_version From, ip_version To>
    [[nodiscard]] insert_result insert(selected<P, From> p, tuple<To> const& after, std::uint64_t reply_hash) noexcept {
        auto const& so_far = p.result();
        bool const has_backend = so_far.backend != no_backend;
        auto const state = initial_state(p.key().protocol, event_of(p.headers()));
        return flows_->insert_new(
            hashed_tuple<From>{words_of(p.key()), p.hash()}, hashed_tuple<To>{mirrored(words_of(after)), reply_hash},
            {.service = so_far.service,
             .backend = so_far.backend,
             .generation = has_backend ? services().status_of(so_far.backend).generation : std::uint16_t{0},
             .state = state,
             .flags = so_far.masqueraded ? flow_flag::masqueraded : std::uint8_t{0},
             .timeout = timeout_of(state, services().lifetimes_of(so_far.service))},
            burst_->now);
    }

    /// The ring alone tells where the packet goes, as long as its source may stay.
    template <ip_version To, ip_version From>
    next<From> without_flow(packet_state<P, From> p, drop_reason otherwise) const noexcept {
        if (p.result().masqueraded) return p.drop(otherwise);
        return resolved<P, From, To>{p, changes_of(p.key(), detail::storage_of(p).template resolved_as<To>())};
    }

    /// An ICMP error about a flow that this node has not seen: its backend is the one that the ring gives the flow.
    template <ip_version To, ip_version From>
    next<From> follow_ring(packet_state<P, From> p) const noexcept {
        if (p.result().masqueraded) {
            p.result() = {};
            return settled{};
        }
        p.result().relation = flow_relation::related;
        return resolved_error<P, From, To>{p};
    }

    Table* flows_;
    burst_context const* burst_;
    rate_limiter new_flows_;
    std::tuple<port_pool<ipv4>, port_pool<ipv6>> pools_;
};

} // namespace v0_2
} // namespace kubeproxy
