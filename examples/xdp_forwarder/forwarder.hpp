#pragma once

#include "xdp_forwarder/interfaces.hpp"
#include "xdp_forwarder/next_hops.hpp"
#include "xdp_forwarder/packet.hpp"

#include "kubeproxy/kubeproxy.hpp"

#include <poll.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace examples::xdp {

/// What this program itself does with packets, beside the library's verdicts.
struct forwarder_counters {
    std::uint64_t received = 0, sent = 0;
    std::uint64_t not_for_us = 0;  ///< to another station, or too short for IP
    std::uint64_t no_route = 0;    ///< to nowhere
    std::uint64_t no_hop_left = 0; ///< passed by the library, at the end of its way
    std::uint64_t too_long = 0;    ///< for the link that it should leave by
    std::uint64_t ring_full = 0;   ///< the device takes no more
};

/// Each socket in turn, a burst from its ring through the library to the ring of the link that it leaves by: nothing is
/// copied, handed over or waited for in between. One thread.
class forwarder {
  public:
    using proxy = kubeproxy::proxy<packet>;
    static_assert(proxy::headroom + ethernet_header::size <= frame_memory::headroom + 256);

    forwarder(interfaces& links, next_hops const& hops, proxy& path)
        : links_{&links}, hops_{&hops}, proxy_{&path}, waited_(links.sockets().size()) {
        for (std::size_t i = 0; i < waited_.size(); ++i) waited_[i] = {links.sockets()[i].number(), POLLIN, 0};
    }

    /// One round. \return whether there was anything
    bool serve() {
        bool is_busy = false;
        for (std::size_t i = 0; i < waited_.size(); ++i) is_busy |= serve(i);
        for (auto& socket : links_->sockets()) {
            socket.flush();
            socket.refill();
        }
        return is_busy;
    }
    /// Until a packet comes, or something that leaves may be done.
    void sleep() {
        constexpr int idle = 100, sending = 1; // milliseconds
        bool const is_sending = std::ranges::any_of(links_->sockets(), [](auto const& s) { return s.is_sending(); });
        ::poll(waited_.data(), waited_.size(), is_sending ? sending : idle);
    }

    [[nodiscard]] forwarder_counters const& counters() const noexcept { return counters_; }

  private:
    bool serve(std::size_t socket) {
        std::array<packet, proxy::burst_size> burst;
        auto const received = links_->sockets()[socket].receive(burst);
        if (received == 0) return false;
        counters_.received += received;
        std::size_t count = 0;
        for (auto const& p : std::span{burst}.first(received)) {
            if (is_for_us(p))
                burst[count++] = p;
            else
                drop(p, counters_.not_for_us);
        }
        auto const now = std::chrono::steady_clock::now().time_since_epoch();
        proxy_->process(
            std::span{burst}.first(count), now,
            [&](packet& p, kubeproxy::outcome const& o) { settle(p, o.what.what(), socket); },
            [&](packet const& like, std::size_t size) { return spare(like, size); });
        spares_used_ = 0;
        return true;
    }

    [[nodiscard]] bool is_for_us(packet const& p) const noexcept {
        auto const header = read_ethernet(p.frame());
        auto const bytes = p.bytes();
        if (header.destination != links_->facts()[p.link()].mac || bytes.empty()) return false;
        auto const version = kubeproxy::load_be<std::uint8_t>(bytes, 0) >> 4;
        return header.type == (version == 4 ? ether_type::ipv4 : ether_type::ipv6);
    }

    void settle(packet& p, kubeproxy::action what, std::size_t socket) {
        switch (what) {
        case kubeproxy::action::forward:
        case kubeproxy::action::reply: return transmit(p, socket);
        case kubeproxy::action::pass:
            if (!pay_for_hop(p)) return drop(p, counters_.no_hop_left);
            return transmit(p, socket);
        case kubeproxy::action::drop: break;
        }
        links_->memory().give_back(p.address());
    }

    void transmit(packet const& p, std::size_t socket) {
        auto const bytes = p.bytes();
        if (kubeproxy::load_be<std::uint8_t>(bytes, 0) >> 4 == kubeproxy::ipv4::number)
            return transmit<kubeproxy::ipv4>(p, kubeproxy::ipv4_view{bytes}.destination(), socket);
        transmit<kubeproxy::ipv6>(p, kubeproxy::ipv6_view{bytes}.destination(), socket);
    }
    template <kubeproxy::ip_version V>
    void transmit(packet const& p, typename V::address const& destination, std::size_t socket) {
        auto const* hop = hops_->find<V>(destination);
        if (hop == nullptr) return drop(p, counters_.no_route);
        auto const& link = links_->facts()[hop->link];
        if (p.bytes().size() > link.mtu) return drop(p, counters_.too_long);
        write_ethernet(p.frame(), {hop->station, link.mac, ether_type_of<V>});
        if (!links_->leaving_by(hop->link, socket).send(p)) return drop(p, counters_.ring_full);
        ++counters_.sent;
    }

    /// A packet that the library has not seen as one may be anything: it goes no further.
    [[nodiscard]] static bool pay_for_hop(packet const& p) noexcept {
        auto const bytes = p.bytes();
        if (kubeproxy::check_as<kubeproxy::ipv4>(bytes) == kubeproxy::drop_reason::none) {
            kubeproxy::ipv4_editor const ip{bytes};
            if (ip.ttl() <= 1) return false;
            ip.set_ttl(static_cast<std::uint8_t>(ip.ttl() - 1));
            ip.set_checksum(kubeproxy::checksum_plus(ip.checksum(), kubeproxy::opposite(0x0100)));
            return true;
        }
        if (kubeproxy::check_as<kubeproxy::ipv6>(bytes) != kubeproxy::drop_reason::none) return false;
        kubeproxy::ipv6_editor const ip{bytes};
        if (ip.hop_limit() <= 1) return false;
        ip.set_hop_limit(static_cast<std::uint8_t>(ip.hop_limit() - 1));
        return true;
    }

    /// For a packet that becomes several.
    [[nodiscard]] packet* spare(packet const& like, std::size_t size) noexcept {
        constexpr std::size_t front = 256 + frame_memory::headroom;
        if (spares_used_ == spares_.size() || links_->memory().available() == 0 ||
            size > frame_memory::frame_size - front - ethernet_header::size)
            return nullptr;
        auto& next = spares_[spares_used_++];
        next = packet{links_->memory(), links_->memory().take() + front, size + ethernet_header::size, like.link()};
        return &next;
    }

    void drop(packet const& p, std::uint64_t& why) noexcept {
        ++why;
        links_->memory().give_back(p.address());
    }

    interfaces* links_;
    next_hops const* hops_;
    proxy* proxy_;
    forwarder_counters counters_;
    std::array<packet, 2 * proxy::burst_size> spares_{};
    std::size_t spares_used_ = 0;
    std::vector<pollfd> waited_;
};

} // namespace examples::xdp
