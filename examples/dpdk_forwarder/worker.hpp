#pragma once

#include "dpdk_forwarder/addressing.hpp"
#include "dpdk_forwarder/clock.hpp"
#include "dpdk_forwarder/departures.hpp"
#include "dpdk_forwarder/frame_counters.hpp"
#include "dpdk_forwarder/mbuf_packet.hpp"
#include "dpdk_forwarder/offloads.hpp"
#include "dpdk_forwarder/port.hpp"

#include "kubeproxy/dataplane/proxy.hpp"
#include "kubeproxy/flow/table.hpp"

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_prefetch.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace dpdk {

/// A port as workers use it: who gets what it receives, and how.
struct port_link {
    std::uint16_t number = 0;
    std::uint16_t receive_queues = 0;
    std::uint16_t peer = 0; ///< where packets that go on leave; may be the port itself
    std::uint64_t send_offloads = 0;
    next_hop hop{};                                           ///< of frames that leave here
    std::atomic<std::uint8_t> maps_stateless_replies_ipv4{0}; ///< `ku set interface nat4 in`; from the control path
    std::atomic<std::uint8_t> maps_stateless_replies_ipv6{0};
};

/// Whether the library sees packets.
enum class work : std::uint8_t {
    proxy,   ///< kube-proxy
    baseline ///< frames are looked at, counted, addressed and forwarded
};

/// Run to completion: what one lcore does with the frames of its queue of every port.
///
///     rte_eth_rx_burst -> sort: not IP, chained, IP -> proxy.process -> depart: offloads, link header ->
///     rte_eth_tx_burst
class worker {
  public:
    using proxy_type = kubeproxy::proxy<mbuf_packet, kubeproxy::shared_flow_table>;
    static constexpr std::size_t burst_size = proxy_type::burst_size;
    /// For packets that become several, and fragments that waited for their first one, of one burst.
    static constexpr std::size_t max_spares = 4 * kubeproxy::max_pieces;
    static_assert(RTE_PKTMBUF_HEADROOM >= proxy_type::headroom);

    worker(std::uint16_t index, std::span<port_link> ports, packet_clock clock, kubeproxy::shared_flow_table& flows,
           kubeproxy::shared_affinity_table& clients, kubeproxy::service_source& services,
           kubeproxy::proxy_settings const& settings)
        : index_{index}, ports_{ports}, clock_{clock}, proxy_{flows, clients, services, settings} {}
    worker(worker const&) = delete;
    worker& operator=(worker const&) = delete;

    /// Handles one burst of every port, and says how many frames that were.
    template <work What>
    std::size_t poll() noexcept {
        std::size_t frames = 0;
        for (auto& port : ports_)
            if (index_ < port.receive_queues) frames += poll<What>(port);
        return frames;
    }

    [[nodiscard]] std::uint16_t index() const noexcept { return index_; }
    [[nodiscard]] proxy_type& proxy() noexcept { return proxy_; }
    [[nodiscard]] proxy_type const& proxy() const noexcept { return proxy_; }
    [[nodiscard]] kubeproxy::verdict_counters const& baseline() const noexcept { return baseline_; }
    [[nodiscard]] frame_counters const& frames() const noexcept { return frames_; }
    [[nodiscard]] packet_clock const& clock() const noexcept { return clock_; }

  private:
    /// A frame that leaves, or ends.
    struct departure {
        mbuf_packet* packet; ///< null: no IP packet
        rte_mbuf* frame;
        kubeproxy::action what;
    };
    using queue = send_queue<burst_size + max_spares>;

    template <work What>
    std::size_t poll(port_link& port) noexcept {
        std::array<rte_mbuf*, burst_size> received;
        std::size_t const count = rte_eth_rx_burst(port.number, index_, received.data(), burst_size);
        if (count == 0) return 0;
        auto const frames = std::span{received}.first(count);
        for (auto* frame : frames) rte_prefetch0(rte_pktmbuf_mtod(frame, void*));
        sort(frames, port);
        if constexpr (What == work::proxy)
            translate(std::span{packets_}.first(packet_count_));
        else
            count_only(std::span{packets_}.first(packet_count_));
        leave_others(burst_size);
        depart(port, ports_[port.peer]);
        return count;
    }

    void sort(std::span<rte_mbuf* const> frames, port_link const& port) noexcept {
        packet_count_ = other_count_ = next_other_ = departure_count_ = spare_count_ = 0;
        mbuf_packet::stateless_reply_setting maps;
        maps.ipv4 = port.maps_stateless_replies_ipv4.load(std::memory_order_relaxed) & 1;
        maps.ipv6 = port.maps_stateless_replies_ipv6.load(std::memory_order_relaxed) & 1;
        for (std::size_t i = 0; i < frames.size(); ++i) {
            auto& frame = *frames[i];
            if (frame.nb_segs != 1) {
                frames_.count(frame_event::chained);
                rte_pktmbuf_free(&frame);
                continue;
            }
            auto const header = examples::find_ip(examples::link_layer::ethernet,
                                                  {rte_pktmbuf_mtod(&frame, std::byte*), frame.data_len});
            if (!header || header->size > mbuf_packet::maximum_link_header) {
                others_[other_count_++] = {&frame, i};
                continue;
            }
            auto& packet = packets_[packet_count_++] = mbuf_packet{frame, header->size};
            packet.set_place(i);
            packet.set_stateless_replies_of(maps);
        }
        if (other_count_ != 0) frames_.count(frame_event::not_ip, other_count_);
    }

    /// Packets whose times are apart go in bursts of their own.
    void translate(std::span<mbuf_packet> packets) noexcept {
        while (!packets.empty()) {
            auto const group = clock_.same_time(packets);
            proxy_.process(
                group, clock_.now(), [this](mbuf_packet& p, kubeproxy::outcome const& o) { settle(p, o.what.what()); },
                [this](mbuf_packet const& like, std::size_t size) { return spare(like, size); });
            packets = packets.subspan(group.size());
        }
    }

    void count_only(std::span<mbuf_packet> packets) noexcept {
        for (auto& packet : packets) {
            baseline_.count(kubeproxy::verdict::forward());
            settle(packet, kubeproxy::action::forward);
        }
    }

    void settle(mbuf_packet& packet, kubeproxy::action what) noexcept {
        leave_others(packet.place());
        departures_[departure_count_++] = {&packet, &packet.frame(), what};
    }

    /// Frames without an IP packet leave in their place among the others.
    void leave_others(std::size_t before) noexcept {
        for (; next_other_ < other_count_ && others_[next_other_].place < before; ++next_other_)
            departures_[departure_count_++] = {nullptr, others_[next_other_].frame, kubeproxy::action::pass};
    }

    mbuf_packet* spare(mbuf_packet const& like, std::size_t size) noexcept {
        if (spare_count_ == max_spares) return nullptr;
        auto* const frame = allocate_like(like, size);
        if (frame == nullptr) return nullptr;
        auto& packet = spares_[spare_count_++] = mbuf_packet{*frame, like.link().size()};
        packet.set_place(like.place());
        return &packet;
    }

    void depart(port_link const& from, port_link const& to) noexcept {
        for (auto& d : std::span{departures_}.first(departure_count_)) {
            switch (d.what) {
            case kubeproxy::action::forward:
                close_frame(*d.packet);
                send(d, to);
                break;
            case kubeproxy::action::pass: send(d, to); break;
            case kubeproxy::action::reply:
                forget_offloads(*d.packet);
                close_frame(*d.packet);
                swap_addresses(*d.frame);
                back_.add(*d.frame);
                break;
            case kubeproxy::action::drop: rte_pktmbuf_free(d.frame); break;
            }
        }
        auto const unsent =
            onward_.flush(to.number, index_, to.send_offloads) + back_.flush(from.number, index_, from.send_offloads);
        if (unsent != 0) frames_.count(frame_event::send_queue_full, unsent);
    }

    void send(departure const& d, port_link const& to) noexcept {
        if (d.packet != nullptr && !settle_offloads(*d.packet, to.send_offloads)) {
            frames_.count(frame_event::no_offload);
            rte_pktmbuf_free(d.frame);
            return;
        }
        address_frame(*d.frame, to.hop);
        onward_.add(*d.frame);
    }

    std::uint16_t index_;
    std::span<port_link> ports_;
    packet_clock clock_;
    std::array<mbuf_packet, burst_size> packets_;
    struct other {
        rte_mbuf* frame;
        std::size_t place;
    };
    std::array<other, burst_size> others_;
    std::array<mbuf_packet, max_spares> spares_;
    std::array<departure, burst_size + max_spares> departures_;
    std::size_t packet_count_ = 0, other_count_ = 0, next_other_ = 0, spare_count_ = 0, departure_count_ = 0;
    queue onward_, back_;
    frame_counters frames_;
    kubeproxy::verdict_counters baseline_;
    proxy_type proxy_;
};

} // namespace dpdk
