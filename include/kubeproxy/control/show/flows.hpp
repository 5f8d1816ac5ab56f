#pragma once

#include "kubeproxy/control/config/configuration.hpp"
#include "kubeproxy/service/snapshot.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// What `show` has to say about the data path, as data. The host fills it: flows_of() and clients_of() do it for the
/// tables of this library, which the control path does not know by name.
namespace kubeproxy {
inline namespace v0_2 {

/// An address and a port; port 0 where the protocol has none.
struct flow_side {
    ip_address address{};
    std::uint16_t port = 0;
};

struct flow_view {
    std::string service{};
    std::uint8_t protocol = 0; ///< IANA
    flow_side client{};
    flow_side spoken_to{}; ///< by the client
    flow_side source{};    ///< as the backend sees it
    flow_side backend{};
    bool masqueraded = false;
    std::string_view state{};
    std::chrono::seconds idle{};
    std::chrono::seconds left{}; ///< until it ends if it stays silent
    std::uint64_t packets = 0;   ///< both directions
};

/// A client that session affinity remembers at one Service port.
struct affinity_view {
    std::string service{};
    ip_address client{};
    flow_side backend{};
    std::chrono::seconds left{};
};

struct counter_view {
    std::string name{};
    std::uint64_t value = 0;
};

[[nodiscard]] constexpr std::string_view name(flow_state state) noexcept {
    if (is_tcp_reset(state)) return "reset";
    constexpr std::string_view names[]{"none",
                                       "syn sent",
                                       "syn received",
                                       "picked up",
                                       "refused",
                                       "unconfirmed",
                                       "unconfirmed fin",
                                       "answered",
                                       "answered fin",
                                       "established",
                                       "fin original",
                                       "fin reply",
                                       "closed",
                                       "reset",
                                       "reset",
                                       "",
                                       "",
                                       "",
                                       "",
                                       "",
                                       "",
                                       "",
                                       "",
                                       "", // reset
                                       "unreplied",
                                       "replied",
                                       "assured",
                                       "unreplied",
                                       "replied",
                                       "assured",
                                       "init",
                                       "init acked",
                                       "cookie echoed",
                                       "picked up",
                                       "answered",
                                       "established",
                                       "shutdown",

                                       "closed",
                                       "unreplied",
                                       "replied",
                                       "assured"};
    static_assert(std::size(names) == static_cast<std::size_t>(flow_state::count_));
    auto const i = static_cast<std::size_t>(state);
    return i < std::size(names) ? names[i] : "";
}
static_assert(name(flow_state::tcp_closed) == "closed" && name(flow_state::udp_replied) == "replied" &&
              name(flow_state::sctp_init) == "init" && name(flow_state::sctp_closed) == "closed" &&
              name(flow_state::other_assured) == "assured");

namespace detail {

[[nodiscard]] inline std::string name_of_service(snapshot const* services, std::size_t place) {
    if (place == no_service) return "direct"; // proxy_settings::track_direct
    if (services == nullptr || place >= services->service_count()) return "gone";
    auto const& name = services->service_at(static_cast<std::uint32_t>(place)).name;
    return name ? *name : "gone";
}

/// A record counts the packets behind the one that made it.
template <class Body>
[[nodiscard]] flow_view flow_without_tuples(Body const& body, std::uint32_t now, snapshot const* services) {
    auto const silent = std::min(now - body.last_seen.load(), body.timeout.load()); // flow_time, modulo 2^32
    return {.service = name_of_service(services, body.service),
            .masqueraded = body.is_masqueraded(),
            .state = name(body.state()),
            .idle = std::chrono::seconds{silent / 1000},
            .left = std::chrono::seconds{(body.timeout.load() - silent) / 1000},
            .packets = 1 + std::uint64_t{body.packets[0].load()} + body.packets[1].load()};
}

} // namespace detail

/// All flows of a flow table. \param now of the host's clock, as the proxies get it
/// \pre no worker runs, or the table is shared and the caller is inside its quiescent domain
template <class FlowTable>
[[nodiscard]] std::vector<flow_view> flows_of(FlowTable const& flows, std::chrono::nanoseconds now,
                                              snapshot const* services) {
    auto const milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
    std::vector<flow_view> all;
    flows.for_each([&](auto ref) {
        auto view = detail::flow_without_tuples(flows.body(ref), static_cast<std::uint32_t>(milliseconds), services);
        flows.visit_tuples(ref, [&](auto const& original, auto const& translated) {
            view.protocol = original.protocol;
            view.client = {original.source, original.source_port};
            view.spoken_to = {original.destination, original.destination_port};
            view.source = {translated.source, translated.source_port};
            view.backend = {translated.destination, translated.destination_port};
        });
        all.push_back(std::move(view));
    });
    return all;
}

/// All clients of an affinity table.
template <class FlowTime, class AffinityTable>
[[nodiscard]] std::vector<affinity_view> clients_of(AffinityTable& clients, FlowTime now, snapshot const* services) {
    auto const address = [](ipv6::address const& bytes, auto version) -> ip_address {
        if (version != 4) return bytes;
        return ipv4::address{bytes[0], bytes[1], bytes[2], bytes[3]};
    };
    std::vector<affinity_view> all;
    clients.for_each(now, [&](auto const& key, auto const& choice, std::uint32_t seconds) {
        auto const is_port = [&](service_entry const& s) {
            return s.name && s.affinity_group == key.group && s.port == key.port && s.pod_version == key.version;
        };
        affinity_view view{.service = "gone",
                           .client = address(key.client, key.version),
                           .backend = {address(choice.pod, key.version), choice.port},
                           .left = std::chrono::seconds{seconds}};
        if (services != nullptr) {
            auto const found = std::ranges::find_if(services->services, is_port);
            if (found != services->services.end()) view.service = *found->name;
        }
        all.push_back(std::move(view));
    });
    return all;
}

} // namespace v0_2
} // namespace kubeproxy
