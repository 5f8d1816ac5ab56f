#pragma once

#include "kubeproxy/dataplane/packet_states.hpp"
#include "kubeproxy/nat/quoted.hpp"

#include <new>

namespace kubeproxy {
inline namespace v0_2 {

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
    [[gnu::always_inline]] static next look(frame<P> const& f, detail::packet_storage<P, V>& storage,
                                            mutable_byte_span bytes) noexcept {
        storage.packet = f.packet;
        storage.result = f.result;
        if (!parse_plain(bytes, storage.headers)) return look_closely(storage, bytes);
        store_words(storage.key, words_of_plain(storage.headers));
        return seen<P, V>{storage};
    }

    template <ip_version V>
    [[gnu::noinline]] static next look_closely(detail::packet_storage<P, V>& storage,
                                               mutable_byte_span bytes) noexcept {
        auto const why = check_as<V>(bytes);
        if (why != drop_reason::none) return packet_state<P, V>{storage}.drop(why);
        // Made in its place: to copy what was just written in narrow stores would wait for them.
        ::new (static_cast<void*>(&storage.headers)) parsed<V>(parse_as<V>(bytes));
        storage.key = tuple_of(storage.headers);
        if (storage.headers.what == content::icmp_error) look_inside(storage);
        if (storage.headers.is_fragment) return fragment<P, V>{storage};
        return seen<P, V>{storage};
    }

    /// An error travels against the packet that it quotes.
    template <ip_version V>
    static void look_inside(detail::packet_storage<P, V>& storage) noexcept {
        auto const quoted = quoted_of(storage.headers);
        storage.headers.flaw = quoted.why;
        if (quoted.why != drop_reason::none) return;
        // An error is sent to the source of the packet that it quotes (RFC 1122 section 3.2.2, RFC 4443 section 2.2).
        // Others are forged: they are dropped if the quoted flow is ours.
        if (storage.key.destination != quoted.key.source) storage.headers.flaw = drop_reason::quoted_other_source;
        storage.key = quoted.key.mirrored();
    }
};

} // namespace v0_2
} // namespace kubeproxy
