#pragma once

#include "kubeproxy/dataplane/burst.hpp"
#include "kubeproxy/dataplane/outcome.hpp"
#include "kubeproxy/flow/flow_ref.hpp"
#include "kubeproxy/flow/tuple.hpp"
#include "kubeproxy/nat/quoted.hpp"
#include "kubeproxy/wire/packet_buffer.hpp"

#include <new>

namespace kubeproxy::inline v0_2 {

/// What is known of one packet. The types that stages hand on only point here and say which part is valid: a packet is
/// not copied from stage to stage, and none can read what was not yet found out.
template <packet_buffer P, ip_version V>
struct packet_card {
    P* packet;
    outcome* result;   ///< what becomes of it
    parsed<V> headers; ///< with the reason why it must not be rewritten, if there is one
    tuple<V> key;      ///< how its flow shows in the packet's direction; of an ICMP error, the flow of what it quotes
    std::uint64_t hash;
    flow_ref candidate;

    settled settle(verdict what) const noexcept {
        result->what = what;
        return {};
    }
    settled drop(drop_reason why) const noexcept { return settle(verdict::drop(why)); }
};

/// A packet as the host handed it in, and a place for what will be known of it; valid until the burst ends.
template <packet_buffer P>
struct frame {
    P* packet;
    outcome* result;
    packet_card<P, ipv4>* as_ipv4;
    packet_card<P, ipv6>* as_ipv6;
};

/// A packet whose headers and key are known.
template <packet_buffer P, ip_version V>
struct seen {
    packet_card<P, V>* card;
};

/// A part of a fragmented message: headers are known; the key of a later part has no ports yet.
template <packet_buffer P, ip_version V>
struct fragment {
    packet_card<P, V>* card;
};

/// Bytes to headers. What is no IP packet at all ends here; other flaws matter only where the packet is ours.
template <packet_buffer P>
struct parse_stage {
    using next = step<seen<P, ipv4>, seen<P, ipv6>, fragment<P, ipv4>, fragment<P, ipv6>>;

    next operator()(frame<P>& f) const noexcept {
        mutable_byte_span const bytes = f.packet->bytes();
        if (bytes.empty()) return drop(f, drop_reason::truncated);
        switch (load_be<std::uint8_t>(bytes, 0) >> 4) {
        case ipv4::number: return look(f, *f.as_ipv4, bytes);
        case ipv6::number: return look(f, *f.as_ipv6, bytes);
        default: return drop(f, drop_reason::bad_version);
        }
    }

  private:
    static settled drop(frame<P> const& f, drop_reason why) noexcept {
        f.result->what = verdict::drop(why);
        return {};
    }

    template <ip_version V>
    static next look(frame<P> const& f, packet_card<P, V>& card, mutable_byte_span bytes) noexcept {
        auto const why = check_as<V>(bytes);
        if (why != drop_reason::none) return drop(f, why);
        card.packet = f.packet;
        card.result = f.result;
        // Made in its place: to copy what was just written in narrow stores would wait for them.
        ::new (static_cast<void*>(&card.headers)) parsed<V>(parse_as<V>(bytes));
        card.key = tuple_of(card.headers);
        if (card.headers.what == content::icmp_error) look_inside(card);
        if (card.headers.is_fragment) return fragment<P, V>{&card};
        return seen<P, V>{&card};
    }

    /// An error travels against the packet that it quotes.
    template <ip_version V>
    static void look_inside(packet_card<P, V>& card) noexcept {
        auto const quoted = quoted_of(card.headers);
        if (quoted.why == drop_reason::none)
            card.key = quoted.key.mirrored();
        else
            card.headers.flaw = quoted.why;
    }
};

} // namespace kubeproxy::inline v0_2
