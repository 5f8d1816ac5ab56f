#pragma once

#include "kubeproxy/dataplane/outcome.hpp"
#include "kubeproxy/flow/mapping.hpp"
#include "kubeproxy/nat/icmp_error.hpp"
#include "kubeproxy/nat/settings.hpp"
#include "kubeproxy/wire/packet_buffer.hpp"

namespace kubeproxy {

/// A packet that knows what it must become.
template <packet_buffer P, ip_version From, ip_version To>
struct routed {
    P* packet;
    parsed<From> headers;
    tuple<To> after;
    sum_changes changes;
    outcome so_far; ///< what becomes of it if nothing goes wrong
};

/// An ICMP error that knows what it, and the packet that it quotes, must become.
template <packet_buffer P, ip_version From, ip_version To>
struct routed_error {
    P* packet;
    parsed<From> headers;
    error_mapping<To> after;
    outcome so_far;
};

/// A packet that is not forwarded, and whose sender the RFCs want told.
template <packet_buffer P, ip_version V>
struct refused {
    P* packet;
    parsed<V> headers;
    icmp_answer answer;
    outcome so_far; ///< a drop, with the reason that a reply would have too
};

} // namespace kubeproxy
