#pragma once

#include "kubeproxy/dataplane/burst.hpp"
#include "kubeproxy/dataplane/routed.hpp"
#include "kubeproxy/nat/icmp_error.hpp"
#include "kubeproxy/nat/rewrite.hpp"
#include "kubeproxy/nat/split.hpp"

namespace kubeproxy::inline v0_2 {

/// Headers, ports and checksums; a change of family; ICMP errors inside out.
template <packet_buffer P>
class rewrite_stage {
  public:
    explicit rewrite_stage(translation_settings const& settings) noexcept : settings_{settings} {}

    template <ip_version From, ip_version To>
    step<refused<P, From>> operator()(routed<P, From, To>& r) const noexcept {
        auto& packet = *r.card->packet;
        auto const result = rewriter<From, To>{settings_}(packet, r.card->headers, r.after, r.changes);
        if constexpr (std::same_as<From, ipv4> && std::same_as<To, ipv6>)
            r.card->result->is_oversized = result.done() && gso_size_of(packet) == 0 &&
                                           plan_split(packet.bytes(), detail::cut_size(settings_)).pieces > 1;
        return settle(*r.card, result);
    }

    template <ip_version From, ip_version To>
    step<refused<P, From>> operator()(routed_error<P, From, To>& r) const noexcept {
        return settle(*r.card, rewriter<From, To>{settings_}.error(*r.card->packet, r.card->headers, r.after));
    }

  private:
    template <ip_version V>
    static step<refused<P, V>> settle(packet_card<P, V>& card, rewrite_result const& result) noexcept {
        if (result.done()) return card.settle(verdict::forward());
        card.drop(result.why);
        if (!result.answer) return settled{};
        return refused<P, V>{&card, *result.answer};
    }

    translation_settings settings_;
};

} // namespace kubeproxy::inline v0_2
