#pragma once

#include "dpdk_forwarder/frame_counters.hpp"
#include "dpdk_forwarder/port.hpp"
#include "dpdk_forwarder/worker.hpp"

#include "kubeproxy/control/show/flows.hpp"
#include "kubeproxy/verdict.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

/// What the ports, the workers and the library counted, beside each other.
namespace dpdk {

using worker_list = std::span<std::unique_ptr<worker> const>;
using port_list = std::span<std::unique_ptr<ethernet_port> const>;

[[nodiscard]] inline std::uint64_t frames_of(worker_list workers, frame_event event) {
    std::uint64_t total = 0;
    for (auto const& w : workers) total += w->frames().frames(event);
    return total;
}

/// Verdicts of all workers.
class verdict_sum {
  public:
    explicit verdict_sum(worker_list workers) noexcept : workers_{workers} {}
    [[nodiscard]] std::uint64_t packets(kubeproxy::action what) const noexcept {
        return sum([&](auto const& counters) { return counters.packets(what); });
    }
    [[nodiscard]] std::uint64_t dropped(kubeproxy::drop_reason why) const noexcept {
        return sum([&](auto const& counters) { return counters.dropped(why); });
    }
    [[nodiscard]] std::uint64_t replied(kubeproxy::drop_reason why) const noexcept {
        return sum([&](auto const& counters) { return counters.replied(why); });
    }

  private:
    template <class Of>
    [[nodiscard]] std::uint64_t sum(Of of) const noexcept {
        std::uint64_t total = 0;
        for (auto const& w : workers_) total += of(w->proxy().verdicts()) + of(w->baseline());
        return total;
    }
    worker_list workers_;
};

/// What `show counters` prints: of frames and reasons what is not zero.
[[nodiscard]] inline std::vector<kubeproxy::counter_view> counter_views(port_list ports, worker_list workers) {
    std::vector<kubeproxy::counter_view> all;
    for (auto const& port : ports) {
        auto const c = port->counters();
        auto const add = [&](char const* what, std::uint64_t n) { all.push_back({port->name() + '.' + what, n}); };
        add("received", c.received);
        add("missed", c.missed);
        add("receive_errors", c.receive_errors);
        add("sent", c.sent);
        add("send_errors", c.send_errors);
    }
    auto const add = [&](std::string name, std::uint64_t n) {
        if (n != 0) all.push_back({std::move(name), n});
    };
    for (std::size_t i = 0; i < frame_event_count; ++i) {
        auto const event = static_cast<frame_event>(i);
        add("frames." + std::string{name(event)}, frames_of(workers, event));
    }
    verdict_sum const verdicts{workers};
    using kubeproxy::action;
    for (auto const what : {action::forward, action::pass, action::reply, action::drop})
        all.push_back({"library." + std::string{name(what)}, verdicts.packets(what)});
    for (std::size_t i = 1; i < kubeproxy::drop_reason_count; ++i) {
        auto const why = static_cast<kubeproxy::drop_reason>(i);
        add("library.drop." + std::string{name(why)}, verdicts.dropped(why));
        add("library.reply." + std::string{name(why)}, verdicts.replied(why));
    }
    return all;
}

} // namespace dpdk
