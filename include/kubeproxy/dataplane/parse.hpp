#pragma once

#include "kubeproxy/dataplane/packet_states.hpp"
#include "kubeproxy/nat/quoted.hpp"

#include <new>

namespace kubeproxy {
inline namespace v0_2 {

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
        auto const version = bytes.empty() ? 0u : load_be<std::uint8_t>(bytes, 0) & 0xf0u;
        if (version == ipv4::number << 4) return look(f, *f.as_ipv4, bytes);
        if (version == ipv6::number << 4) return look(f, *f.as_ipv6, bytes);
        f.result->what = verdict::drop(bytes.empty() ? drop_reason::truncated : drop_reason::bad_version);
        return settled{};
    }

  private:
    template <ip_version V>
    [[gnu::always_inline]] static next look(frame<P> const& f, packet_card<P, V>& card,
                                            mutable_byte_span bytes) noexcept {
        card.packet = f.packet;
        card.result = f.result;
        if (!parse_plain(bytes, card.headers)) return look_closely(card, bytes);
        store_words(card.key, words_of_plain(card.headers));
        return seen<P, V>{&card};
    }

    template <ip_version V>
    [[gnu::noinline]] static next look_closely(packet_card<P, V>& card, mutable_byte_span bytes) noexcept {
        auto const why = check_as<V>(bytes);
        if (why != drop_reason::none) return card.drop(why);
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
        card.headers.flaw = quoted.why;
        if (quoted.why != drop_reason::none) return;
        // An error is sent to the source of the packet that it quotes (RFC 1122 section 3.2.2, RFC 4443 section 2.2).
        // Others are forged: they are dropped if the quoted flow is ours.
        if (card.key.destination != quoted.key.source) card.headers.flaw = drop_reason::quoted_other_source;
        card.key = quoted.key.mirrored();
    }
};

} // namespace v0_2
} // namespace kubeproxy
