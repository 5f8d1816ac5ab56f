#pragma once

#include "kubeproxy/dataplane/burst.hpp"
#include "kubeproxy/dataplane/checksum_trust.hpp"
#include "kubeproxy/dataplane/context.hpp"
#include "kubeproxy/dataplane/parse.hpp"
#include "kubeproxy/dataplane/routed.hpp"
#include "kubeproxy/flow/table.hpp"
#include "kubeproxy/nat/reject.hpp"
#include "kubeproxy/nat/tcp_reset.hpp"
#include "kubeproxy/service/standing.hpp"

namespace kubeproxy {
inline namespace v0_2 {

/// A packet, and the flow that it may belong to.
template <packet_buffer P, ip_version V>
struct located {
    packet_card<P, V>* card;
};

/// A packet that the index knows no flow for: a new one, unless a packet before it in the burst opens it.
template <packet_buffer P, ip_version V>
struct unlocated {
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
    step<located<P, V>, unlocated<P, V>> operator()(seen<P, V>& s) const noexcept {
        s.card->candidate = flows_->candidate(s.card->hash);
        s.card->is_chosen = false;
        if (!s.card->candidate) [[unlikely]]
            return unlocated<P, V>{s.card};
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
        if constexpr (std::same_as<V, ipv4>)
            if (!flow.is_wide()) return enter(card, flow, flows_->narrow(flow));
        return enter(card, flow, flows_->wide(flow));
    }

  private:
    template <ip_version V, class Record>
    [[gnu::always_inline]] next<V> enter(packet_card<P, V>& card, flow_ref flow, Record& record) const noexcept {
        auto const event = event_of(card.headers);
        auto const& body = record.body;
        if (body.is_expired(burst_->now)) [[unlikely]]
            return end(card, flow);
        if (is_opening(event)) [[unlikely]]
            if (is_over(body.state()) && detail::may_change_state(card)) return end(card, flow);
        auto const service = body.service, backend = body.backend.load();
        auto const relation =
            flow.direction() == flow_direction::original ? flow_relation::original : flow_relation::reply;
        *card.result = {
            .relation = relation, .masqueraded = body.is_masqueraded(), .service = service, .backend = backend};
        if (!burst_->is_current(backend, body.generation.load())) [[unlikely]]
            return off_course(card, flow, record, event);
        if (card.headers.flaw != drop_reason::none) [[unlikely]]
            return card.drop(card.headers.flaw);
        if constexpr (requires { record.template leaves_as<ipv6>(flow.direction()); })
            if (record.is_ipv6(opposite(flow.direction()))) return follow<V, ipv6>(card, flow, record, event);
        return follow<V, ipv4>(card, flow, record, event);
    }

    template <ip_version V>
    [[gnu::noinline]] unknown<P, V> end(packet_card<P, V>& card, flow_ref flow) const noexcept {
        flows_->erase(flow);
        return {&card};
    }

    /// The backend's place in the snapshot has another generation than the flow's: finds out why, and what that means.
    template <ip_version V, class Record>
    [[gnu::noinline]] next<V> off_course(packet_card<P, V>& card, flow_ref flow, Record& record,
                                         transport_event event) const noexcept {
        *card.result = {};
        if (burst_->services == nullptr) return unknown<P, V>{&card};
        auto const generation = record.body.generation.load();
        auto const backend = record.body.backend.load();
        auto const at = flows_->visit_tuples(flow, [&](auto const& original, auto const& translated) {
            return standing_of(*burst_->services, original, translated, backend, generation);
        });
        if (ends_now(card, record, event, at.what)) {
            flows_->erase(flow);
            return unknown<P, V>{&card};
        }
        bool const has_its_service =
            at.what == flow_standing::current && at.service == record.body.service && backend != no_backend;
        if (has_its_service) record.body.generation.store(burst_->services->status_of(backend).generation);
        auto const relation =
            flow.direction() == flow_direction::original ? flow_relation::original : flow_relation::reply;
        *card.result = {.relation = relation,
                        .masqueraded = record.body.is_masqueraded(),
                        .service = at.service,
                        .backend = at.backend};
        if (card.headers.flaw != drop_reason::none) return card.drop(card.headers.flaw);
        if (is_to_be_reset(*burst_->services, at.what) && card.headers.what == content::ports &&
            !card.headers.is_fragment && event != transport_event::tcp_rst) {
            if (has_ended_or_reset(record.body.state())) { // one end knows, and this is the other
                note_told(record, flow.direction());
                card.drop(drop_reason::backend_removed);
                return refused<P, V>{card, port_unreachable<V>()};
            }
            detail::turn_into_reset(card.headers.payload(), transport_checksum_of(*card.packet));
            event = transport_event::tcp_cut;
        }
        auto const& limits = burst_->services->lifetimes_of(at.service);
        auto const limits_of = [&limits](std::uint32_t) -> timeouts const& { return limits; };
        if constexpr (requires { record.template leaves_as<ipv6>(flow.direction()); })
            if (record.is_ipv6(opposite(flow.direction())))
                return follow<V, ipv6>(card, flow, record, event, limits_of);
        return follow<V, ipv4>(card, flow, record, event, limits_of);
    }

    /// What has no connection looks for a backend again. A TCP connection ends only where no packet of it can be lost:
    /// its backend has not answered yet, or it is to be reset anyway and a SYN opens the next one.
    template <ip_version V, class Record>
    [[nodiscard]] bool ends_now(packet_card<P, V> const& card, Record const& record, transport_event event,
                                flow_standing standing) const noexcept {
        if (standing == flow_standing::current) return false;
        if (card.key.protocol != ip_protocol::tcp) return true;
        if (event != transport_event::tcp_syn) return false;
        return record.body.state() == flow_state::tcp_syn_sent || is_to_be_reset(*burst_->services, standing);
    }
    /// The sender of a packet of a connection that the other end was told the end of is told now, too.
    template <class Record>
    static void note_told(Record& record, flow_direction sender) noexcept {
        auto const raw = record.body.raw_state.load();
        if (raw == static_cast<std::uint8_t>(detail::tcp_cut_by(sender)))
            (void)record.body.raw_state.replace(raw, static_cast<std::uint8_t>(flow_state::tcp_closed));
    }

    template <ip_version V, ip_version To, class Record>
    [[gnu::always_inline]] next<V> follow(packet_card<P, V>& card, flow_ref flow, Record& record,
                                          transport_event event) const noexcept {
        auto const limits_of = [this](std::uint32_t service) -> timeouts const& {
            return burst_->services->lifetimes_of(service);
        };
        return follow<V, To>(card, flow, record, event, limits_of);
    }
    template <ip_version V, ip_version To, class Record, class LimitsOf>
    [[gnu::always_inline]] next<V> follow(packet_card<P, V>& card, flow_ref flow, Record& record, transport_event event,
                                          LimitsOf const& limits_of) const noexcept {
        auto const after = record.template leaves_as<To>(flow.direction());
        if (card.headers.what == content::icmp_error) [[unlikely]] {
            card.result->relation = flow_relation::related;
            return routed_error<P, V, To>{card, after};
        }
        auto const& body = record.body;
        Table::touch(record, flow.direction(), burst_->now, event,
                     static_cast<std::uint32_t>(card.headers.bytes.size()), limits_of,
                     [&] { return detail::may_change_state(card) && sctp_allows(card, flow, event); });
        sum_changes const changes{body.network_change, body.transport_change};
        return routed<P, V, To>{card, after, towards(changes, flow.direction())};
    }

    /// Off-path attackers do not know an association's verification tags. INIT ACK tells both: its own is the one that
    /// its receiver asked for, and it asks for the other (RFC 9260 sections 3.3.3 and 5.1). \pre its checksum is right
    template <ip_version V>
    [[gnu::noinline]] bool sctp_allows(packet_card<P, V> const& card, flow_ref flow,
                                       transport_event event) const noexcept {
        byte_span const message = card.headers.payload();
        auto const d = flow.direction();
        if (event == transport_event::sctp_init_ack && message.size() >= sctp_at::initiate_tag + 4) {
            sctp_tags tags;
            tags.of_direction[number(d)] = load_be<std::uint32_t>(message, sctp_at::verification_tag);
            tags.of_direction[number(opposite(d))] = load_be<std::uint32_t>(message, sctp_at::initiate_tag);
            flows_->note_tags(flow, tags);
        }
        if (event != transport_event::sctp_abort && event != transport_event::sctp_shutdown_complete) return true;
        bool const is_reflected =
            message.size() > sctp_at::first_chunk_flags &&
            (load_be<std::uint8_t>(message, sctp_at::first_chunk_flags) & sctp_flag::reflected_tag) != 0;
        auto const tag = load_be<std::uint32_t>(message, sctp_at::verification_tag);
        return flows_->tags_of(flow).allow(d, tag, is_reflected);
    }

    Table* flows_;
    burst_context const* burst_;
};

} // namespace v0_2
} // namespace kubeproxy
