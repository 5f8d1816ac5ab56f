#pragma once

#include "dpdk_forwarder/forwarder.hpp"
#include "dpdk_forwarder/worker.hpp"

#include "kubeproxy/wire/bytes.hpp"
#include "kubeproxy/wire/checksum.hpp"

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace dpdk {

/// Packets of established flows on a net_null port.
///
/// net_null receives buffers from the pool as fast as they are asked for, with nothing in them. A callback of the
/// receiving queue writes a frame in each, as a device would: requests and replies in random order. Queues are told
/// apart by flow as RSS tells them: all requests of a flow come by one queue, all its replies by one that may be
/// another, for the device knows nothing of what is translated.
class packet_source {
  public:
    static constexpr std::size_t flows = 1000;
    /// 64 bytes on the wire: the device adds four, the sum over the frame.
    static constexpr std::size_t frame_size = 60;

    explicit packet_source(forwarder& all) : port_{all.ports().all()[0]->number()} {
        rte_eth_dev_info about{};
        bool const is_null = rte_eth_dev_info_get(port_, &about) == 0 && std::string{about.driver_name} == "net_null";
        if (!is_null || all.ports().all().size() != 1)
            throw std::runtime_error{"--measure needs one port: --vdev net_null0"};
        require_services(all.control());
        auto const count = all.workers().size();
        for (auto const& w : all.workers()) queues_.push_back(std::make_unique<queue>(queue{.number = w->index()}));
        for (std::size_t flow = 0; flow < flows; ++flow) {
            auto const [request, reply] = establish(all, flow);
            queues_[flow % count]->frames.push_back(request);
            queues_[flow / count % count]->frames.push_back(reply);
        }
        for (auto& q : queues_) listen(*q);
    }
    packet_source(packet_source const&) = delete;
    packet_source& operator=(packet_source const&) = delete;
    ~packet_source() {
        for (auto const& q : queues_)
            if (q->callback != nullptr) (void)rte_eth_remove_rx_callback(port_, q->number, q->callback);
    }

  private:
    using bytes = std::array<std::byte, 64>; // one copy of a cache line

    struct queue {
        std::vector<bytes> frames = {};
        std::size_t next = 0;
        std::uint16_t number = 0;
        rte_eth_rxtx_callback const* callback = nullptr;
    };

    static void require_services(kubeproxy::controller& control) {
        std::string ku = "ku vip 203.0.113.0/24 port 53 target_port 5353\nku pod 203.0.113.0/24";
        for (unsigned pod = 1; pod <= 10; ++pod) ku += " 10.244.0." + std::to_string(pod);
        if (auto const result = control.apply(ku); !result.ok()) throw std::runtime_error{result.error->reason};
    }

    /// Flow number `flow`: 250 clients, four ports each, to 200 addresses of the service.
    [[nodiscard]] static bytes request(std::size_t flow) {
        bytes frame{};
        std::span<std::byte> const packet = std::span{frame}.subspan(14, frame_size - 14);
        using kubeproxy::store_be;
        store_be<std::uint16_t>(frame, 12, examples::ether_type_ipv4);
        store_be<std::uint16_t>(packet, 0, 0x4500);
        store_be<std::uint16_t>(packet, 2, static_cast<std::uint16_t>(packet.size()));
        store_be<std::uint16_t>(packet, 8, 0x4011);                                                // 64 hops, UDP
        store_be<std::uint32_t>(packet, 12, 0xc6336401u + static_cast<std::uint32_t>(flow % 250)); // 198.51.100.1
        store_be<std::uint32_t>(packet, 16, 0xcb007101u + static_cast<std::uint32_t>(flow % 200)); // 203.0.113.1
        store_be(packet, 10, kubeproxy::checksum_of(kubeproxy::sum_of(packet.first(20))));
        store_be(packet, 20, static_cast<std::uint16_t>(40000 + flow / 250));
        store_be<std::uint16_t>(packet, 22, 53);
        store_be(packet, 24, static_cast<std::uint16_t>(packet.size() - 20));
        auto const pseudo = kubeproxy::sum_of(packet.subspan(12, 8)) + 17 + packet.size() - 20;
        store_be(packet, 26,
                 kubeproxy::udp_checksum(kubeproxy::checksum_of(pseudo + kubeproxy::sum_of(packet.subspan(20)))));
        return frame;
    }

    /// A packet back to its sender: no sum changes.
    [[nodiscard]] static bytes answered(bytes frame) noexcept {
        std::swap_ranges(frame.begin() + 26, frame.begin() + 30, frame.begin() + 30);
        std::swap_ranges(frame.begin() + 34, frame.begin() + 36, frame.begin() + 36);
        return frame;
    }

    /// Sends a request of the flow and the pod's reply through the library, and keeps both as they came in.
    [[nodiscard]] static std::pair<bytes, bytes> establish(forwarder& all, std::size_t flow) {
        auto const sent = request(flow);
        auto const reply = answered(forwarded(all, sent));
        if (forwarded(all, reply) != answered(sent)) throw std::runtime_error{"a reply did not find its way back"};
        return {sent, reply};
    }

    [[nodiscard]] static bytes forwarded(forwarder& all, bytes frame) {
        auto* const buffer = rte_pktmbuf_alloc(&all.ports().pool());
        if (buffer == nullptr) throw std::runtime_error{"no buffer"};
        write(*buffer, frame);
        mbuf_packet packet{*buffer, 14};
        auto& self = *all.workers()[0];
        bool is_forwarded = false;
        self.proxy().process(std::span{&packet, 1}, self.clock().now(), [&](mbuf_packet&, kubeproxy::outcome const& o) {
            is_forwarded = o.what == kubeproxy::verdict::forward();
        });
        std::memcpy(frame.data(), rte_pktmbuf_mtod(buffer, void*), frame_size);
        rte_pktmbuf_free(buffer);
        if (!is_forwarded) throw std::runtime_error{"a packet of the source was not forwarded"};
        return frame;
    }

    static void write(rte_mbuf& buffer, bytes const& frame) noexcept {
        std::memcpy(rte_pktmbuf_mtod(&buffer, void*), frame.data(), frame.size());
        buffer.data_len = frame_size;
        buffer.pkt_len = frame_size;
    }

    void listen(queue& q) {
        std::shuffle(q.frames.begin(), q.frames.end(), std::mt19937_64{1});
        auto const fill = [](std::uint16_t, std::uint16_t, rte_mbuf** buffers, std::uint16_t count, std::uint16_t,
                             void* argument) -> std::uint16_t {
            auto& self = *static_cast<queue*>(argument);
            for (auto* const buffer : std::span{buffers, count}) {
                write(*buffer, self.frames[self.next]);
                self.next = self.next + 1 == self.frames.size() ? 0 : self.next + 1;
            }
            return count;
        };
        q.callback = rte_eth_add_rx_callback(port_, q.number, fill, &q);
        if (q.callback == nullptr) throw std::runtime_error{"DPDK is built without callbacks"};
    }

    std::uint16_t port_;
    std::vector<std::unique_ptr<queue>> queues_;
};

} // namespace dpdk
