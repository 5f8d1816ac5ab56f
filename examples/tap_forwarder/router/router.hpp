#pragma once

#include "kubeproxy/dataplane/outcome.hpp"
#include "kubeproxy/nat/rate_limit.hpp"
#include "tap_forwarder/router/ip_header.hpp"
#include "tap_forwarder/router/ipv4_fragments.hpp"
#include "tap_forwarder/router/link_output.hpp"
#include "tap_forwarder/router/local_delivery.hpp"
#include "tap_forwarder/router/neighbour_answers.hpp"
#include "tap_forwarder/router/reverse_path.hpp"
#include "tap_forwarder/router/routes.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

namespace examples {

/// Where packets go by their destination, of both versions.
struct routing_tables {
    std::tuple<route_table<kubeproxy::ipv4>, route_table<kubeproxy::ipv6>> by_version;

    template <kubeproxy::ip_version V>
    [[nodiscard]] route_table<V>& of() noexcept {
        return std::get<route_table<V>>(by_version);
    }
    template <kubeproxy::ip_version V>
    [[nodiscard]] route_table<V> const& of() const noexcept {
        return std::get<route_table<V>>(by_version);
    }
};

/// A router of IPv4 and IPv6 (RFC 1812, RFC 4443) around the library: admit() what comes in, hand what is admitted to
/// the library, settle() what comes out. Errors about packets that the library has translated are told in its words:
/// take_errors() is to go through the library again.
///
///     frame ─▶ admit ─▶ library ─▶ settle ─▶ forward ─▶ hop limit ─▶ route ─▶ MTU ─▶ neighbour ─▶ frame
///                │         ▲         └─▶ local: echo, refusals          └────────┴─▶ an ICMP error
///                ▼         └────────────────────────────────────────────────────────────┘
///       ARP, neighbour discovery, hop limit exceeded
template <link_port Port, class Answers>
class router {
  public:
    using time = std::chrono::nanoseconds;

    /// \param routes outlive this
    router(link_output<Port>& output, Answers& answers, routing_tables const& routes, reverse_path sources)
        : output_{&output}, answers_{&answers}, routes_{&routes}, sources_{sources}, limiter_{kubeproxy::rate_limit{}} {
    }

    /// A frame that came in, of_frame() done. \return whether the library is next; else the packet has ended
    [[nodiscard]] bool admit(tap_packet& packet, time now) {
        now_ = now;
        auto const frame = packet.frame();
        auto const header = read_ethernet(frame.subspan(vnet_header::size));
        if (!is_group(header.destination) && header.destination != output_->links()[packet.link()].mac())
            return drop(packet, router_drop::not_for_us);
        switch (header.type) {
        case ether_type::ipv4: return admit<kubeproxy::ipv4>(packet, header, read_vnet(frame));
        case ether_type::ipv6: return admit<kubeproxy::ipv6>(packet, header, read_vnet(frame));
        case ether_type::arp: return answers_->take_arp(std::move(packet), now), false;
        default: return drop(packet, router_drop::not_ip);
        }
    }

    /// What the library made of a packet.
    void settle(tap_packet& packet, kubeproxy::outcome const& o, time now) {
        now_ = now;
        switch (o.what.what()) {
        case kubeproxy::action::forward:
            return visit_version(packet, [&]<class V>(V) { forward<V>(std::move(packet)); });
        case kubeproxy::action::pass: return visit_version(packet, [&]<class V>(V) { pass<V>(std::move(packet)); });
        case kubeproxy::action::reply:
            packet.leave_over({});
            packet.set_origin(packet_origin::router);
            return visit_version(packet, [&]<class V>(V) { transmit<V>(std::move(packet)); });
        case kubeproxy::action::drop: break;
        }
        ++counters().dropped_by_library;
        packet.release();
    }

    /// Errors that go to the library, and come to settle() again.
    [[nodiscard]] std::vector<tap_packet>& errors() noexcept { return errors_; }

    /// Every 100 ms or so.
    void tick(time now) {
        now_ = now;
        output_->tick(now, [&]<class V>(tap_packet packet, V) {
            constexpr std::uint8_t v4_host = 1, v6_address = 3;
            constexpr auto code = std::same_as<V, kubeproxy::ipv4> ? v4_host : v6_address;
            if (packet.origin() == packet_origin::router) return counters().drop(router_drop::unresolved);
            refuse<V>(std::move(packet), {kubeproxy::icmp_type<V>::destination_unreachable, code, 0},
                      router_event::host_unreachable);
        });
    }

  private:
    [[nodiscard]] router_counters& counters() const noexcept { return output_->counters(); }
    bool drop(tap_packet& packet, router_drop why) {
        counters().drop(why);
        packet.release();
        return false;
    }

    template <kubeproxy::ip_version V>
    [[nodiscard]] bool admit(tap_packet& packet, ethernet_header const& frame, vnet_header const& offloads) {
        if (kubeproxy::check_as<V>(packet.bytes()) != kubeproxy::drop_reason::none ||
            !is_header_intact<V>(packet.bytes()))
            return drop(packet, router_drop::bad_packet);
        auto const p = kubeproxy::parse_as<V>(packet.bytes());
        packet.truncate(p.bytes.size());
        if constexpr (std::same_as<V, kubeproxy::ipv6>)
            if (is_neighbour_discovery(packet.bytes())) return answers_->take_discovery(std::move(packet), now_), false;
        if (!adopt_offloads(packet, p, offloads)) return drop(packet, router_drop::bad_offload);
        ip_view<V> const ip{packet.bytes()};
        if (!is_one_node(ip.source())) return drop(packet, router_drop::bad_source);
        if (!may_come_from<V>(ip.source(), packet.link())) return drop(packet, router_drop::reverse_path);
        if (is_own<V>(ip.destination(), packet.link())) return true;
        // What was broadcast on the link is not forwarded, whatever its address is (RFC 1812 section 5.3.4).
        if (!is_one_node(ip.destination()) || is_link_local(ip.destination()) || is_link_local(ip.source()) ||
            is_group(frame.destination))
            return drop(packet, router_drop::not_routable);
        if (hops<V>(packet.bytes()) > 1) return true;
        if (make_error<V>(packet, {kubeproxy::icmp_type<V>::time_exceeded, 0, 0}, router_event::hop_limit_exceeded))
            transmit<V>(std::move(packet));
        return false;
    }

    /// Reverse path filtering, of packets as they come in by a link. Link-local addresses are of every link, and our
    /// own addresses of none.
    template <kubeproxy::ip_version V>
    [[nodiscard]] bool may_come_from(typename V::address const& source, std::uint32_t link) const noexcept {
        if (sources_ == reverse_path::off) return true;
        if (is_own<V>(source, link)) return false;
        return is_link_local(source) || has_reverse_path(routes_->of<V>(), source, link, sources_);
    }

    /// A link-local address is ours on its link only.
    template <kubeproxy::ip_version V>
    [[nodiscard]] bool is_own(typename V::address const& a, std::uint32_t on) const noexcept {
        if (is_link_local(a)) return output_->links()[on].template has<V>(a);
        return std::ranges::any_of(output_->links(), [&](router_link const& l) { return l.template has<V>(a); });
    }

    template <kubeproxy::ip_version V>
    void pass(tap_packet packet) {
        if (!is_own<V>(ip_view<V>{packet.bytes()}.destination(), packet.link())) return forward<V>(std::move(packet));
        auto const p = kubeproxy::parse_as<V>(packet.bytes());
        if (p.what != kubeproxy::content::echo && !limiter_.allow(now_))
            return static_cast<void>(drop(packet, router_drop::local));
        auto const answer = answer_locally<V>(packet, p);
        if (answer == local_answer::none) return static_cast<void>(drop(packet, router_drop::local));
        counters().note(answer == local_answer::echo ? router_event::echo_answered : router_event::local_refused);
        packet.set_origin(packet_origin::router);
        transmit<V>(std::move(packet));
    }

    /// This router is a hop, for what it did not make itself.
    template <kubeproxy::ip_version V>
    void forward(tap_packet packet) {
        if (packet.origin() == packet_origin::link) {
            if (hops<V>(packet.bytes()) <= 1) // to an address of ours, and through a service
                return refuse<V>(std::move(packet), {kubeproxy::icmp_type<V>::time_exceeded, 0, 0},
                                 router_event::hop_limit_exceeded);
            decrement_hops(packet.bytes(), V{});
        }
        transmit<V>(std::move(packet));
    }
    template <kubeproxy::ip_version V>
    void transmit(tap_packet packet) {
        auto const to = ip_view<V>{packet.bytes()}.destination();
        if (is_link_local(to)) { // an answer to a neighbour
            auto const on = packet.link();
            return output_->template send<V>(std::move(packet), on, to, now_);
        }
        auto const* found = routes_->of<V>().find(to);
        if (found == nullptr)
            return refuse<V>(std::move(packet), {kubeproxy::icmp_type<V>::destination_unreachable, 0, 0},
                             router_event::no_route);
        if (max_packet_size<V>(packet) > output_->links()[found->link].mtu())
            return too_long(std::move(packet), *found, found->next_hop(to));
        output_->template send<V>(std::move(packet), found->link, found->next_hop(to), now_);
    }

    void too_long(tap_packet packet, route<kubeproxy::ipv4> const& by, kubeproxy::ipv4::address next_hop) {
        using types = kubeproxy::icmp_type<kubeproxy::ipv4>;
        auto const mtu = output_->links()[by.link].mtu();
        bool const is_plain = packet.left_over().checksum == kubeproxy::checksum_state::complete;
        if (!is_plain || kubeproxy::ipv4_view{packet.bytes()}.dont_fragment())
            return refuse<kubeproxy::ipv4>(std::move(packet),
                                           {types::destination_unreachable, 4, static_cast<std::uint32_t>(mtu)},
                                           router_event::too_big);
        auto const plan = plan_fragments(packet.bytes(), mtu);
        counters().note(router_event::fragmented);
        ++counters().consumed;
        for (std::size_t i = 0; i < plan.count; ++i) {
            auto piece = output_->pool().take(fragment_size(packet.bytes(), plan, i), packet.link(), packet.origin());
            if (!piece) return counters().drop(router_drop::no_buffer), void(++counters().made);
            ++counters().made;
            write_fragment(packet.bytes(), plan, i, piece.bytes());
            output_->template send<kubeproxy::ipv4>(std::move(piece), by.link, next_hop, now_);
        }
    }
    void too_long(tap_packet packet, route<kubeproxy::ipv6> const& by, kubeproxy::ipv6::address const&) {
        auto const mtu = output_->links()[by.link].mtu();
        refuse<kubeproxy::ipv6>(
            std::move(packet),
            {kubeproxy::icmp_type<kubeproxy::ipv6>::packet_too_big, 0, static_cast<std::uint32_t>(mtu)},
            router_event::too_big);
    }

    /// The packet may have been translated: the error about it goes through the library.
    template <kubeproxy::ip_version V>
    void refuse(tap_packet packet, kubeproxy::icmp_error_fields const& answer, router_event what) {
        if (make_error<V>(packet, answer, what)) errors_.push_back(std::move(packet));
    }
    /// \return whether the buffer now holds the error; else the packet has ended
    template <kubeproxy::ip_version V>
    [[nodiscard]] bool make_error(tap_packet& packet, kubeproxy::icmp_error_fields const& answer, router_event what) {
        auto const from = own_address<V>(packet.link());
        if (packet.origin() == packet_origin::router || !from || !limiter_.allow(now_))
            return drop(packet, router_drop::unanswered);
        auto const p = kubeproxy::parse_as<V>(packet.bytes());
        if (kubeproxy::compose_icmp_error<V>(packet, p, answer, *from) != kubeproxy::drop_reason::none)
            return drop(packet, router_drop::unanswered);
        counters().note(what);
        packet.leave_over({});
        packet.set_origin(packet_origin::router);
        return true;
    }

    /// By which the router speaks to a link: that link's, else any of its own; a link-local one only if it must.
    template <kubeproxy::ip_version V>
    [[nodiscard]] std::optional<typename V::address> own_address(std::uint32_t on) const noexcept {
        auto const first_global = [](router_link const& l) -> std::optional<typename V::address> {
            for (auto const& station : l.template addresses<V>())
                if (!is_link_local(station.address)) return station.address;
            return std::nullopt;
        };
        if (auto const here = first_global(output_->links()[on])) return here;
        for (auto const& other : output_->links())
            if (auto const there = first_global(other)) return there;
        return std::nullopt;
    }

    link_output<Port>* output_;
    Answers* answers_;
    routing_tables const* routes_;
    reverse_path sources_;
    kubeproxy::rate_limiter limiter_;
    std::vector<tap_packet> errors_;
    time now_{};
};

} // namespace examples
