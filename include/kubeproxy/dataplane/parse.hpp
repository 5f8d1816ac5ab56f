#pragma once

#include "kubeproxy/dataplane/burst.hpp"
#include "kubeproxy/flow/tuple.hpp"
#include "kubeproxy/nat/icmp_error.hpp"
#include "kubeproxy/wire/packet_buffer.hpp"

namespace kubeproxy {

/// A packet as the host handed it in.
template <packet_buffer P>
struct frame {
    P* packet;
};

/// A packet whose headers are known.
template <packet_buffer P, ip_version V>
struct seen {
    P* packet;
    parsed<V> headers; ///< with the reason why it must not be rewritten, if there is one
    tuple<V> key;      ///< how its flow shows in the packet's direction; of an ICMP error, the flow of what it quotes
};

/// A part of a fragmented message.
template <packet_buffer P, ip_version V>
struct fragment {
    seen<P, V> packet;
};

/// Bytes to headers. What is no IP packet at all ends here; other flaws matter only where the packet is ours.
template <packet_buffer P>
struct parse_stage {
    using next = step<seen<P, ipv4>, seen<P, ipv6>, fragment<P, ipv4>, fragment<P, ipv6>>;

    next operator()(frame<P>& f) const noexcept {
        auto const result = parse(f.packet->bytes());
        if (auto const* p = std::get_if<parsed<ipv4>>(&result)) return look(f, *p);
        if (auto const* p = std::get_if<parsed<ipv6>>(&result)) return look(f, *p);
        return outcome::drop(*std::get_if<drop_reason>(&result));
    }

  private:
    template <ip_version V>
    static next look(frame<P> const& f, parsed<V> const& headers) noexcept {
        seen<P, V> result{f.packet, headers, tuple_of(headers)};
        if (headers.what == content::icmp_error) look_inside(result);
        if (headers.is_fragment) return fragment<P, V>{result};
        return result;
    }

    /// An error travels against the packet that it quotes.
    template <ip_version V>
    static void look_inside(seen<P, V>& s) noexcept {
        auto const quoted = quoted_of(s.headers);
        if (quoted.why == drop_reason::none)
            s.key = quoted.key.mirrored();
        else
            s.headers.flaw = quoted.why;
    }
};

} // namespace kubeproxy
