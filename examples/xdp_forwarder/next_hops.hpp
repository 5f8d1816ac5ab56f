#pragma once

#include "support/ethernet.hpp"
#include "xdp_forwarder/interfaces.hpp"

#include "kubeproxy/wire/address_text.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <variant>
#include <vector>

namespace examples::xdp {

/// Where packets to these addresses go: out of a link, to a station.
template <kubeproxy::ip_version V>
struct next_hop {
    kubeproxy::prefix<V> to{};
    std::uint32_t link = 0;
    mac_address station{};
};

/// The longest prefix wins. A handful of them, looked at one by one.
class next_hops {
  public:
    template <kubeproxy::ip_version V>
    void add(next_hop<V> const& hop) {
        auto& hops = std::get<std::vector<next_hop<V>>>(by_version_);
        hops.insert(std::ranges::find_if(hops, [&](auto const& h) { return h.to.length < hop.to.length; }), hop);
    }
    /// Null: there is none.
    template <kubeproxy::ip_version V>
    [[nodiscard]] next_hop<V> const* find(typename V::address const& destination) const noexcept {
        for (auto const& hop : std::get<std::vector<next_hop<V>>>(by_version_))
            if (hop.to.contains(destination)) return &hop;
        return nullptr;
    }

  private:
    std::tuple<std::vector<next_hop<kubeproxy::ipv4>>, std::vector<next_hop<kubeproxy::ipv6>>> by_version_;
};

/// Six octets in hexadecimal, colons between them.
[[nodiscard]] inline std::optional<mac_address> parse_mac(std::string_view text) noexcept {
    constexpr std::size_t octets = 6, step = 3;
    if (text.size() != octets * step - 1) return std::nullopt;
    mac_address mac{};
    for (std::size_t i = 0; i < octets; ++i) {
        unsigned value = 0;
        auto const digits = text.substr(i * step, 2);
        auto const [end, error] = std::from_chars(digits.data(), digits.data() + 2, value, 16);
        bool const is_separated = i + 1 == octets || text[i * step + 2] == ':';
        if (error != std::errc{} || end != digits.data() + 2 || !is_separated) return std::nullopt;
        mac[i] = static_cast<std::byte>(value);
    }
    return mac;
}

/// PREFIX@INTERFACE,MAC \throws setup_error
inline void add_route(next_hops& hops, std::string const& text, std::span<interface_facts const> links) {
    auto const refuse = [&](std::string const& why) { throw setup_error{"--route " + text + ": " + why}; };
    auto const at = text.find('@'), comma = text.find(',');
    if (at == std::string::npos || comma == std::string::npos || comma < at) refuse("is no PREFIX@INTERFACE,MAC");
    auto const to = kubeproxy::parse_prefix(std::string_view{text}.substr(0, at));
    if (!to) refuse(text.substr(0, at) + " is no prefix");
    auto const name = text.substr(at + 1, comma - at - 1);
    auto const link = std::ranges::find(links, name, &interface_facts::name);
    if (link == links.end()) refuse("no --interface is " + name);
    auto const mac = parse_mac(std::string_view{text}.substr(comma + 1));
    if (!mac || !is_station(*mac)) refuse(text.substr(comma + 1) + " is no station's MAC");
    std::visit(
        [&]<class V>(kubeproxy::prefix<V> const& prefix) {
            hops.add<V>({prefix, static_cast<std::uint32_t>(link - links.begin()), *mac});
        },
        *to);
}

} // namespace examples::xdp
