#pragma once

#include "kubeproxy/dataplane/burst.hpp"
#include "kubeproxy/dataplane/packet_states.hpp"
#include "kubeproxy/service/publication.hpp"
#include "kubeproxy/sync/setup_error.hpp"

#include <atomic>
#include <cassert>
#include <stdexcept>
#include <type_traits>

/// What a host must provide to a proxy, and the errors that it gets if it does not.
namespace kubeproxy {
inline namespace v0_2 {

/// The host has no stage of its own.
struct no_stage {};

namespace detail {

template <class Stage, class P>
inline constexpr bool takes_some_packet =
    std::is_same_v<Stage, no_stage> || takes<Stage, seen<P, ipv4>> || takes<Stage, seen<P, ipv6>>;
template <class Stage, class P, ip_version V>
using fault_of = decltype(fault_at<Stage, seen<P, V>>());
template <class Stage, class P>
inline constexpr bool never_throws = !std::is_same_v<fault_of<Stage, P, ipv4>, stage_may_throw<Stage, seen<P, ipv4>>> &&
                                     !std::is_same_v<fault_of<Stage, P, ipv6>, stage_may_throw<Stage, seen<P, ipv6>>>;
template <class Stage, class P>
inline constexpr bool returns_packets =
    !never_throws<Stage, P> ||
    (std::is_same_v<fault_of<Stage, P, ipv4>, no_fault> && std::is_same_v<fault_of<Stage, P, ipv6>, no_fault>);

/// Stages point to parts of their proxy, so a proxy stays where it is.
template <class Proxy>
struct a_proxy_cannot_be_moved {
    static_assert(!std::is_class_v<Proxy>,
                  "a proxy cannot be moved, as in a std::vector: keep proxies in a std::deque, "
                  "in a std::array, or each behind a std::unique_ptr");
    static service_source& services;
};

/// The table. A worker that enters another domain than the table's could read a flow record while another worker reuses
/// it, so this fails.
template <class Table>
[[nodiscard]] Table& in_domain_of(Table& flows, service_source& services) {
    auto const* const domain = flows.quiescence();
    if (domain != nullptr && domain != &services.quiescence())
        fail_setup(std::invalid_argument{"the flow table and the service_source of a proxy have different quiescent "
                                         "domains; make the table with the source of its proxies: "
                                         "shared_flow_table{size, secret, services}"});
    return flows;
}

/// An assertion that no call of a proxy begins before another one has ended. It has no effect with NDEBUG.
class one_call_at_a_time {
  public:
    class scope {
      public:
        explicit scope(one_call_at_a_time& calls) noexcept : calls_{&calls} { calls_->begin(); }
        scope(scope const&) = delete;
        scope& operator=(scope const&) = delete;
        ~scope() { calls_->end(); }

      private:
        one_call_at_a_time* calls_;
    };

    void begin() noexcept {
        assert(!is_running_.exchange(true, std::memory_order_relaxed) &&
               "two threads use one proxy at a time, or its callback does: each worker needs a proxy of its own");
    }
    void end() noexcept { assert(is_running_.exchange(false, std::memory_order_relaxed)); }

  private:
    std::atomic<bool> is_running_{false}; ///< unused with NDEBUG; kept so that the layout is the same
};

} // namespace detail
} // namespace v0_2
} // namespace kubeproxy
