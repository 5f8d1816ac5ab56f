#pragma once

#include "kubeproxy/dataplane/checksum_trust.hpp"
#include "kubeproxy/dataplane/context.hpp"
#include "kubeproxy/dataplane/packet_states.hpp"
#include "kubeproxy/nat/reject.hpp"
#include "kubeproxy/service/select.hpp"

namespace kubeproxy {
inline namespace v0_2 {

/// Selects a backend for a packet of no known flow: service, policy, session affinity, ring.
template <packet_buffer P, class Affinity>
class select_stage {
  public:
    select_stage(burst_context const& burst, std::uint64_t ring_seed, Affinity& clients,
                 bool tracks_direct = false) noexcept
        : burst_{&burst}, by_{ring_entry_hash{ring_seed}, &clients}, tracks_direct_{tracks_direct} {}

    template <ip_version V>
    using next = step<selected<P, V>, rejected<P, V>, resolved<P, V, V>, resolved<P, V, typename V::other>>;

    template <ip_version V>
    next<V> operator()(untracked<P, V> u) noexcept {
        if (burst_->services == nullptr) return u.settle(verdict::pass());
        if (u.preselection() == nullptr) choose(u);
        selected<P, V> const p{detail::storage_of(u)};
        auto const& choice = p.choice();
        if (choice.what == selection::decision::not_ours) {
            if (goes_to_backend(p)) return p;
            return map_stateless_reply(p);
        }
        p.result().service = choice.service;
        if (p.headers().flaw != drop_reason::none) return p.drop(p.headers().flaw);
        switch (choice.what) {
        case selection::decision::not_ours: return p.settle(verdict::pass());
        case selection::decision::forward: return accept(p);
        case selection::decision::drop: return p.drop(choice.why);
        case selection::decision::reject: break;
        }
        p.drop(choice.why);
        return rejected<P, V>{p, port_unreachable<V>()};
    }

  private:
    /// The source ranges of a service hold for the sender of an ICMP error that belongs to no flow, too: what it quotes
    /// may be forged (RFC 5927 section 4). A host whose flow is known may complain from anywhere.
    template <ip_version V>
    next<V> accept(selected<P, V> p) const noexcept {
        bool const is_error = p.headers().what == content::icmp_error;
        auto const& service = burst_->services->service_at(p.choice().service);
        if (is_error && !detail::source_is_allowed<V>(service, tuple_of(p.headers()).source))
            return p.drop(drop_reason::source_not_allowed);
        return p;
    }

    template <ip_version V>
    void choose(untracked<P, V> p) noexcept {
        by_.now = burst_->now;
        auto const& services = *burst_->services;
        auto& choice = detail::storage_of(p).choice;
        select_backend(services, p.key(), by_, affinity_use::look, is_from_local_pod_of(p.packet()), choice);
        if (choice.what != selection::decision::forward || p.headers().what == content::icmp_error) return;
        auto const& service = services.service_at(choice.service);
        if (service.affinity_seconds != 0 && detail::may_open_flow(packet_state<P, V>{p}))
            by_.remember(services, service, choice.backend, p.key());
    }

    /// A connection to a backend's own address, where the host wants its flows, too.
    template <ip_version V>
    [[nodiscard]] bool goes_to_backend(packet_state<P, V> p) const noexcept {
        if (!tracks_direct_ || p.headers().what == content::icmp_error) return false;
        return p.headers().flaw == drop_reason::none &&
               burst_->services->backend_addresses.template contains_address<V>(p.key().destination);
    }

    /// Translates a reply without a flow, if the host asks for that and the backend has an unambiguous mapping.
    template <ip_version V>
    next<V> map_stateless_reply(packet_state<P, V> p) const noexcept {
        auto const is_plain = p.headers().what != content::icmp_error && !p.headers().is_fragment;
        if (!maps_stateless_replies_of(p.packet()) || !is_plain || p.headers().flaw != drop_reason::none)
            return p.settle(verdict::pass());
        auto const& services = *burst_->services;
        auto const& key = p.key();
        auto const* backend = services.template stateless_replies<V>().find(key.source, key.source_port, key.protocol);
        if (backend == nullptr) return p.settle(verdict::pass());
        // A client with such an address does not exist: somebody made the backend answer to it.
        if (is_illegal_source(key.destination, services.nat64_prefix)) return p.drop(drop_reason::illegal_address);
        auto const& mapping = services.reply_mappings[backend->service];
        if (mapping.version == V::number) return leave_by<V>(p, mapping, key.destination);
        if constexpr (std::same_as<V, ipv6>)
            if (services.nat64_prefix.contains(key.destination))
                return leave_by<ipv4>(p, mapping, extract(services.nat64_prefix, key.destination));
        return p.settle(verdict::pass());
    }

    template <ip_version To, ip_version V>
    static next<V> leave_by(packet_state<P, V> p, reply_mapping const& mapping,
                            typename To::address const& client) noexcept {
        tuple<To> after{.destination = client,
                        .source_port = mapping.port != 0 ? mapping.port : p.key().source_port,
                        .destination_port = p.key().destination_port,
                        .protocol = p.key().protocol == V::icmp_protocol ? To::icmp_protocol : p.key().protocol};
        std::ranges::copy_n(mapping.vip.begin(), after.source.size(), after.source.begin());
        p.result().relation = flow_relation::reply;
        return resolved<P, V, To>{p, words_of(after), changes_of(p.key(), after)};
    }

    burst_context const* burst_;
    selector<Affinity> by_;
    bool tracks_direct_;
};

} // namespace v0_2
} // namespace kubeproxy
