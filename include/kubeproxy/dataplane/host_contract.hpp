#pragma once

#include "kubeproxy/service/publication.hpp"
#include "kubeproxy/sync/setup_error.hpp"

#include <stdexcept>

/// What a host must provide to a proxy, and the errors that it gets if it does not.
namespace kubeproxy {
inline namespace v0_2 {
namespace detail {

/// The table. A worker that enters another domain than the table's could read a flow record while another worker reuses
/// it, so this fails.
template <class Table>
[[nodiscard]] Table& in_domain_of(Table& flows, service_source& services) {
    auto const* const domain = flows.quiescence();
    if (domain != nullptr && domain != &services.quiescence())
        fail_set_up(std::invalid_argument{"the flow table and the service_source of a proxy have different quiescent "
                                          "domains; make the table with the "
                                          "source of its proxies: shared_flow_table{size, secret, services}"});
    return flows;
}

/// Calls f() at the end of a scope that done() has not been called in: when an exception ends it.
template <class F>
class unless_done {
  public:
    explicit unless_done(F f) noexcept : f_{f} {}
    unless_done(unless_done const&) = delete;
    unless_done& operator=(unless_done const&) = delete;
    ~unless_done() {
        if (!is_done_) f_();
    }
    void done() noexcept { is_done_ = true; }

  private:
    F f_;
    bool is_done_ = false;
};

} // namespace detail
} // namespace v0_2
} // namespace kubeproxy
