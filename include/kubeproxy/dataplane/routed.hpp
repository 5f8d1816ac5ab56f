#pragma once

#include "kubeproxy/dataplane/outcome.hpp"
#include "kubeproxy/dataplane/parse.hpp"
#include "kubeproxy/flow/mapping.hpp"
#include "kubeproxy/nat/icmp_error.hpp"
#include "kubeproxy/nat/settings.hpp"

namespace kubeproxy::inline v0_2 {

/// A packet that knows what it must become.
template <packet_buffer P, ip_version From, ip_version To>
struct routed {
    packet_card<P, From>* card;
    tuple<To> after;
    sum_changes changes;

    routed(packet_card<P, From>& c, tuple<To> const& becomes, sum_changes sums) noexcept
        : card{&c}, after{becomes}, changes{sums} {}
};

/// An ICMP error that knows what it, and the packet that it quotes, must become.
template <packet_buffer P, ip_version From, ip_version To>
struct routed_error {
    packet_card<P, From>* card;
    error_mapping<To> after;
};

/// A packet that is not forwarded, and whose sender the RFCs want told; its result is a drop, with the reason that a
/// reply would have too.
template <packet_buffer P, ip_version V>
struct refused {
    packet_card<P, V>* card;
    icmp_answer answer;
};

} // namespace kubeproxy::inline v0_2
