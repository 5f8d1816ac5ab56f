#pragma once

#include "kubeproxy/dataplane/packet_states.hpp"

namespace kubeproxy {
inline namespace v0_2 {

/// A packet that knows what it must become.
template <packet_buffer P, ip_version From, ip_version To>
struct routed {
    packet_card<P, From>* card;

    routed(packet_card<P, From>& c, tuple_words<To> const& after, sum_changes changes) noexcept : card{&c} {
        store_words(c.template becomes<To>(), after);
        c.changes = changes;
    }
    /// Its card says what.
    routed(packet_card<P, From>& c, sum_changes changes) noexcept : card{&c} { c.changes = changes; }
};

/// An ICMP error that knows what a packet of its flow becomes that goes its way.
template <packet_buffer P, ip_version From, ip_version To>
struct routed_error {
    packet_card<P, From>* card;

    routed_error(packet_card<P, From>& c, tuple_words<To> const& after) noexcept : card{&c} {
        store_words(c.template becomes<To>(), after);
    }
    explicit routed_error(packet_card<P, From>& c) noexcept : card{&c} {}
};

/// A packet that is not forwarded, and whose sender the RFCs want told; its result is a drop, with the reason that a
/// reply would have too.
template <packet_buffer P, ip_version V>
struct refused {
    packet_card<P, V>* card;

    refused(packet_card<P, V>& c, icmp_answer const& answer) noexcept : card{&c} { c.answer = answer; }
};

} // namespace v0_2
} // namespace kubeproxy
