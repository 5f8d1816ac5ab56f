#pragma once

#include "kubeproxy/control/config/configuration.hpp"
#include "kubeproxy/wire/address_text.hpp"
#include "support/ethernet.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <tuple>
#include <vector>

namespace examples {

/// Our side of a link: a station with a MAC and addresses.
class router_link {
  public:
    static constexpr std::size_t default_mtu = 1500, min_mtu = 1280, max_mtu = 65535;

    router_link(std::string name, mac_address const& mac, std::size_t mtu)
        : name_{std::move(name)}, mac_{mac}, mtu_{mtu} {
        add<kubeproxy::ipv6>(link_local_address(mac), 64);
    }

    template <kubeproxy::ip_version V>
    void add(typename V::address const& address, unsigned length) {
        std::get<stations<V>>(stations_).push_back({address, kubeproxy::prefix<V>::of(address, length)});
    }

    [[nodiscard]] std::string const& name() const noexcept { return name_; }
    [[nodiscard]] mac_address const& mac() const noexcept { return mac_; }
    /// Of IP packets.
    [[nodiscard]] std::size_t mtu() const noexcept { return mtu_; }
    [[nodiscard]] kubeproxy::ipv6::address link_local() const noexcept { return link_local_address(mac_); }

    /// Whether only packets of local pods arrive by this link (detectLocalMode of the node file).
    [[nodiscard]] bool is_of_local_pods() const noexcept { return is_of_local_pods_; }
    void set_of_local_pods(bool is) noexcept { is_of_local_pods_ = is; }

    template <kubeproxy::ip_version V>
    struct station {
        typename V::address address;
        kubeproxy::prefix<V> network;
    };
    /// IPv6: the link-local one first.
    template <kubeproxy::ip_version V>
    [[nodiscard]] std::span<station<V> const> addresses() const noexcept {
        return std::get<stations<V>>(stations_);
    }
    template <kubeproxy::ip_version V>
    [[nodiscard]] bool has(typename V::address const& address) const noexcept {
        return std::ranges::find(addresses<V>(), address, &station<V>::address) != addresses<V>().end();
    }

    /// Whether a station of this link may have the address: it belongs to the link's network, and is not ours.
    template <kubeproxy::ip_version V>
    [[nodiscard]] bool may_have_station(typename V::address const& address) const noexcept {
        auto const contains = [&](station<V> const& s) { return s.network.contains(address); };
        return std::ranges::any_of(addresses<V>(), contains) && !has<V>(address);
    }

  private:
    template <kubeproxy::ip_version V>
    using stations = std::vector<station<V>>;

    std::string name_;
    mac_address mac_;
    std::size_t mtu_;
    bool is_of_local_pods_ = false;
    std::tuple<stations<kubeproxy::ipv4>, stations<kubeproxy::ipv6>> stations_;
};

/// Marks the links that detectLocalMode BridgeInterface or InterfaceNamePrefix names.
inline void mark_pod_links(std::span<router_link> links, kubeproxy::node_configuration const& node) {
    for (auto& link : links) link.set_of_local_pods(node.pod_links && node.pod_links->contain(link.name()));
}

/// fe80::/10 (RFC 4291 section 2.4): of one link, and not forwarded.
[[nodiscard]] constexpr bool is_link_local(kubeproxy::ipv6::address const& a) noexcept {
    return a[0] == std::byte{0xfe} && (a[1] & std::byte{0xc0}) == std::byte{0x80};
}
/// 169.254.0.0/16 (RFC 3927 section 2.7)
[[nodiscard]] constexpr bool is_link_local(kubeproxy::ipv4::address const& a) noexcept {
    return a[0] == std::byte{169} && a[1] == std::byte{254};
}

} // namespace examples
