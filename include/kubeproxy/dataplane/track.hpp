#pragma once

#include "kubeproxy/dataplane/burst.hpp"
#include "kubeproxy/dataplane/context.hpp"
#include "kubeproxy/dataplane/parse.hpp"
#include "kubeproxy/dataplane/related.hpp"
#include "kubeproxy/dataplane/routed.hpp"
#include "kubeproxy/flow/table.hpp"
#include "kubeproxy/nat/reject.hpp"

namespace kubeproxy::inline v0_2 {

/// A packet, and the flow that it may belong to.
template <packet_buffer P, ip_version V>
struct located {
    packet_card<P, V>* card;
};

/// A packet of no known flow.
template <packet_buffer P, ip_version V>
struct unknown {
    packet_card<P, V>* card;
};

/// Tuple to candidate: touches the index of the flow table.
template <packet_buffer P, class Table>
class locate_stage {
  public:
    explicit locate_stage(Table& flows) noexcept : flows_{&flows} {}

    template <ip_version V>
    void prepare(seen<P, V>& s) const noexcept {
        s.card->hash = flows_->hash(s.card->key);
        flows_->prefetch_bucket(s.card->hash);
    }
    template <ip_version V>
    step<located<P, V>> operator()(seen<P, V>& s) const noexcept {
        s.card->candidate = flows_->candidate(s.card->hash);
        return located<P, V>{s.card};
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
        if (l.card->candidate) flows_->prefetch_record(l.card->candidate);
    }

    template <ip_version V>
    using next = step<unknown<P, V>, refused<P, V>, routed<P, V, V>, routed<P, V, typename V::other>,
                      routed_error<P, V, V>, routed_error<P, V, typename V::other>>;

    template <ip_version V>
    next<V> operator()(located<P, V>& l) const noexcept {
        auto& card = *l.card;
        auto const flow = flows_->find(card.key, card.hash, card.candidate);
        if (!flow) return unknown<P, V>{&card};
        auto const event = event_of(card.headers);
        auto const& body = flows_->body(flow);
        if (flows_->is_expired(flow, burst_->now) || (is_opening(event) && is_closing(body.state()))) {
            flows_->erase(flow);
            return unknown<P, V>{&card};
        }
        describe(*card.result, flow, body);
        if (!is_backend_current(body)) return without_backend(card, flow, event);
        if (card.headers.flaw != drop_reason::none) return card.drop(card.headers.flaw);
        if (flows_->leaves_as_ipv6(flow)) return follow<V, ipv6>(card, flow, event);
        return follow<V, ipv4>(card, flow, event);
    }

  private:
    static void describe(outcome& o, flow_ref flow, typename Table::body_type const& body) noexcept {
        o.relation = flow.direction() == flow_direction::original ? flow_relation::original : flow_relation::reply;
        o.masqueraded = body.is_masqueraded();
        o.service = body.service;
        o.backend = body.backend.load();
    }

    [[nodiscard]] bool is_backend_current(typename Table::body_type const& body) const noexcept {
        return burst_->services != nullptr && burst_->services->is_current(body.backend.load(), body.generation.load());
    }

    /// TCP cannot move to another backend: the flow ends here, and a SYN opens a new one. What has no connection
    /// looks for a backend again.
    template <ip_version V>
    next<V> without_backend(packet_card<P, V>& card, flow_ref flow, transport_event event) const noexcept {
        if (card.key.protocol == ip_protocol::tcp && !is_opening(event)) {
            card.drop(drop_reason::backend_removed);
            return refused<P, V>{&card, port_unreachable<V>()};
        }
        flows_->erase(flow);
        *card.result = {};
        return unknown<P, V>{&card};
    }

    template <ip_version V, ip_version To>
    next<V> follow(packet_card<P, V>& card, flow_ref flow, transport_event event) const noexcept {
        auto const after = flows_->template leaves_as<To>(flow);
        if (card.headers.what == content::icmp_error) {
            card.result->relation = flow_relation::related;
            return routed_error<P, V, To>{&card,
                                          related_mapping<V, To>(card.headers, card.key, after, *burst_->services)};
        }
        auto& body = flows_->body(flow);
        auto const& limits = burst_->services->lifetimes_of(body.service);
        flows_->touch(flow, burst_->now, event, static_cast<std::uint32_t>(card.headers.bytes.size()), limits);
        sum_changes changes{body.network_change, body.transport_change};
        if (flow.direction() == flow_direction::reply) changes = opposite(changes);
        return next<V>{std::in_place_type<routed<P, V, To>>, card, after, changes};
    }

    Table* flows_;
    burst_context const* burst_;
};

} // namespace kubeproxy::inline v0_2
