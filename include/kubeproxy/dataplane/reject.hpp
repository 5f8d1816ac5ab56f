#pragma once

#include "kubeproxy/dataplane/context.hpp"
#include "kubeproxy/dataplane/packet_states.hpp"
#include "kubeproxy/nat/rate_limit.hpp"
#include "kubeproxy/nat/reject.hpp"
#include "kubeproxy/nat/tcp_reset.hpp"

namespace kubeproxy {
inline namespace v0_2 {

/// How TCP is told that it goes no further.
enum class tcp_rejection : std::uint8_t { silence, icmp, reset };

struct reject_settings {
    tcp_rejection no_endpoints = tcp_rejection::icmp; ///< a connection to a service without endpoints
    rate_limit rate{};                                ///< of all answers
};

/// Tells the sender why its packet goes no further, in the packet's own buffer.
template <packet_buffer P>
class reject_stage {
  public:
    reject_stage(burst_context const& burst, reject_settings const& settings) noexcept
        : burst_{&burst}, settings_{settings}, limiter_{settings.rate} {}

    template <ip_version V>
    settled operator()(rejected<P, V> p) noexcept {
        auto const why = p.result().what.why();
        auto const how = manner(why, p.headers().protocol);
        if (how == tcp_rejection::silence) return {};
        bool const is_reject = why == drop_reason::no_endpoints;
        if (!limiter_.allow(burst_->clock)) return is_reject ? p.drop(drop_reason::reject_rate_limited) : settled{};
        auto const failed = compose(p, how);
        if (failed == drop_reason::none) return p.settle(verdict::reply(why));
        return is_reject ? p.drop(failed) : settled{};
    }

  private:
    [[nodiscard]] tcp_rejection manner(drop_reason why, std::uint8_t protocol) const noexcept {
        if (why == drop_reason::backend_removed) return tcp_rejection::reset;
        bool const is_refused_connection = why == drop_reason::no_endpoints && protocol == ip_protocol::tcp;
        return is_refused_connection ? settings_.no_endpoints : tcp_rejection::icmp;
    }

    template <ip_version V>
    static drop_reason compose(rejected<P, V> p, tcp_rejection how) noexcept {
        bool const is_segment = p.headers().what == content::ports && !p.headers().is_fragment;
        if (how == tcp_rejection::reset && is_segment) return compose_tcp_reset<V>(p.packet(), p.headers());
        // The address that the sender spoke to: it is the only one of ours that it surely knows.
        return compose_icmp_error<V>(p.packet(), p.headers(), p.answer(), tuple_of(p.headers()).destination);
    }

    burst_context const* burst_;
    reject_settings settings_;
    rate_limiter limiter_;
};

} // namespace v0_2
} // namespace kubeproxy
