#pragma once

#include "tap_forwarder/link/packet_offloads.hpp"
#include "tap_forwarder/link/router_link.hpp"
#include "tap_forwarder/router/arp.hpp"
#include "tap_forwarder/router/neighbour_discovery.hpp"
#include "tap_forwarder/router/neighbours.hpp"
#include "tap_forwarder/router/router_counters.hpp"

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace examples {

/// What became of a frame that was given to a device.
enum class write_result : std::uint8_t { sent, down, refused };

/// The devices, by the numbers of their links.
template <class Port>
concept link_port = requires(Port& port, std::uint32_t link, byte_span frame) {
    { port.write(link, frame) } -> std::same_as<write_result>;
};

/// Stations next to us, and the packets that wait for their MACs.
template <kubeproxy::ip_version V>
using stations = neighbours<V, tap_packet>;

/// The last step of a packet: to a station next to us, in a frame, once its MAC is known.
template <link_port Port>
class link_output {
  public:
    using time = std::chrono::nanoseconds;

    /// The part of the buffers that packets may hold while they wait for neighbours, so that reading never stops.
    static constexpr std::size_t held_part = 4;

    /// All outlive this.
    link_output(std::span<router_link const> links, Port& port, packet_pool& pool, router_counters& counters,
                neighbour_settings const& settings)
        : links_{links}, port_{&port}, pool_{&pool}, counters_{&counters}, held_{pool.capacity() / held_part},
          stations4_{held_, settings}, stations6_{held_, settings} {}

    [[nodiscard]] std::span<router_link const> links() const noexcept { return links_; }
    [[nodiscard]] packet_pool& pool() const noexcept { return *pool_; }
    [[nodiscard]] router_counters& counters() const noexcept { return *counters_; }

    /// \pre `packet` is no longer than the link's MTU
    template <kubeproxy::ip_version V>
    void send(tap_packet packet, std::uint32_t on, typename V::address const& next_hop, time now) {
        neighbour_key<V> const who{next_hop, on};
        auto const known = of<V>().resolve(who, now, drop_waiting());
        if (known.must_ask) ask<V>(who, known.mac);
        if (known.mac != nullptr) return emit<V>(std::move(packet), on, *known.mac);
        ++counters_->waiting;
        if (auto given_up = of<V>().hold(who, std::move(packet))) drop_waiting()(std::move(*given_up));
    }

    /// A frame with the packet, whatever it is.
    template <kubeproxy::ip_version V>
    void emit(tap_packet packet, std::uint32_t on, mac_address const& to) {
        auto const offloads = described<V>(packet);
        emit(std::move(packet), on, {to, links_[on].mac(), ether_type_of<V>}, offloads);
    }
    void emit(tap_packet packet, std::uint32_t on, ethernet_header const& header, vnet_header const& offloads) {
        auto const frame = packet.frame();
        write_vnet(frame, offloads);
        write_ethernet(frame.subspan(vnet_header::size), header);
        switch (port_->write(on, frame)) {
        case write_result::sent: ++counters_->sent; break;
        case write_result::down: counters_->drop(router_drop::link_down); break;
        case write_result::refused: counters_->drop(router_drop::link_refused); break;
        }
    }

    /// A station told its MAC; what waited for it goes out. \return whether that was news
    template <kubeproxy::ip_version V>
    bool learn(std::uint32_t on, typename V::address const& address, mac_address const& mac,
               typename stations<V>::told_by how, time now) {
        auto const release = [&](tap_packet packet) {
            --counters_->waiting;
            emit<V>(std::move(packet), on, mac);
        };
        bool const is_new = of<V>().learn({address, on}, mac, how, now, release, drop_waiting());
        if (is_new) counters_->note(router_event::neighbour_learned);
        return is_new;
    }

    /// Every now and then. Calls give_up(packet, version) for packets whose neighbour does not answer.
    template <class GiveUp>
    void tick(time now, GiveUp&& give_up) {
        tick<kubeproxy::ipv4>(now, give_up);
        tick<kubeproxy::ipv6>(now, give_up);
    }

  private:
    template <kubeproxy::ip_version V>
    [[nodiscard]] stations<V>& of() noexcept {
        if constexpr (std::same_as<V, kubeproxy::ipv4>)
            return stations4_;
        else
            return stations6_;
    }
    /// Takes packets that need not wait any longer, because others have the room.
    [[nodiscard]] auto drop_waiting() noexcept {
        return [this](tap_packet) {
            --counters_->waiting;
            counters_->drop(router_drop::unresolved);
        };
    }

    template <kubeproxy::ip_version V, class GiveUp>
    void tick(time now, GiveUp& give_up) {
        of<V>().tick(
            now, [&](auto const& who, mac_address const* mac) { ask<V>(who, mac); },
            [&](tap_packet packet) {
                --counters_->waiting;
                counters_->note(router_event::neighbour_unreachable);
                give_up(std::move(packet), V{});
            });
    }

    /// \param known null: the whole link is asked
    template <kubeproxy::ip_version V>
    void ask(neighbour_key<V> const& who, mac_address const* known) {
        auto request = pool_->take(question_size<V>, who.link, packet_origin::router);
        if (!request) return;
        ++counters_->made;
        counters_->note(router_event::neighbour_asked);
        write_question(request, who, known);
    }
    template <kubeproxy::ip_version V>
    static constexpr std::size_t question_size =
        std::same_as<V, kubeproxy::ipv4> ? arp_message::size : neighbour_message::size;

    void write_question(tap_packet& request, neighbour_key<kubeproxy::ipv4> const& who, mac_address const* known) {
        auto const& on = links_[who.link];
        write_arp(request.bytes(),
                  {.sender_mac = on.mac(), .sender = source_for(on, who.address), .target = who.address});
        emit(std::move(request), who.link, {known != nullptr ? *known : broadcast_mac, on.mac(), ether_type::arp}, {});
    }
    void write_question(tap_packet& request, neighbour_key<kubeproxy::ipv6> const& who, mac_address const* known) {
        auto const& on = links_[who.link];
        auto const group = solicited_node(who.address);
        write_neighbour_message(request.bytes(), {.source = on.link_local(),
                                                  .destination = known != nullptr ? who.address : group,
                                                  .target = who.address,
                                                  .link_layer = on.mac()});
        emit(std::move(request), who.link, {known != nullptr ? *known : group_mac(group), on.mac(), ether_type::ipv6},
             {});
    }
    /// Of the neighbour's network: others may not answer (RFC 826 says nothing, hosts do).
    [[nodiscard]] static kubeproxy::ipv4::address source_for(router_link const& on,
                                                             kubeproxy::ipv4::address neighbour) {
        kubeproxy::ipv4::address source{};
        for (auto const& station : on.addresses<kubeproxy::ipv4>()) {
            if (station.network.contains(neighbour)) return station.address;
            if (kubeproxy::is_unspecified(source)) source = station.address;
        }
        return source;
    }

    std::span<router_link const> links_;
    Port* port_;
    packet_pool* pool_;
    router_counters* counters_;
    held_packets<tap_packet> held_; ///< of both versions
    stations<kubeproxy::ipv4> stations4_;
    stations<kubeproxy::ipv6> stations6_;
};

} // namespace examples
