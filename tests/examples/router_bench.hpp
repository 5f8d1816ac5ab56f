#pragma once

#include "support/packet_builder.hpp"
#include "tap_forwarder/worker/packet_path.hpp"

#include "kubeproxy/control/controller.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

/// The router of the TAP forwarder with its devices played by the test: frames in, frames out.
namespace examples::router_bench_support {

using kubeproxy::seed::octets;
namespace seed = kubeproxy::seed;

inline constexpr mac_address client_mac{std::byte{2}, {}, {}, {}, {}, std::byte{0xc}};
inline constexpr mac_address pod_mac{std::byte{2}, {}, {}, {}, {}, std::byte{0xd}};
/// Stands for the MAC of our side of the link that a frame comes in by.
inline constexpr mac_address our_mac{std::byte{2}, std::byte{1}, {}, {}, {}, {}};

inline octets octets_of(mac_address const& mac) { return {mac.begin(), mac.end()}; }

/// With its virtio-net header, as a device delivers it.
inline octets frame_of(mac_address const& from, mac_address const& to, std::uint16_t type, octets const& content,
                       vnet_header const& offloads = {}) {
    octets vnet(vnet_header::size);
    write_vnet(vnet, offloads);
    return seed::joined({vnet, octets_of(to), octets_of(from), seed::be16(type), content});
}
inline octets ip_frame(mac_address const& from, octets const& packet, mac_address const& to = our_mac,
                       vnet_header const& offloads = {}) {
    bool const is_ipv4 = std::to_integer<unsigned>(packet.at(0)) >> 4 == 4;
    return frame_of(from, to, is_ipv4 ? ether_type::ipv4 : ether_type::ipv6, packet, offloads);
}
/// TCP or UDP that the device is to cut, its checksum partial. \param header of IP
inline octets super_frame(mac_address const& from, octets packet, std::size_t header, std::uint16_t gso_size) {
    bool const is_tcp = packet.at(header == 20 ? 9 : 6) == std::byte{6};
    auto const addresses = header == 20 ? octets(packet.begin() + 12, packet.begin() + 20)
                                        : octets(packet.begin() + 8, packet.begin() + 40);
    auto const sum = seed::internet_checksum(
        seed::joined({addresses, seed::be32(packet.size() - header), seed::be32(is_tcp ? 6 : 17)}));
    for (std::size_t i = 0; i < 2; ++i) packet.at(header + (is_tcp ? 16 : 6) + i) = ~sum[i];
    std::uint8_t const tcp = header == 20 ? vnet_header::gso_tcpv4 : vnet_header::gso_tcpv6;
    return ip_frame(from, packet, our_mac,
                    {.flags = vnet_header::needs_checksum,
                     .gso_type = is_tcp ? tcp : vnet_header::gso_udp,
                     .gso_size = gso_size,
                     .checksum_start = static_cast<std::uint16_t>(14 + header),
                     .checksum_offset = static_cast<std::uint16_t>(is_tcp ? 16 : 6)});
}

/// RFC 826, octet by octet.
inline octets arp(unsigned operation, mac_address const& sender_mac, std::string const& sender,
                  mac_address const& target_mac, std::string const& target) {
    return seed::joined({seed::of({0, 1, 8, 0, 6, 4, 0, operation}), octets_of(sender_mac),
                         kubeproxy::build::address(sender), octets_of(target_mac), kubeproxy::build::address(target)});
}
inline octets arp_request(mac_address const& from, std::string const& sender, std::string const& target) {
    return frame_of(from, broadcast_mac, ether_type::arp, arp(1, from, sender, {}, target));
}
inline octets arp_reply(mac_address const& from, std::string const& sender, mac_address const& to,
                        std::string const& target) {
    return frame_of(from, our_mac, ether_type::arp, arp(2, from, sender, to, target));
}
/// RFC 4861 section 4.3, octet by octet; a probe if the sender is "::".
inline octets solicitation(mac_address const& from, std::string const& sender, std::string const& target) {
    auto const address = kubeproxy::build::address(target);
    auto message = seed::joined({seed::icmp(135, 0, 0, {}), address});
    if (sender != "::") message = seed::joined({message, seed::of({1, 1}), octets_of(from)});
    char group[32];
    std::snprintf(group, sizeof group, "ff02::1:ff%02x:%02x%02x", std::to_integer<unsigned>(address[13]),
                  std::to_integer<unsigned>(address[14]), std::to_integer<unsigned>(address[15]));
    auto const packet = kubeproxy::build::bytes_of(
        {.source = sender, .destination = group, .protocol = 58, .message = message, .ttl = 255});
    return ip_frame(from, packet,
                    {std::byte{0x33}, std::byte{0x33}, std::byte{0xff}, address[13], address[14], address[15]});
}

inline std::string address_text(octets const& packet, std::size_t at4, std::size_t at6) {
    if (packet.size() < 40 && (packet.empty() || std::to_integer<unsigned>(packet[0]) >> 4 != 4)) return "none";
    if (std::to_integer<unsigned>(packet[0]) >> 4 == 4)
        return kubeproxy::to_text(kubeproxy::load_object<kubeproxy::ipv4::address>(packet, at4));
    return kubeproxy::to_text(kubeproxy::load_object<kubeproxy::ipv6::address>(packet, at6));
}
inline std::string source_of(octets const& packet) { return address_text(packet, 12, 8); }
inline std::string destination_of(octets const& packet) { return address_text(packet, 16, 24); }

/// What a UDP server sends back: addresses and ports exchanged. The checksum covers both sides alike.
inline octets reply_to(octets packet) {
    bool const is_ipv4 = std::to_integer<unsigned>(packet[0]) >> 4 == 4;
    auto const exchange = [&](std::ptrdiff_t at, std::ptrdiff_t size) {
        std::swap_ranges(packet.begin() + at, packet.begin() + at + size, packet.begin() + at + size);
    };
    is_ipv4 ? exchange(12, 4) : exchange(8, 16);
    exchange(is_ipv4 ? 20 : 40, 2);
    return packet;
}

/// A frame that the router sent.
struct sent_frame {
    std::uint32_t link = 0;
    octets bytes; ///< with its virtio-net header

    [[nodiscard]] vnet_header offloads() const { return read_vnet(bytes); }
    [[nodiscard]] ethernet_header ethernet() const { return read_ethernet(behind(vnet_header::size)); }
    [[nodiscard]] octets behind_ethernet() const { return behind(tap_packet::link_headers); }
    [[nodiscard]] octets packet() const { return behind_ethernet(); }
    [[nodiscard]] octets behind(std::size_t n) const {
        return {bytes.begin() + static_cast<std::ptrdiff_t>(n), bytes.end()};
    }
};

/// The devices: they keep what is sent, or refuse it.
struct played_devices {
    std::vector<sent_frame> sent;
    write_result result = write_result::sent;

    [[nodiscard]] write_result write(std::uint32_t link, byte_span frame) {
        if (result == write_result::sent) sent.push_back({link, {frame.begin(), frame.end()}});
        return result;
    }
};

class router_bench {
  public:
    explicit router_bench(proxied_addresses answer_for = proxied_addresses::none, std::size_t pods_mtu = 1500,
                          reverse_path sources = reverse_path::strict)
        : links_{make_links(pods_mtu)}, routes_{make_routes(links_)}, path_{{services_, flows_, clients_, links_,
                                                                             routes_},
                                                                            {.answer_for = answer_for,
                                                                             .sources = sources},
                                                                            devices_,
                                                                            {}} {}

    void configure(std::string_view ku) { ASSERT_TRUE(control_.apply(ku).ok()); }
    void recognize_pods_by(kubeproxy::pod_link_names const& names) {
        auto node = control_.configuration().node();
        node.pod_links = names;
        mark_pod_links(links_, node);
        ASSERT_FALSE(control_.configuration().set_node(std::move(node)));
        control_.publish();
    }
    void receive(std::uint32_t link, octets frame, std::chrono::nanoseconds now = {}) {
        if (frame.size() >= tap_packet::link_headers && std::equal(our_mac.begin(), our_mac.end(), frame.begin() + 10))
            std::ranges::copy(mac(link), frame.begin() + 10);
        auto packet = path_.buffer(link);
        ASSERT_TRUE(packet) << "a buffer was lost";
        kubeproxy::copy_bytes(packet.frame_room(), frame);
        path_.take(std::move(packet), frame.size(), now);
        path_.flush(now);
    }
    void tick(std::chrono::nanoseconds now) { path_.tick(now); }

    [[nodiscard]] std::vector<sent_frame> const& sent() const noexcept { return devices_.sent; }
    void clear() { devices_.sent.clear(); }
    /// The last packet of IP that left by a link; empty: none did.
    [[nodiscard]] octets last_ip(std::uint32_t link) const {
        for (auto one = sent().rbegin(); one != sent().rend(); ++one)
            if (one->link == link && one->ethernet().type != ether_type::arp) return one->packet();
        return {};
    }
    [[nodiscard]] router_counters const& counters() const noexcept { return path_.counters(); }
    [[nodiscard]] mac_address const& mac(std::uint32_t link) const noexcept { return links_[link].mac(); }

    /// From now on devices do not take frames.
    void refuse(write_result how) noexcept { devices_.result = how; }

  private:
    struct nobody {
        template <class Address>
        void operator()(std::uint32_t, Address const&, mac_address const&) const noexcept {}
    };

    [[nodiscard]] static std::vector<router_link> make_links(std::size_t pods_mtu) {
        std::vector<router_link> links{{"client", mac_for("client"), 1500}, {"pods", mac_for("pods"), pods_mtu}};
        add<kubeproxy::ipv4>(links[0], "192.0.2.1", 24);
        add<kubeproxy::ipv6>(links[0], "2001:db8::1", 64);
        add<kubeproxy::ipv4>(links[1], "10.244.1.1", 24);
        add<kubeproxy::ipv6>(links[1], "fd00:244::1", 64);
        return links;
    }
    template <class V>
    static void add(router_link& to, std::string const& address, unsigned length) {
        to.add<V>(*kubeproxy::parse_address<V>(address), length);
    }
    /// Connected ones; what NAT46 makes of clients is behind the client's link.
    [[nodiscard]] static routing_tables make_routes(std::vector<router_link> const& links) {
        routing_tables routes;
        for (std::uint32_t i = 0; i < links.size(); ++i) {
            for (auto const& s : links[i].addresses<kubeproxy::ipv4>())
                routes.of<kubeproxy::ipv4>().add({.to = s.network, .link = i});
            for (auto const& s : links[i].addresses<kubeproxy::ipv6>())
                if (!is_link_local(s.address)) routes.of<kubeproxy::ipv6>().add({.to = s.network, .link = i});
        }
        return routes;
    }

    std::vector<router_link> links_;
    routing_tables routes_;
    kubeproxy::service_source services_;
    kubeproxy::shared_flow_table flows_{{1024, 1024}, kubeproxy::secret{1}, services_};
    kubeproxy::shared_affinity_table clients_{64, kubeproxy::secret{1}};
    kubeproxy::controller control_{services_};
    played_devices devices_;
    packet_path<played_devices, nobody> path_;
};

} // namespace examples::router_bench_support
