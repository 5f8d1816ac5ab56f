#pragma once

#include "kubeproxy/dataplane/burst.hpp"
#include "kubeproxy/dataplane/routed.hpp"
#include "kubeproxy/nat/icmp_error.hpp"
#include "kubeproxy/nat/rewrite.hpp"
#include "kubeproxy/nat/split.hpp"

namespace kubeproxy {

/// Headers, ports and checksums; a change of family; ICMP errors inside out.
template <packet_buffer P>
class rewrite_stage {
  public:
    explicit rewrite_stage(translation_settings const& settings) noexcept : settings_{settings} {}

    template <ip_version From, ip_version To>
    step<refused<P, From>> operator()(routed<P, From, To>& r) const noexcept {
        auto const result = rewriter<From, To>{settings_}(*r.packet, r.headers, r.after, r.changes);
        if constexpr (std::same_as<From, ipv4> && std::same_as<To, ipv6>)
            r.so_far.is_oversized = result.done() && gso_size_of(*r.packet) == 0 &&
                                    plan_split(r.packet->bytes(), detail::cut_size(settings_)).pieces > 1;
        return settle(r, result);
    }

    template <ip_version From, ip_version To>
    step<refused<P, From>> operator()(routed_error<P, From, To>& r) const noexcept {
        return settle(r, rewriter<From, To>{settings_}.error(*r.packet, r.headers, r.after));
    }

  private:
    template <template <class, class, class> class Routed, ip_version From, ip_version To>
    static step<refused<P, From>> settle(Routed<P, From, To> const& r, rewrite_result const& result) noexcept {
        auto settled = r.so_far;
        settled.what = result.done() ? verdict::forward() : verdict::drop(result.why);
        if (!result.answer) return settled;
        return refused<P, From>{r.packet, r.headers, *result.answer, settled};
    }

    translation_settings settings_;
};

} // namespace kubeproxy
