#pragma once

#include "kubeproxy/dataplane/context.hpp"
#include "kubeproxy/dataplane/routed.hpp"
#include "kubeproxy/dataplane/track.hpp"
#include "kubeproxy/nat/reject.hpp"
#include "kubeproxy/service/select.hpp"

namespace kubeproxy {
inline namespace v0_2 {

/// A packet of no known flow, and the backend that it goes to. Without a service it goes there by itself.
template <packet_buffer P, ip_version V>
struct chosen {
    packet_card<P, V>* card;
};

/// Without a flow: service -> policy -> affinity -> ring -> backend.
template <packet_buffer P, class Affinity>
class select_stage {
  public:
    select_stage(burst_context const& burst, std::uint64_t ring_seed, Affinity& clients,
                 bool tracks_direct = false) noexcept
        : burst_{&burst}, by_{ring_entry_hash{ring_seed}, &clients}, tracks_direct_{tracks_direct} {}

    template <ip_version V>
    using next = step<chosen<P, V>, refused<P, V>, routed<P, V, V>, routed<P, V, typename V::other>>;

    template <ip_version V>
    next<V> operator()(unknown<P, V>& u) noexcept {
        auto& card = *u.card;
        if (burst_->services == nullptr) return card.settle(verdict::pass());
        if (!card.is_chosen) choose(card);
        auto const& choice = card.choice;
        if (choice.what == selection::decision::not_ours) {
            if (goes_to_backend(card)) return chosen<P, V>{&card};
            return map_return(card);
        }
        card.result->service = choice.service;
        if (card.headers.flaw != drop_reason::none) return card.drop(card.headers.flaw);
        switch (choice.what) {
        case selection::decision::not_ours: return card.settle(verdict::pass());
        case selection::decision::forward: return accept(card);
        case selection::decision::drop: return card.drop(choice.why);
        case selection::decision::reject: break;
        }
        card.drop(choice.why);
        return refused<P, V>{card, port_unreachable<V>()};
    }

  private:
    /// The source ranges of a service hold for the sender of an ICMP error that belongs to no flow, too: what it quotes
    /// may be forged (RFC 5927 section 4). A host whose flow is known may complain from anywhere.
    template <ip_version V>
    next<V> accept(packet_card<P, V>& card) const noexcept {
        bool const is_error = card.headers.what == content::icmp_error;
        auto const& service = burst_->services->service_at(card.choice.service);
        if (is_error && !detail::source_is_allowed<V>(service, tuple_of(card.headers).source))
            return card.drop(drop_reason::source_not_allowed);
        return chosen<P, V>{&card};
    }

    template <ip_version V>
    void choose(packet_card<P, V>& card) noexcept {
        by_.now = burst_->now;
        auto const& services = *burst_->services;
        auto const& choice = card.choice;
        select_backend(services, card.key, by_, affinity_use::look, is_from_local_pod_of(*card.packet), card.choice);
        if (choice.what != selection::decision::forward || card.headers.what == content::icmp_error) return;
        auto const& service = services.service_at(choice.service);
        if (service.affinity_seconds != 0 && detail::may_open_flow(card))
            by_.remember(services, service, choice.backend, card.key);
    }

    /// A connection to a backend's own address, where the host wants its flows, too.
    template <ip_version V>
    [[nodiscard]] bool goes_to_backend(packet_card<P, V> const& card) const noexcept {
        if (!tracks_direct_ || card.headers.what == content::icmp_error) return false;
        return card.headers.flaw == drop_reason::none &&
               burst_->services->backend_addresses.template contains_address<V>(card.key.destination);
    }

    /// A reply whose flow nobody knows, where the host wants it mapped all the same and its backend has one door.
    template <ip_version V>
    next<V> map_return(packet_card<P, V>& card) const noexcept {
        auto const is_plain = card.headers.what != content::icmp_error && !card.headers.is_fragment;
        if (!maps_returns_of(*card.packet) || !is_plain || card.headers.flaw != drop_reason::none)
            return card.settle(verdict::pass());
        auto const& services = *burst_->services;
        auto const& key = card.key;
        auto const* backend = services.template returns<V>().find(key.source, key.source_port, key.protocol);
        if (backend == nullptr) return card.settle(verdict::pass());
        // A client with such an address does not exist: somebody made the backend answer to it.
        if (is_illegal_source(key.destination, services.nat64_prefix)) return card.drop(drop_reason::illegal_address);
        auto const& door = services.return_doors[backend->service];
        if (door.version == V::number) return leave_by<V>(card, door, key.destination);
        if constexpr (std::same_as<V, ipv6>)
            if (services.nat64_prefix.contains(key.destination))
                return leave_by<ipv4>(card, door, extract(services.nat64_prefix, key.destination));
        return card.settle(verdict::pass());
    }

    template <ip_version To, ip_version V>
    static next<V> leave_by(packet_card<P, V>& card, return_door const& door,
                            typename To::address const& client) noexcept {
        tuple<To> after{.destination = client,
                        .source_port = door.port != 0 ? door.port : card.key.source_port,
                        .destination_port = card.key.destination_port,
                        .protocol = card.key.protocol == V::icmp_protocol ? To::icmp_protocol : card.key.protocol};
        std::ranges::copy_n(door.vip.begin(), after.source.size(), after.source.begin());
        card.result->relation = flow_relation::reply;
        return routed<P, V, To>{card, words_of(after), changes_of(card.key, after)};
    }

    burst_context const* burst_;
    selector<Affinity> by_;
    bool tracks_direct_;
};

} // namespace v0_2
} // namespace kubeproxy
