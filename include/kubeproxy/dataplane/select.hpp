#pragma once

#include "kubeproxy/dataplane/context.hpp"
#include "kubeproxy/dataplane/routed.hpp"
#include "kubeproxy/dataplane/track.hpp"
#include "kubeproxy/nat/reject.hpp"
#include "kubeproxy/service/select.hpp"

namespace kubeproxy {

/// A packet of no known flow, and the backend that it goes to.
template <packet_buffer P, ip_version V>
struct chosen {
    unknown<P, V> packet;
    selection choice;
};

/// Without a flow: service -> policy -> affinity -> ring -> backend.
template <packet_buffer P, class Affinity>
class select_stage {
  public:
    select_stage(burst_context const& burst, std::uint64_t ring_seed, Affinity& clients) noexcept
        : burst_{&burst}, by_{ring_entry_hash{ring_seed}, &clients} {}

    template <ip_version V>
    step<chosen<P, V>, refused<P, V>> operator()(unknown<P, V>& u) noexcept {
        if (burst_->services == nullptr) return outcome{};
        by_.now = burst_->now;
        auto const use = u.headers.what == content::icmp_error ? affinity_use::look : affinity_use::remember;
        auto const choice = select_backend(*burst_->services, u.key, by_, use);
        outcome so_far{.relation = flow_relation::none, .service = choice.service};
        if (choice.what == selection::decision::not_ours) return outcome{};
        if (u.headers.flaw != drop_reason::none) {
            so_far.what = verdict::drop(u.headers.flaw);
            return so_far;
        }
        switch (choice.what) {
        case selection::decision::not_ours: return outcome{};
        case selection::decision::forward: return chosen<P, V>{u, choice};
        case selection::decision::drop: so_far.what = verdict::drop(choice.why); return so_far;
        case selection::decision::reject: break;
        }
        so_far.what = verdict::drop(choice.why);
        return refused<P, V>{u.packet, u.headers, port_unreachable<V>(), so_far};
    }

  private:
    burst_context const* burst_;
    selector<Affinity> by_;
};

} // namespace kubeproxy
