#pragma once

#include "kubeproxy/control/config/configuration.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <forward_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

/// The protocols of a service port as frontends have them; 0 is every protocol.
[[nodiscard]] inline std::span<std::uint8_t const> protocols_of(service_port const& port) noexcept {
    static constexpr std::uint8_t all[]{0}, tcp_and_udp[]{6, 17}, tcp[]{6}, udp[]{17}, sctp[]{132};
    switch (port.protocol) {
    case service_protocol::any: break;
    case service_protocol::tcp: return tcp;
    case service_protocol::udp: return udp;
    case service_protocol::sctp: return sctp;
    }
    if (port.port == 0) return all;
    return tcp_and_udp;
}

[[nodiscard]] inline std::string_view protocol_name(std::uint8_t protocol) noexcept {
    switch (protocol) {
    case 6: return "tcp";
    case 17: return "udp";
    case 132: return "sctp";
    default: return "any protocol";
    }
}

/// A prefix, port and protocol, or a node port, that only one service can serve.
struct claim {
    std::optional<ip_prefix> where; ///< none: a node port
    std::uint8_t version = 4;
    std::uint8_t protocol = 0;
    std::uint16_t port = 0;

    [[nodiscard]] friend bool operator==(claim const&, claim const&) = default;
    [[nodiscard]] std::string text() const {
        std::string result = where ? to_text(*where) : "node port " + std::to_string(port);
        if (where) result += port == 0 ? ", all ports" : " port " + std::to_string(port);
        return result + (protocol == 0 ? std::string{} : ' ' + std::string{protocol_name(protocol)});
    }
};

/// It does not throw, so that a table needs not keep it beside each claim.
struct claim_hash {
    [[nodiscard]] std::size_t operator()(claim const& c) const noexcept {
        std::uint64_t h = std::uint64_t{c.version} << 32 | std::uint64_t{c.protocol} << 16 | c.port;
        auto const mix = [&h](auto const& p) {
            for (auto const byte : p.address) h = (h ^ std::to_integer<std::uint64_t>(byte)) * 0x100000001b3u; // FNV-1a
            h = (h ^ p.length) * 0x100000001b3u;
        };
        if (c.where) std::visit(mix, *c.where);
        return static_cast<std::size_t>(h ^ h >> 32);
    }
};

/// Which services have precedence over others that make the same claim.
enum class claim_rank : std::uint8_t {
    own_address,  ///< cluster IPs, VIPs of the `ku` language and node ports
    outer_address ///< load-balancer IPs and external IPs: whoever may create a Service can write any address there
};

struct ranked_claim {
    claim what;
    claim_rank rank = claim_rank::own_address;
};

/// A service as a configuration has it, with those of its claims that another service serves.
struct configured_service : service_configuration {
    std::forward_list<claim> lost{}; ///< almost always empty, so it takes one pointer only
};

[[nodiscard]] inline bool is_lost(configured_service const& service, claim const& c) noexcept {
    return !service.lost.empty() && std::ranges::find(service.lost, c) != service.lost.end();
}

/// Whether `ku` lines made the service.
[[nodiscard]] inline bool is_of_ku(service_configuration const& service) noexcept {
    return !service.addresses.empty() && service.addresses.front().kind == service_address_kind::vip;
}

[[nodiscard]] constexpr claim_rank rank_of(service_address_kind kind) noexcept {
    switch (kind) {
    case service_address_kind::vip:
    case service_address_kind::cluster_ip: break;
    case service_address_kind::load_balancer_ip:
    case service_address_kind::external_ip: return claim_rank::outer_address;
    }
    return claim_rank::own_address;
}

/// \pre the service makes the claim
[[nodiscard]] inline claim_rank rank_of(service_configuration const& service, claim const& c) noexcept {
    for (auto const& address : service.addresses)
        if (c.where && address.where == *c.where) return rank_of(address.kind);
    return claim_rank::own_address;
}

namespace detail {

/// A cluster IP is claimed without a port, too, because it rejects packets to all other ports.
inline void add_claims(std::vector<ranked_claim>& all, service_configuration const& service,
                       service_address const& address) {
    auto const version = static_cast<std::uint8_t>(version_of(address.where));
    auto const rank = rank_of(address.kind);
    for (auto const& port : service.ports)
        for (auto const protocol : protocols_of(port))
            all.push_back({{address.where, version, protocol, port.port}, rank});
    if (address.kind == service_address_kind::cluster_ip) all.push_back({{address.where, version, 0, 0}, rank});
}

inline void add_node_ports(std::vector<ranked_claim>& all, service_configuration const& service, std::uint8_t version) {
    auto const of_version = [version](service_address const& a) { return version_of(a.where) == version; };
    if (!std::ranges::any_of(service.addresses, of_version)) return;
    for (auto const& port : service.ports) {
        if (port.node_port == 0) continue;
        for (auto const protocol : protocols_of(port))
            all.push_back({{std::nullopt, version, protocol, port.node_port}, claim_rank::own_address});
    }
}

} // namespace detail

/// Everything that the service claims: no claim is there twice, as check_service() sees to that.
[[nodiscard]] inline std::vector<ranked_claim> claims_of(service_configuration const& service) {
    std::vector<ranked_claim> all;
    for (auto const& address : service.addresses) detail::add_claims(all, service, address);
    for (std::uint8_t const version : {std::uint8_t{4}, std::uint8_t{6}}) detail::add_node_ports(all, service, version);
    return all;
}

} // namespace v0_2
} // namespace kubeproxy
