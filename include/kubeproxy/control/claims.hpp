#pragma once

#include "kubeproxy/control/config.hpp"
#include "kubeproxy/control/sharded.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

namespace kubeproxy::inline v0_2 {

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

/// A prefix, port and protocol, or a node port, that only one service can have.
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

/// A claim that somebody else has.
struct claim_conflict {
    claim what;
    std::uint32_t owner = 0; ///< slot
};

/// Who has which claim.
class claim_register {
  public:
    /// All claims of the service in this slot, or none and the first that is taken.
    [[nodiscard]] std::optional<claim_conflict> take(service_configuration const& service, std::uint32_t slot) {
        auto const wanted = claims_of(service);
        for (std::size_t i = 0; i < wanted.size(); ++i) {
            auto const [place, is_new] = table_of(wanted[i]).try_emplace(wanted[i], slot);
            if (is_new) continue;
            claim_conflict const conflict{wanted[i], place->second};
            while (i-- > 0) table_of(wanted[i]).erase(wanted[i]);
            return conflict;
        }
        return std::nullopt;
    }
    /// \pre it took them
    void release(service_configuration const& service) {
        for (auto const& c : claims_of(service)) table_of(c).erase(c);
    }

  private:
    using owners = std::unordered_map<claim, std::uint32_t, claim_hash>;

    [[nodiscard]] owners& table_of(claim const& c) noexcept { return owners_.of(claim_hash{}(c)); }
    [[nodiscard]] static std::vector<claim> claims_of(service_configuration const& service) {
        std::vector<claim> all;
        for (auto const& address : service.addresses) add_claims(all, service, address);
        for (std::uint8_t const version : {std::uint8_t{4}, std::uint8_t{6}}) add_node_ports(all, service, version);
        return all;
    }
    static void add_claims(std::vector<claim>& all, service_configuration const& service,
                           service_address const& address) {
        auto const version = static_cast<std::uint8_t>(version_of(address.where));
        for (auto const& port : service.ports)
            for (auto const protocol : protocols_of(port)) all.push_back({address.where, version, protocol, port.port});
        if (address.kind == service_address_kind::cluster_ip) all.push_back({address.where, version, 0, 0});
    }
    static void add_node_ports(std::vector<claim>& all, service_configuration const& service, std::uint8_t version) {
        auto const of_version = [version](service_address const& a) { return version_of(a.where) == version; };
        if (!std::ranges::any_of(service.addresses, of_version)) return;
        for (auto const& port : service.ports) {
            if (port.node_port == 0) continue;
            for (auto const protocol : protocols_of(port))
                all.push_back({std::nullopt, version, protocol, port.node_port});
        }
    }

    sharded<owners> owners_;
};

} // namespace kubeproxy::inline v0_2
