#pragma once

#include "kubeproxy/dataplane/proxy.hpp"
#include "tap_forwarder/link/segmentation.hpp"
#include "tap_forwarder/router/router.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace examples {

using forwarder_proxy = kubeproxy::proxy<tap_packet, kubeproxy::shared_flow_table>;

/// What all workers share. All outlive them.
struct shared_data_plane {
    kubeproxy::service_source& services;
    kubeproxy::shared_flow_table& flows;
    kubeproxy::shared_affinity_table& clients;
    std::span<router_link const> links;
    routing_tables const& routes;
};

/// Which addresses beside the router's own it answers for on a link.
enum class proxied_addresses : std::uint8_t { none, services };

struct packet_path_settings {
    kubeproxy::proxy_settings proxy{};
    neighbour_settings neighbours{};
    proxied_addresses answer_for = proxied_addresses::none;
    reverse_path sources = reverse_path::strict;
    std::size_t buffers = 1024;
};

/// A worker's view of whom it answers for.
class service_addresses {
  public:
    service_addresses(kubeproxy::service_source& services, proxied_addresses which)
        : reader_{services}, which_{which} {}

    template <class Address>
    [[nodiscard]] bool operator()(Address const& address) {
        using version =
            std::conditional_t<std::same_as<Address, kubeproxy::ipv4::address>, kubeproxy::ipv4, kubeproxy::ipv6>;
        if (which_ == proxied_addresses::none) return false;
        kubeproxy::read_side_section const section{reader_};
        return section.services() != nullptr && section.services()->template frontends<version>().covers(address);
    }

  private:
    kubeproxy::service_reader reader_;
    proxied_addresses which_;
};

/// From frame to frame: the router and the library in it, for one worker. No threads, devices or clock in here.
///
/// `told(link, address, mac)` hears what neighbours told, for other workers.
template <link_port Port, class Told>
class packet_path {
  public:
    using time = std::chrono::nanoseconds;
    static constexpr std::size_t burst_size = forwarder_proxy::burst_size;
    /// What a burst may hold before it goes on: super-packets of a larger one would leave the cache.
    static constexpr std::size_t burst_bytes = 256 * 1024;
    static_assert(tap_packet::front_room - tap_packet::link_headers >= forwarder_proxy::headroom);

    packet_path(shared_data_plane const& shared, packet_path_settings const& settings, Port& port, Told told)
        : pool_{settings.buffers}, output_{shared.links, port, pool_, counters_, settings.neighbours},
          proxied_{shared.services, settings.answer_for}, answers_{output_, proxied_, std::move(told)},
          router_{output_, answers_, shared.routes, settings.sources}, proxy_{shared.flows, shared.clients,
                                                                              shared.services, settings.proxy} {
        spares_.reserve(max_spares);
    }
    packet_path(packet_path const&) = delete;
    packet_path& operator=(packet_path const&) = delete;

    /// To be read into; none when all buffers are in use.
    [[nodiscard]] tap_packet buffer(std::uint32_t link) {
        auto packet = pool_.take(tap_packet::max_bytes, link, packet_origin::link);
        packet.set_from_local_pod(output_.links()[link].is_of_local_pods());
        return packet;
    }
    /// A frame of `size` bytes, its virtio-net header included, that stands in the buffer's frame_room().
    void take(tap_packet packet, std::size_t size, time now) {
        ++counters_.received;
        if (size < tap_packet::link_headers) return counters_.drop(router_drop::truncated_frame);
        packet.of_frame(size);
        if (!router_.admit(packet, now)) return;
        visit_version(packet, [&]<class V>(V) { enter<V>(std::move(packet), now); });
    }
    [[nodiscard]] bool is_full() const noexcept { return waiting_ == burst_size || waiting_bytes_ >= burst_bytes; }
    /// Sends what was taken on its way.
    void flush(time now) {
        if (waiting_ != 0) {
            ++burst_sizes_[waiting_ - 1];
            run(std::span{burst_}.first(std::exchange(waiting_, 0)), now);
            waiting_bytes_ = 0;
        }
        run_errors(now); // also of packets that were not admitted
    }
    /// Every 100 ms or so, also when nothing comes: neighbours that do not answer, flows that have expired.
    void tick(time now) {
        router_.tick(now);
        proxy_.tick(
            now, [&](tap_packet& p, kubeproxy::outcome const& o) { router_.settle(p, o, now); },
            [&](std::size_t size) -> tap_packet* {
                auto packet = pool_.take(size, 0, packet_origin::router);
                if (!packet || spares_.size() == max_spares) return nullptr;
                ++counters_.made;
                return &spares_.emplace_back(std::move(packet));
            });
        spares_.clear();
        run_errors(now);
    }
    /// What a neighbour told another worker.
    template <kubeproxy::ip_version V>
    void learn_neighbour(std::uint32_t link, typename V::address const& address, mac_address const& mac, time now) {
        output_.template learn<V>(link, address, mac, neighbours<V, tap_packet>::told_by::answer, now);
    }

    [[nodiscard]] router_counters const& counters() const noexcept { return counters_; }
    [[nodiscard]] kubeproxy::verdict_counters const& verdicts() const noexcept { return proxy_.verdicts(); }
    /// Bursts by the packets in them: element i counts those of i + 1.
    [[nodiscard]] std::array<std::uint64_t, burst_size> const& burst_sizes() const noexcept { return burst_sizes_; }

  private:
    /// Twice what the longest packet becomes.
    static constexpr std::size_t max_spares = 2 * kubeproxy::max_pieces;
    using answers_type = neighbour_answers<Port, service_addresses, Told>;

    template <kubeproxy::ip_version V>
    void enter(tap_packet packet, time now) {
        if (!needs_plain_packets<V>(packet)) return push(std::move(packet), now);
        if (packet.gso_size() != 0) return segment<V>(std::move(packet), now);
        complete_checksum(packet, kubeproxy::parse_as<V>(packet.bytes()));
        counters_.note(router_event::checksum_completed);
        push(std::move(packet), now);
    }
    void push(tap_packet packet, time now) {
        if (waiting_ == burst_size) flush(now);
        waiting_bytes_ += packet.bytes().size();
        burst_[waiting_++] = std::move(packet);
    }
    template <kubeproxy::ip_version V>
    void segment(tap_packet whole, time now) {
        auto const plan = plan_segments<V>(whole);
        counters_.note(router_event::segmented);
        ++counters_.consumed;
        for (std::size_t i = 0; i < plan.count; ++i) {
            auto one = pool_.take(segment_size(whole, plan, i), whole.link(), whole.origin());
            ++counters_.made;
            if (!one) return counters_.drop(router_drop::no_buffer);
            one.set_from_local_pod(whole.is_from_local_pod());
            write_segment<V>(whole, plan, i, one);
            push(std::move(one), now);
        }
    }

    void run(std::span<tap_packet> packets, time now) {
        proxy_.process(
            packets, now, [&](tap_packet& p, kubeproxy::outcome const& o) { router_.settle(p, o, now); },
            [&](tap_packet& like, std::size_t size) -> tap_packet* { return spare(like, size); });
        spares_.clear();
    }
    [[nodiscard]] tap_packet* spare(tap_packet const& like, std::size_t size) {
        if (spares_.size() == max_spares) return nullptr;
        auto packet = pool_.take(size, like.link(), like.origin());
        if (!packet) return nullptr;
        ++counters_.made;
        return &spares_.emplace_back(std::move(packet));
    }
    /// Errors are about packets that are no errors, so this ends.
    void run_errors(time now) {
        while (!router_.errors().empty()) {
            auto errors = std::exchange(router_.errors(), {});
            run(errors, now);
        }
    }

    router_counters counters_;
    packet_pool pool_;
    link_output<Port> output_;
    service_addresses proxied_;
    answers_type answers_;
    router<Port, answers_type> router_;
    forwarder_proxy proxy_;
    std::array<tap_packet, burst_size> burst_;
    std::size_t waiting_ = 0;
    std::size_t waiting_bytes_ = 0;
    std::vector<tap_packet> spares_;
    std::array<std::uint64_t, burst_size> burst_sizes_{};
};

} // namespace examples
