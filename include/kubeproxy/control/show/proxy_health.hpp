#pragma once

#include "kubeproxy/control/show/json_text.hpp"

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>

/// Whether the proxy works, and whether its node should get new connections: kube-proxy's /healthz and /livez.
namespace kubeproxy {
inline namespace v0_2 {

/// RFC 3339 in UTC with nanoseconds, as Kubernetes prints times: "2026-01-31T12:00:00.000000001Z".
[[nodiscard]] inline std::string rfc3339_text(std::chrono::system_clock::time_point when) {
    using namespace std::chrono;
    auto const midnight = floor<days>(when);
    year_month_day const date{midnight};
    hh_mm_ss<nanoseconds> const time{floor<nanoseconds>(when - midnight)};
    char text[64];
    std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02d.%09lldZ", int{date.year()}, unsigned{date.month()},
                  unsigned{date.day()}, static_cast<int>(time.hours().count()),
                  static_cast<int>(time.minutes().count()), static_cast<int>(time.seconds().count()),
                  static_cast<long long>(time.subseconds().count()));
    return text;
}

/// What the host knows of the proxy's health.
///
/// The proxy is healthy while all changes that its sources hold reach the data path in time. A change may be waiting as
/// soon as a source cannot be read any more, for example because the watch that feeds it has ended.
struct proxy_health {
    using time = std::chrono::nanoseconds; ///< of a steady clock
    /// kube-proxy's healthTimeout: twice its default sync period of 30 seconds.
    static constexpr time timeout = std::chrono::seconds{60};

    std::chrono::system_clock::time_point last_updated{}; ///< when the data path was last brought up to date
    std::optional<time> waiting_since{}; ///< since when changes may wait to be read or published; none: none do
    bool is_node_eligible = true;        ///< see kubernetes_node.hpp, is_node_eligible()

    [[nodiscard]] bool is_healthy(time now) const noexcept { return !waiting_since || now - *waiting_since < timeout; }
};

/// An HTTP answer of type application/json.
struct health_report {
    unsigned status = 200;
    std::string body{};
};

namespace detail {

/// kube-proxy reports the current time as the last update of a healthy proxy.
[[nodiscard]] inline std::string health_body(proxy_health const& health, bool is_healthy,
                                             std::chrono::system_clock::time_point wall, proxy_health::time now,
                                             std::optional<bool> node_eligible) {
    json_text out;
    out.begin_object().member("lastUpdated", rfc3339_text(is_healthy ? wall : health.last_updated));
    out.member("currentTime", rfc3339_text(wall));
    if (node_eligible) out.key("nodeEligible").truth(*node_eligible);
    out.key("healthy").truth(health.is_healthy(now)).key("status").begin_object();
    for (char const* family : {"IPv4", "IPv6"}) {
        out.key(family).begin_object().member("lastUpdated", rfc3339_text(health.last_updated));
        out.key("healthy").truth(health.is_healthy(now)).end_object();
    }
    out.end_object();
    return std::move(out.end_object()).finish();
}

} // namespace detail

/// Whether the node should get new connections: 503 if the proxy is not healthy, or the node is about to be deleted.
/// \param wall the current time for people, \param now the current time of the clock of `health`
[[nodiscard]] inline health_report healthz(proxy_health const& health, std::chrono::system_clock::time_point wall,
                                           proxy_health::time now) {
    bool const is_healthy = health.is_healthy(now) && health.is_node_eligible;
    return {is_healthy ? 200u : 503u, detail::health_body(health, is_healthy, wall, now, health.is_node_eligible)};
}

/// Whether the proxy works; the state of the node does not count (kubernetes PR#116470).
[[nodiscard]] inline health_report livez(proxy_health const& health, std::chrono::system_clock::time_point wall,
                                         proxy_health::time now) {
    bool const is_healthy = health.is_healthy(now);
    return {is_healthy ? 200u : 503u, detail::health_body(health, is_healthy, wall, now, std::nullopt)};
}

} // namespace v0_2
} // namespace kubeproxy
