#pragma once

#include "kubeproxy/dataplane/packet_states.hpp"
#include "kubeproxy/wire/transport_checksum.hpp"

/// A packet with a wrong transport checksum changes no state: its receiver will discard it. The checksum is verified
/// only for packets that would change a state, before they are rewritten.
namespace kubeproxy {
inline namespace v0_2 {
namespace detail {

/// Partial checksums, and what the device has merged of several packets, count as right.
template <packet_buffer P, ip_version V>
[[nodiscard]] bool is_vouched_for(packet_state<P, V> p) noexcept {
    return transport_checksum_of(p.packet()) != checksum_state::complete || gso_size_of(p.packet()) != 0;
}

/// Whether the packet may open a flow, or be remembered otherwise. Fragments may: their checksum covers bytes that
/// other packets bring.
template <packet_buffer P, ip_version V>
[[nodiscard, gnu::noinline]] bool may_open_flow(packet_state<P, V> p) noexcept {
    return p.headers().is_fragment || is_vouched_for(p) || has_valid_transport_checksum(p.headers());
}

/// Whether the packet may change the state of its flow. A fragment of TCP or SCTP may not, for a forged one could
/// pretend anything; both avoid fragments (RFC 9293 section 3.7.1, RFC 9260 section 6.9).
template <packet_buffer P, ip_version V>
[[nodiscard, gnu::noinline]] bool may_change_state(packet_state<P, V> p) noexcept {
    auto const protocol = p.headers().protocol;
    if (p.headers().is_fragment) return protocol != ip_protocol::tcp && protocol != ip_protocol::sctp;
    return is_vouched_for(p) || has_valid_transport_checksum(p.headers());
}

} // namespace detail
} // namespace v0_2
} // namespace kubeproxy
