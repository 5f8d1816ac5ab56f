#pragma once

#include "kubeproxy/dataplane/outcome.hpp"
#include "kubeproxy/nat/split.hpp"
#include "kubeproxy/wire/packet_buffer.hpp"

#include <array>
#include <concepts>
#include <cstddef>

/// One packet becomes several: the buffers are the host's.
namespace kubeproxy {
inline namespace v0_2 {

/// A host without spare buffers: what would become several packets is dropped.
struct no_spares {
    template <packet_buffer P>
    P* operator()(P&, std::size_t) const noexcept {
        return nullptr;
    }
};

template <class Spare, class P>
concept spare_source = requires(Spare& spare, P& like, std::size_t size) {
    { spare(like, size) } -> std::convertible_to<P*>;
};

/// More pieces than the longest packet has at the smallest MTU: 65,535 / (1280 - 48 - 7).
inline constexpr std::size_t max_pieces = 54;

/// Cuts an IPv6 packet with a fragment header, and tells of each piece, in order. All pieces or none: with a buffer
/// too few, the packet and the buffers taken are told of as dropped.
template <packet_buffer P, class Spare, class Tell>
void cut_packet(P& packet, outcome o, std::size_t mtu, Spare& spare, Tell&& tell) {
    o.is_oversized = false;
    mutable_byte_span const whole = packet.bytes();
    auto const plan = plan_split(whole, mtu);
    std::array<P*, max_pieces> pieces{};
    std::size_t taken = 1;
    for (; taken < plan.pieces && taken < max_pieces; ++taken) {
        pieces[taken] = spare(packet, mtu);
        if (pieces[taken] == nullptr) break;
        pieces[taken]->truncate(write_piece(whole, plan, taken, pieces[taken]->bytes()));
    }
    if (taken == plan.pieces)
        keep_first_piece(packet, plan);
    else
        o.what = verdict::drop(drop_reason::no_spare_packet);
    tell(packet, o);
    if (o.relation == flow_relation::fresh) o.relation = flow_relation::original;
    for (std::size_t i = 1; i < taken; ++i) tell(*pieces[i], o);
}

} // namespace v0_2
} // namespace kubeproxy
