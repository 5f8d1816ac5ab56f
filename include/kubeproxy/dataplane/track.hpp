#pragma once

#include "kubeproxy/dataplane/burst.hpp"
#include "kubeproxy/dataplane/context.hpp"
#include "kubeproxy/dataplane/parse.hpp"
#include "kubeproxy/dataplane/related.hpp"
#include "kubeproxy/dataplane/routed.hpp"
#include "kubeproxy/flow/table.hpp"
#include "kubeproxy/nat/reject.hpp"

namespace kubeproxy {

/// A packet, and the flow that it may belong to.
template <packet_buffer P, ip_version V>
struct located {
    seen<P, V> packet;
    std::uint64_t hash;
    flow_ref candidate;
};

/// A packet of no known flow.
template <packet_buffer P, ip_version V>
struct unknown {
    P* packet;
    parsed<V> headers;
    tuple<V> key;
    std::uint64_t hash;
};

/// Tuple to candidate: touches the index of the flow table.
template <packet_buffer P, class Table>
class locate_stage {
  public:
    explicit locate_stage(Table& flows) noexcept : flows_{&flows} {}

    template <ip_version V>
    void prepare(seen<P, V>& s) const noexcept {
        flows_->prefetch_bucket(flows_->hash(s.key));
    }
    template <ip_version V>
    step<located<P, V>> operator()(seen<P, V>& s) const noexcept {
        auto const hash = flows_->hash(s.key);
        return located<P, V>{s, hash, flows_->candidate(hash)};
    }

  private:
    Table* flows_;
};

/// Candidate to flow: touches its record, and knows where the packet goes if the flow is known.
template <packet_buffer P, class Table>
class track_stage {
  public:
    track_stage(Table& flows, burst_context const& burst) noexcept : flows_{&flows}, burst_{&burst} {}

    template <ip_version V>
    void prepare(located<P, V>& l) const noexcept {
        if (l.candidate) flows_->prefetch_record(l.candidate);
    }

    template <ip_version V>
    using next = step<unknown<P, V>, refused<P, V>, routed<P, V, V>, routed<P, V, typename V::other>,
                      routed_error<P, V, V>, routed_error<P, V, typename V::other>>;

    template <ip_version V>
    next<V> operator()(located<P, V>& l) const noexcept {
        auto const flow = flows_->find(l.packet.key, l.hash, l.candidate);
        if (!flow) return unknown_of(l);
        auto const& headers = l.packet.headers;
        auto const event = event_of(headers);
        auto const& body = flows_->body(flow);
        auto so_far = outcome_of(flow, body);
        if (flows_->is_expired(flow, burst_->now) || (is_opening(event) && is_closing(body.state()))) {
            flows_->erase(flow);
            return unknown_of(l);
        }
        if (!is_backend_current(body)) return without_backend(l, flow, so_far);
        if (headers.flaw != drop_reason::none) {
            so_far.what = verdict::drop(headers.flaw);
            return so_far;
        }
        return follow(l.packet, flow, event, so_far);
    }

  private:
    template <ip_version V>
    static unknown<P, V> unknown_of(located<P, V> const& l) noexcept {
        return {l.packet.packet, l.packet.headers, l.packet.key, l.hash};
    }

    static outcome outcome_of(flow_ref flow, typename Table::body_type const& body) noexcept {
        return {.relation =
                    flow.direction() == flow_direction::original ? flow_relation::original : flow_relation::reply,
                .masqueraded = body.is_masqueraded(),
                .service = body.service,
                .backend = body.backend.load()};
    }

    [[nodiscard]] bool is_backend_current(typename Table::body_type const& body) const noexcept {
        return burst_->services != nullptr && burst_->services->is_current(body.backend.load(), body.generation.load());
    }

    /// TCP cannot move to another backend: the flow ends here, and a SYN opens a new one. What has no connection
    /// looks for a backend again.
    template <ip_version V>
    next<V> without_backend(located<P, V> const& l, flow_ref flow, outcome so_far) const noexcept {
        bool const is_opening_packet = is_opening(event_of(l.packet.headers));
        if (l.packet.headers.protocol != ip_protocol::tcp || is_opening_packet) {
            flows_->erase(flow);
            return unknown_of(l);
        }
        so_far.what = verdict::drop(drop_reason::backend_removed);
        return refused<P, V>{l.packet.packet, l.packet.headers, port_unreachable<V>(), so_far};
    }

    template <ip_version V>
    next<V> follow(seen<P, V> const& s, flow_ref flow, transport_event event, outcome so_far) const noexcept {
        if (flows_->leaves_as_ipv6(flow)) return go<V, ipv6>(s, flow, event, so_far);
        return go<V, ipv4>(s, flow, event, so_far);
    }

    template <ip_version V, ip_version To>
    next<V> go(seen<P, V> const& s, flow_ref flow, transport_event event, outcome so_far) const noexcept {
        auto const after = flows_->template leaves_as<To>(flow);
        if (s.headers.what == content::icmp_error) {
            so_far.relation = flow_relation::related;
            return routed_error<P, V, To>{s.packet, s.headers,
                                          related_mapping<V, To>(s.headers, s.key, after, *burst_->services), so_far};
        }
        auto& body = flows_->body(flow);
        auto const& limits = burst_->services->lifetimes_of(body.service);
        flows_->touch(flow, burst_->now, event, static_cast<std::uint32_t>(s.headers.bytes.size()), limits);
        sum_changes changes{body.network_change, body.transport_change};
        if (flow.direction() == flow_direction::reply) changes = opposite(changes);
        return routed<P, V, To>{s.packet, s.headers, after, changes, so_far};
    }

    Table* flows_;
    burst_context const* burst_;
};

} // namespace kubeproxy
