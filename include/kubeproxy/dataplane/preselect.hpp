#pragma once

#include "kubeproxy/dataplane/context.hpp"
#include "kubeproxy/dataplane/packet_states.hpp"
#include "kubeproxy/service/select.hpp"

namespace kubeproxy {
inline namespace v0_2 {

/// Selects the backend of a packet that most likely begins a flow, before it is certain that the packet does. So the
/// place in the index where the flow's reply tuple will be entered can be prefetched while other packets of the burst
/// are looked up. The result is discarded if an earlier packet of the burst enters the flow, and nothing is preselected
/// where session affinity has to be consulted.
template <packet_buffer P, class Table, class Affinity>
class preselect_stage {
  public:
    preselect_stage(Table& flows, burst_context const& burst, std::uint64_t ring_seed) noexcept
        : flows_{&flows}, burst_{&burst}, by_{ring_entry_hash{ring_seed}, nullptr} {}

    template <ip_version V>
    [[gnu::noinline]] step<candidate<P, V>> operator()(index_miss<P, V> p) const noexcept {
        auto& storage = detail::storage_of(p);
        if (p.headers().is_plain && burst_->services != nullptr) preselect(storage);
        return candidate<P, V>{storage};
    }

  private:
    template <ip_version V>
    void preselect(detail::packet_storage<P, V>& p) const noexcept {
        auto const& services = *burst_->services;
        select_backend(services, p.key, by_, affinity_use::none, is_from_local_pod_of(*p.packet), p.choice);
        if (p.choice.what != selection::decision::forward) return;
        auto const& service = services.service_at(p.choice.service);
        if (service.affinity_seconds != 0) return;
        p.is_preselected = true;
        service.pod_version == V::number ? resolve<V>(p) : resolve<typename V::other>(p);
    }
    /// Computes the tuple that the packet becomes and, if the source stays, the hash of the reply's tuple.
    template <ip_version To, ip_version V>
    [[gnu::always_inline]] void resolve(detail::packet_storage<P, V>& p) const noexcept {
        auto& after = p.template resolved_as<To>();
        store_words(after, towards_backend<To>(p.key, *burst_->services, p.choice));
        if (detail::needs_source(p.choice, p.key, after)) return;
        p.reply_hash = flows_->reply_hash(after);
        flows_->prefetch_insert(p.reply_hash);
    }

    Table* flows_;
    burst_context const* burst_;
    selector<Affinity> by_;
};

} // namespace v0_2
} // namespace kubeproxy
