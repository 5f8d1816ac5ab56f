#pragma once

#include "kubeproxy/dataplane/checksum_trust.hpp"
#include "kubeproxy/dataplane/context.hpp"
#include "kubeproxy/dataplane/packet_states.hpp"
#include "kubeproxy/flow/table.hpp"
#include "kubeproxy/nat/reject.hpp"
#include "kubeproxy/nat/tcp_reset.hpp"
#include "kubeproxy/service/standing.hpp"

namespace kubeproxy {
inline namespace v0_2 {

/// Finds the flow of a packet and, if there is one, what the packet becomes. `prepare` prefetches the flow's record.
template <packet_buffer P, class Table>
class track_stage {
  public:
    track_stage(Table& flows, burst_context const& burst) noexcept : flows_{&flows}, burst_{&burst} {}

    template <ip_version V>
    void prepare(candidate<P, V> p) const noexcept {
        if (p.flow()) flows_->prefetch_record(p.flow());
    }

    template <ip_version V>
    using next = step<untracked<P, V>, rejected<P, V>, resolved<P, V, V>, resolved<P, V, typename V::other>,
                      resolved_error<P, V, V>, resolved_error<P, V, typename V::other>>;

    template <ip_version V>
    [[gnu::always_inline]] next<V> operator()(candidate<P, V> p) const noexcept {
        auto const flow = flows_->find(p.key(), p.hash(), p.flow());
        if (!flow) return untracked_of(p);
        if constexpr (std::same_as<V, ipv4>)
            if (!flow.is_wide()) return enter<V>(p, flow, flows_->narrow(flow));
        return enter<V>(p, flow, flows_->wide(flow));
    }

  private:
    template <ip_version V, class Record>
    [[gnu::always_inline]] next<V> enter(packet_state<P, V> p, flow_ref flow, Record& record) const noexcept {
        auto const event = event_of(p.headers());
        auto const& body = record.body;
        if (body.is_expired(burst_->now)) [[unlikely]]
            return end(p, flow);
        if (is_opening(event)) [[unlikely]]
            if (is_over(body.state()) && detail::may_change_state(p)) return end(p, flow);
        auto const service = body.service, backend = body.backend.load();
        auto const relation =
            flow.direction() == flow_direction::original ? flow_relation::original : flow_relation::reply;
        p.result() = {
            .relation = relation, .masqueraded = body.is_masqueraded(), .service = service, .backend = backend};
        if (!burst_->is_current(backend, body.generation.load())) [[unlikely]]
            return off_course(p, flow, record, event);
        if (p.headers().flaw != drop_reason::none) [[unlikely]]
            return p.drop(p.headers().flaw);
        if constexpr (requires { record.template leaves_as<ipv6>(flow.direction()); })
            if (record.is_ipv6(opposite(flow.direction()))) return follow<V, ipv6>(p, flow, record, event);
        return follow<V, ipv4>(p, flow, record, event);
    }

    template <ip_version V>
    [[nodiscard, gnu::always_inline]] static untracked<P, V> untracked_of(packet_state<P, V> p) noexcept {
        return untracked<P, V>{detail::storage_of(p)};
    }
    template <ip_version V>
    [[gnu::noinline]] untracked<P, V> end(packet_state<P, V> p, flow_ref flow) const noexcept {
        flows_->erase(flow);
        return untracked_of(p);
    }

    /// The backend's place in the snapshot has another generation than the flow's: finds out why, and what that means.
    template <ip_version V, class Record>
    [[gnu::noinline]] next<V> off_course(packet_state<P, V> p, flow_ref flow, Record& record,
                                         transport_event event) const noexcept {
        p.result() = {};
        if (burst_->services == nullptr) return untracked_of(p);
        auto const backend = record.body.backend.load();
        auto const at = standing_of(*burst_->services, *flows_, flow);
        if (ends_now(p, flow.direction(), record, event, at.what)) {
            flows_->erase(flow);
            return untracked_of(p);
        }
        bool const has_its_service =
            at.what == flow_standing::current && at.service == record.body.service && backend != no_backend;
        if (has_its_service) record.body.generation.store(burst_->services->status_of(backend).generation);
        auto const relation =
            flow.direction() == flow_direction::original ? flow_relation::original : flow_relation::reply;
        p.result() = {.relation = relation,
                      .masqueraded = record.body.is_masqueraded(),
                      .service = at.service,
                      .backend = at.backend};
        if (p.headers().flaw != drop_reason::none) return p.drop(p.headers().flaw);
        if (is_to_be_reset(*burst_->services, at.what) && p.headers().what == content::ports &&
            !p.headers().is_fragment && event != transport_event::tcp_rst) {
            if (has_ended_or_reset(record.body.state())) { // one end knows, and this is the other
                note_told(record, flow.direction());
                p.drop(drop_reason::backend_removed);
                return rejected<P, V>{p, port_unreachable<V>()};
            }
            detail::turn_into_reset(p.headers().payload(), transport_checksum_of(p.packet()));
            event = transport_event::tcp_cut;
        }
        auto const& limits = burst_->services->lifetimes_of(at.service);
        auto const limits_of = [&limits](std::uint32_t) -> timeouts const& { return limits; };
        if constexpr (requires { record.template leaves_as<ipv6>(flow.direction()); })
            if (record.is_ipv6(opposite(flow.direction()))) return follow<V, ipv6>(p, flow, record, event, limits_of);
        return follow<V, ipv4>(p, flow, record, event, limits_of);
    }

    /// A flow without a connection ends, so that its packet selects a backend again. A TCP connection ends only where
    /// no packet of it can be lost: if the client sends another SYN, and the backend has not answered the first one or
    /// the connection is to be reset anyway. A SYN from the backend (simultaneous open, RFC 9293 section 3.5) is its
    /// answer.
    template <ip_version V, class Record>
    [[nodiscard]] bool ends_now(packet_state<P, V> p, flow_direction sender, Record const& record,
                                transport_event event, flow_standing standing) const noexcept {
        if (standing == flow_standing::current) return false;
        if (p.key().protocol != ip_protocol::tcp) return true;
        if (event != transport_event::tcp_syn || sender != flow_direction::original) return false;
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
    [[gnu::always_inline]] next<V> follow(packet_state<P, V> p, flow_ref flow, Record& record,
                                          transport_event event) const noexcept {
        auto const limits_of = [this](std::uint32_t service) -> timeouts const& {
            return burst_->services->lifetimes_of(service);
        };
        return follow<V, To>(p, flow, record, event, limits_of);
    }
    template <ip_version V, ip_version To, class Record, class LimitsOf>
    [[gnu::always_inline]] next<V> follow(packet_state<P, V> p, flow_ref flow, Record& record, transport_event event,
                                          LimitsOf const& limits_of) const noexcept {
        auto const after = record.template leaves_as<To>(flow.direction());
        if (p.headers().what == content::icmp_error) [[unlikely]] {
            p.result().relation = flow_relation::related;
            return resolved_error<P, V, To>{p, after};
        }
        auto const& body = record.body;
        Table::touch(record, flow.direction(), burst_->now, event, static_cast<std::uint32_t>(p.headers().bytes.size()),
                     limits_of, [&] { return detail::may_change_state(p) && sctp_allows(p, flow, event); });
        sum_changes const changes{body.network_change, body.transport_change};
        return resolved<P, V, To>{p, after, towards(changes, flow.direction())};
    }

    /// Off-path attackers do not know an association's verification tags. INIT ACK tells both: its own is the one that
    /// its receiver asked for, and it asks for the other (RFC 9260 sections 3.3.3 and 5.1). \pre its checksum is right
    template <ip_version V>
    [[gnu::noinline]] bool sctp_allows(packet_state<P, V> p, flow_ref flow, transport_event event) const noexcept {
        byte_span const message = p.headers().payload();
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
