#pragma once

#include "kubeproxy/dataplane/context.hpp"
#include "kubeproxy/dataplane/track.hpp"
#include "kubeproxy/service/select.hpp"

namespace kubeproxy {
inline namespace v0_2 {

/// Ahead of time, for what most likely is a new flow: its backend, so that the place of its replies in the index is on
/// its way before the flow is entered. Nothing is decided: where a packet before it in the burst opens the flow, or an
/// affinity is to be looked up, this was for nothing.
template <packet_buffer P, class Table, class Affinity>
class preselect_stage {
  public:
    preselect_stage(Table& flows, burst_context const& burst, std::uint64_t ring_seed) noexcept
        : flows_{&flows}, burst_{&burst}, by_{ring_entry_hash{ring_seed}, nullptr} {}

    template <ip_version V>
    [[gnu::noinline]] step<located<P, V>> operator()(unlocated<P, V>& u) const noexcept {
        auto& card = *u.card;
        if (card.headers.is_plain && burst_->services != nullptr) choose(card);
        return located<P, V>{&card};
    }

  private:
    template <ip_version V>
    void choose(packet_card<P, V>& card) const noexcept {
        auto const& services = *burst_->services;
        select_backend(services, card.key, by_, affinity_use::none, is_from_local_pod_of(*card.packet), card.choice);
        if (card.choice.what != selection::decision::forward) return;
        auto const& service = services.service_at(card.choice.service);
        if (service.affinity_seconds != 0) return;
        card.is_chosen = true;
        service.pod_version == V::number ? direct<V>(card) : direct<typename V::other>(card);
    }
    /// What it becomes, and, where its source and port may stay, who will answer.
    template <ip_version To, ip_version V>
    [[gnu::always_inline]] void direct(packet_card<P, V>& card) const noexcept {
        auto& after = card.template becomes<To>();
        store_words(after, towards_backend<To>(card.key, *burst_->services, card.choice));
        if (detail::needs_source(card.choice, card.key, after)) return;
        card.reply_hash = flows_->reply_hash(after);
        flows_->prefetch_insert(card.reply_hash);
    }

    Table* flows_;
    burst_context const* burst_;
    selector<Affinity> by_;
};

} // namespace v0_2
} // namespace kubeproxy
