#pragma once

#include "kubeproxy/wire/address_text.hpp"
#include "support/command_line.hpp"
#include "support/startup_error.hpp"
#include "tap_forwarder/link/router_link.hpp"
#include "tap_forwarder/link/tap_device.hpp"
#include "tap_forwarder/router/router.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

/// From what the command line says of links and routes to links, routes and devices.
namespace examples {

/// An address of ours, and the length of its link's prefix.
struct interface_address {
    kubeproxy::ip_address address{};
    unsigned length = 0;
};

/// --tap NAME[@NETNS][,ADDRESS/LENGTH]...[,mtu=N]
struct tap_option {
    std::string text;
    std::string name{};
    std::string netns{};
    std::vector<interface_address> addresses{};
    std::optional<std::size_t> mtu{};
};

/// --route PREFIX@GATEWAY
struct route_option {
    std::string text;
    kubeproxy::ip_prefix to;
    kubeproxy::ip_address gateway;
};

namespace detail {

[[nodiscard]] inline std::optional<interface_address> read_interface_address(std::string_view text) noexcept {
    auto const slash = text.find('/');
    if (slash == std::string_view::npos) return std::nullopt;
    auto const address = kubeproxy::parse_address(text.substr(0, slash));
    auto const length = read_number<std::size_t>(text.substr(slash + 1));
    if (!address || !length || *length > (address->index() == 0 ? 32u : 128u)) return std::nullopt;
    return interface_address{*address, static_cast<unsigned>(*length)};
}

[[nodiscard]] inline std::size_t read_mtu(std::string const& option, std::string_view text) {
    auto const mtu = read_number<std::size_t>(text);
    if (!mtu || *mtu < router_link::min_mtu || *mtu > router_link::max_mtu)
        throw startup_error{option + ": an MTU is " + std::to_string(router_link::min_mtu) + " to " +
                            std::to_string(router_link::max_mtu)};
    return *mtu;
}

[[nodiscard]] inline bool names_one_node(kubeproxy::ip_address const& a) noexcept {
    return std::visit(
        [](auto const& address) {
            return !kubeproxy::is_multicast(address) && !kubeproxy::is_unspecified(address) &&
                   !kubeproxy::is_loopback(address);
        },
        a);
}

} // namespace detail

[[nodiscard]] inline tap_option read_tap_option(std::string const& text) {
    tap_option tap{.text = text};
    auto const option = "--tap " + text;
    std::size_t const comma = std::min(text.find(','), text.size());
    auto const device = std::string_view{text}.substr(0, comma);
    auto const at = std::min(device.find('@'), device.size());
    tap.name = device.substr(0, at);
    if (at != device.size()) tap.netns = device.substr(at + 1);
    std::string_view rest = std::string_view{text}.substr(comma);
    while (!rest.empty()) {
        rest.remove_prefix(1);
        auto const one = rest.substr(0, std::min(rest.find(','), rest.size()));
        rest.remove_prefix(one.size());
        if (one.starts_with("mtu=")) {
            tap.mtu = detail::read_mtu(option, one.substr(4));
            continue;
        }
        auto const address = detail::read_interface_address(one);
        if (!address || !detail::names_one_node(address->address))
            throw startup_error{option + ": \"" + std::string{one} + "\" is no ADDRESS/LENGTH of an interface"};
        tap.addresses.push_back(*address);
    }
    return tap;
}

[[nodiscard]] inline route_option read_route_option(std::string const& text) {
    auto const at = text.find('@');
    auto const to = kubeproxy::parse_prefix(std::string_view{text}.substr(0, at));
    if (!to || at == std::string::npos) throw startup_error{"--route " + text + ": PREFIX@GATEWAY is wanted"};
    auto const gateway = kubeproxy::parse_address(std::string_view{text}.substr(at + 1));
    if (!gateway || gateway->index() != to->index())
        throw startup_error{"--route " + text + ": the gateway is no address of the prefix's IP version"};
    return {text, *to, *gateway};
}

[[nodiscard]] inline std::vector<router_link> make_links(std::span<tap_option const> taps, std::size_t mtu) {
    std::vector<router_link> links;
    for (auto const& tap : taps) {
        if (std::ranges::find(links, tap.name, &router_link::name) != links.end())
            throw startup_error{"--tap " + tap.text + ": there are two of this name"};
        auto& made = links.emplace_back(tap.name, mac_for(tap.name), tap.mtu.value_or(mtu));
        for (auto const& [address, length] : tap.addresses) {
            if (auto const* v4 = std::get_if<kubeproxy::ipv4::address>(&address))
                made.add<kubeproxy::ipv4>(*v4, length);
            if (auto const* v6 = std::get_if<kubeproxy::ipv6::address>(&address))
                made.add<kubeproxy::ipv6>(*v6, length);
        }
    }
    return links;
}

[[nodiscard]] inline std::size_t max_link_mtu(std::span<router_link const> links) noexcept {
    std::size_t longest = router_link::min_mtu;
    for (auto const& l : links) longest = std::max(longest, l.mtu());
    return longest;
}

namespace detail {

template <kubeproxy::ip_version V>
void add_connected(route_table<V>& routes, std::span<router_link const> links) {
    for (std::uint32_t i = 0; i < links.size(); ++i)
        for (auto const& station : links[i].template addresses<V>())
            if (!is_link_local(station.address)) routes.add({.to = station.network, .link = i});
}

template <kubeproxy::ip_version V>
void add_given(route_table<V>& routes, route_option const& given) {
    auto const& gateway = std::get<typename V::address>(given.gateway);
    auto const* connected = routes.find(gateway);
    if (connected == nullptr || connected->gateway)
        throw startup_error{"--route " + given.text + ": no --tap has an address next to the gateway"};
    routes.add({.to = std::get<kubeproxy::prefix<V>>(given.to), .link = connected->link, .gateway = gateway});
}

} // namespace detail

[[nodiscard]] inline routing_tables make_routes(std::span<router_link const> links,
                                                std::span<route_option const> given) {
    routing_tables routes;
    detail::add_connected(routes.of<kubeproxy::ipv4>(), links);
    detail::add_connected(routes.of<kubeproxy::ipv6>(), links);
    for (auto const& one : given) {
        if (one.to.index() == 0)
            detail::add_given(routes.of<kubeproxy::ipv4>(), one);
        else
            detail::add_given(routes.of<kubeproxy::ipv6>(), one);
    }
    return routes;
}

[[nodiscard]] inline std::vector<tap_device> open_devices(std::span<tap_option const> taps, std::size_t queues,
                                                          std::size_t mtu, queue_choice choice) {
    std::vector<tap_device> devices;
    for (auto const& tap : taps) {
        try {
            devices.emplace_back(tap_request{.name = tap.name,
                                             .netns = tap.netns,
                                             .queues = queues,
                                             .mtu = tap.mtu.value_or(mtu),
                                             .choice = choice});
        } catch (device_error const& wrong) {
            throw startup_error{"--tap " + tap.text + ": " + wrong.what()};
        }
    }
    return devices;
}

} // namespace examples
