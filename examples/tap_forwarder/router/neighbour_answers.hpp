#pragma once

#include "tap_forwarder/router/link_output.hpp"

#include <algorithm>
#include <concepts>
#include <utility>

namespace examples {

/// ARP and neighbour discovery as they come in: questions for our addresses are answered, what others tell is learned.
/// A message of a sender that does not belong to the link's network is dropped, so that nobody can fill the neighbour
/// table with addresses that are never on the link.
///
/// `answers_for(address)` says which addresses beside the router's own it answers for. `told(link, address, mac)` is
/// called with what an answer told, for whoever else wants to know it.
template <link_port Port, class AnswersFor, class Told>
class neighbour_answers {
  public:
    using time = std::chrono::nanoseconds;

    neighbour_answers(link_output<Port>& output, AnswersFor& answers_for, Told told)
        : output_{&output}, answers_for_{&answers_for}, told_{std::move(told)} {}

    /// \param packet what stands behind the Ethernet header
    void take_arp(tap_packet packet, time now) {
        auto const message = read_arp(packet.bytes());
        if (!message) return output_->counters().drop(router_drop::bad_neighbour);
        auto const on = packet.link();
        bool const is_question = message->what == arp_message::operation::request;
        bool const for_us = is_ours<kubeproxy::ipv4>(on, message->target);
        bool const is_probe = kubeproxy::is_unspecified(message->sender); // whether its address is free, RFC 5227
        if (!is_probe && !output_->links()[on].template may_have_station<kubeproxy::ipv4>(message->sender))
            return output_->counters().drop(router_drop::bad_neighbour);
        if (!is_probe) learn<kubeproxy::ipv4>(on, message->sender, message->sender_mac, is_question && for_us, now);
        if (is_question && for_us) return answer(std::move(packet), *message);
        ++output_->counters().consumed;
    }

    /// \pre is_neighbour_discovery(packet.bytes())
    void take_discovery(tap_packet packet, time now) {
        auto const message = read_neighbour_message(packet.bytes());
        if (!message) return drop_discovery(packet);
        auto const on = packet.link();
        bool const is_advertisement = message->type == neighbour_message::advertisement;
        auto const& sender = is_advertisement ? message->target : message->source;
        // Duplicate address detection has no source yet (RFC 4862 section 5.4).
        bool const is_probe = !is_advertisement && kubeproxy::is_unspecified(sender);
        if (!is_probe && !output_->links()[on].template may_have_station<kubeproxy::ipv6>(sender))
            return output_->counters().drop(router_drop::bad_neighbour);
        bool const for_us = !is_advertisement && is_ours<kubeproxy::ipv6>(on, message->target);
        if (message->link_layer && (is_advertisement || for_us))
            learn<kubeproxy::ipv6>(on, sender, *message->link_layer, for_us, now);
        if (for_us) return answer(std::move(packet), *message);
        ++output_->counters().consumed;
    }

  private:
    template <kubeproxy::ip_version V>
    [[nodiscard]] bool is_ours(std::uint32_t on, typename V::address const& address) const {
        return output_->links()[on].template has<V>(address) || (*answers_for_)(address);
    }

    template <kubeproxy::ip_version V>
    void learn(std::uint32_t on, typename V::address const& address, mac_address const& mac, bool wants_us, time now) {
        using told_by = typename neighbours<V, tap_packet>::told_by;
        output_->template learn<V>(on, address, mac, wants_us ? told_by::request : told_by::answer, now);
        told_(on, address, mac);
    }

    /// Router solicitations are common, and this router advertises nothing; the rest is broken.
    void drop_discovery(tap_packet& packet) const {
        constexpr std::uint8_t router_solicitation = 133;
        auto const type = kubeproxy::load_be<std::uint8_t>(packet.bytes(), kubeproxy::ipv6::minimum_header);
        if (type == router_solicitation)
            ++output_->counters().consumed;
        else
            output_->counters().drop(router_drop::bad_neighbour);
    }

    void answer(tap_packet packet, arp_message const& question) {
        auto const& on = output_->links()[packet.link()];
        packet.truncate(arp_message::size);
        write_arp(packet.bytes(), {.what = arp_message::operation::reply,
                                   .sender_mac = on.mac(),
                                   .sender = question.target,
                                   .target_mac = question.sender_mac,
                                   .target = question.sender});
        output_->counters().note(router_event::neighbour_answered);
        auto const number = packet.link();
        output_->emit(std::move(packet), number, {question.sender_mac, on.mac(), ether_type::arp}, {});
    }

    /// Who probes for a free address has none yet, so all nodes are told (RFC 4861 section 7.2.4).
    void answer(tap_packet packet, neighbour_message const& question) {
        static constexpr kubeproxy::ipv6::address all_nodes{
            std::byte{0xff}, std::byte{0x02}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, std::byte{1}};
        using m = neighbour_message;
        auto const number = packet.link();
        auto const& on = output_->links()[number];
        bool const is_probe = kubeproxy::is_unspecified(question.source);
        auto const to = is_probe ? group_mac(all_nodes) : question.link_layer.value_or(mac_of_sender(packet));
        auto reply = output_->pool().take(m::size, number, packet_origin::router);
        if (!reply) return output_->counters().drop(router_drop::no_buffer);
        ++output_->counters().made;
        ++output_->counters().consumed;
        write_neighbour_message(reply.bytes(),
                                {.type = m::advertisement,
                                 .flags = m::is_router | m::override_known | (is_probe ? 0 : m::solicited),
                                 .source = question.target,
                                 .destination = is_probe ? all_nodes : question.source,
                                 .target = question.target,
                                 .link_layer = on.mac()});
        output_->counters().note(router_event::neighbour_answered);
        output_->emit(std::move(reply), number, {to, on.mac(), ether_type::ipv6}, {});
    }
    [[nodiscard]] static mac_address mac_of_sender(tap_packet& packet) noexcept {
        return read_ethernet(packet.frame().subspan(vnet_header::size)).source;
    }

    link_output<Port>* output_;
    AnswersFor* answers_for_;
    Told told_;
};

} // namespace examples
