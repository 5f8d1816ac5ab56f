#pragma once

#include "kubeproxy/wire/address.hpp"

#include <concepts>
#include <cstdint>

namespace kubeproxy {
inline namespace v0_2 {

/// What an address and a port in front of the pods is. It decides, with the source, about policy and masquerade.
enum class frontend_kind : std::uint8_t {
    cluster_ip,    ///< the service's own address, or a VIP of the `ku` language
    external,      ///< a node port, a load-balancer IP or an external IP
    reject_others, ///< a cluster IP at a port that no service has: answered with an ICMP error
    drop_others,   ///< a service range: an address that no service has is dropped
};

inline constexpr std::uint32_t no_service = 0xffff'ffff;

/// Where traffic to a service arrives: a prefix, a port and a protocol. In an array none stands in two cache lines.
template <ip_version V>
struct alignas(std::same_as<V, ipv4> ? 16 : 32) frontend {
    prefix<V> vip;
    std::uint16_t port = 0;    ///< 0: every port that no other frontend of this prefix has
    std::uint8_t protocol = 0; ///< 0: every protocol; then port is 0
    frontend_kind kind = frontend_kind::cluster_ip;
    std::uint32_t service = no_service;
};

} // namespace v0_2
} // namespace kubeproxy
