#pragma once

#include "kubeproxy/flow/flow_ref.hpp"
#include "kubeproxy/flow/flow_time.hpp"
#include "kubeproxy/flow/lifetime.hpp"
#include "kubeproxy/flow/mapping.hpp"
#include "kubeproxy/flow/tuple_words.hpp"
#include "kubeproxy/sync/sharing.hpp"

#include <array>
#include <cassert>
#include <cstdint>
#include <type_traits>

/// What a table keeps of a connection: one record for both directions.
///
///   narrow (IPv4 on both sides), one cache line      wide (IPv6 on a side), two
///   0   original  client -> VIP                      0   original, 40 bytes
///   16  reply     backend -> client                  40  reply, 40 bytes
///   32  flow_body                                    80  flow_body
///                                                    112 bytes per direction
///
/// Each tuple is what a packet of that direction shows, so that a lookup compares it as it stands. A packet leaves as
/// the mirror of what the other direction shows.
namespace kubeproxy {
inline namespace v0_2 {

namespace flow_flag {
inline constexpr std::uint8_t masqueraded = 0x01; ///< the source changed, so that replies come back here
inline constexpr unsigned original_ipv6_bit = 6;  ///< set by the table; translated_ipv6 is the next one
inline constexpr std::uint8_t original_ipv6 = 0x40, translated_ipv6 = 0x80;
} // namespace flow_flag

/// The part that narrow and wide records share. What is not a cell does not change while the flow lives.
template <class Sharing>
struct flow_body {
    std::uint32_t service; ///< index in the snapshot
    typename Sharing::template cell<std::uint32_t> backend;
    typename Sharing::template cell<std::uint32_t> last_seen; ///< flow_time
    typename Sharing::template cell<std::uint32_t> timeout;   ///< milliseconds
    /// By direction, modulo 2^32. Two workers that count one direction at the same moment may lose a packet.
    std::array<typename Sharing::template cell<std::uint32_t>, 2> packets;
    std::uint16_t network_change;   ///< of the sum over the addresses, original direction (RFC 1624)
    std::uint16_t transport_change; ///< of the sum over addresses and ports; the reply's is opposite() of it
    typename Sharing::template cell<std::uint16_t> generation; ///< of the backend
    typename Sharing::template cell<std::uint8_t> raw_state;   ///< flow_state, and whether it is being inserted
    std::uint8_t flags;                                        ///< flow_flag

    /// In raw_state, while one of its two index entries is missing: found by lookups, left alone by expiry.
    static constexpr std::uint8_t unfinished = 0x80;
    [[nodiscard]] flow_state state() const noexcept {
        return static_cast<flow_state>(raw_state.load() & ~unfinished & 0xff);
    }
    [[nodiscard]] bool is_masqueraded() const noexcept { return (flags & flow_flag::masqueraded) != 0; }
    [[nodiscard]] bool is_expired(flow_time now) const noexcept {
        return now.is_after(flow_time::of(last_seen.load()), timeout.load());
    }
};

template <class Sharing>
struct alignas(64) narrow_record {
    std::array<tuple<ipv4>, 2> shown; ///< by direction
    flow_body<Sharing> body;

    template <ip_version V>
        requires std::same_as<V, ipv4>
    [[nodiscard]] tuple<V> const& shown_in(flow_direction d) const noexcept { return shown[number(d)]; }
    /// The packet's tuple is this record's in that direction.
    [[nodiscard, gnu::always_inline]] bool shows(tuple<ipv4> const& t, flow_direction d) const noexcept {
        return are_equal(words_of(shown[number(d)]), words_of(t));
    }
    [[nodiscard]] bool shows(tuple<ipv6> const&, flow_direction) const noexcept { return false; }
    /// What a packet of this direction becomes.
    template <ip_version V>
        requires std::same_as<V, ipv4>
    [[nodiscard, gnu::always_inline]] tuple_words<V> leaves_as(flow_direction d) const noexcept {
        return mirrored(words_of(shown[number(opposite(d))]));
    }
    [[nodiscard]] static constexpr bool is_ipv6(flow_direction) noexcept { return false; }
    void add_bytes(flow_direction, std::uint32_t) noexcept {}
    void forget_bytes() noexcept {}

    void set_shown(tuple<ipv4> const& original, tuple<ipv4> const& reply) noexcept {
        store_words(shown[0], words_of(original));
        store_words(shown[1], words_of(reply));
    }
};

template <class Sharing>
struct alignas(128) wide_record {
    using slot = std::array<std::byte, sizeof(tuple<ipv6>)>;
    std::array<slot, 2> shown; ///< by direction: tuple<ipv4> or tuple<ipv6>, as the flags say
    flow_body<Sharing> body;
    std::array<typename Sharing::template cell<std::uint64_t>, 2> bytes; ///< by direction

    [[nodiscard]] bool is_ipv6(flow_direction d) const noexcept {
        return (body.flags >> (flow_flag::original_ipv6_bit + number(d)) & 1) != 0;
    }
    /// \pre is_ipv6(d) says V
    template <ip_version V>
    [[nodiscard]] tuple<V> shown_in(flow_direction d) const noexcept {
        assert(is_ipv6(d) == (std::same_as<V, ipv6>));
        return load_object<tuple<V>>(shown[number(d)], 0);
    }
    template <ip_version V>
    [[nodiscard, gnu::always_inline]] bool shows(tuple<V> const& t, flow_direction d) const noexcept {
        if (is_ipv6(d) != std::same_as<V, ipv6>) return false;
        return are_equal(load_words<V>(shown[number(d)]), words_of(t));
    }
    /// What a packet of this direction becomes. \pre is_ipv6(opposite(d)) says V
    template <ip_version V>
    [[nodiscard, gnu::always_inline]] tuple_words<V> leaves_as(flow_direction d) const noexcept {
        assert(is_ipv6(opposite(d)) == (std::same_as<V, ipv6>));
        return mirrored(load_words<V>(shown[number(opposite(d))]));
    }
    void add_bytes(flow_direction d, std::uint32_t more) noexcept {
        auto& sum = bytes[number(d)];
        sum.store(sum.load() + more);
    }
    void forget_bytes() noexcept {
        for (auto& sum : bytes) sum.store(0);
    }

    template <ip_version O, ip_version R>
    void set_shown(tuple<O> const& original, tuple<R> const& reply) noexcept {
        store_words(shown[0], words_of(original));
        store_words(shown[1], words_of(reply));
    }
};

static_assert(sizeof(narrow_record<single_worker>) == 64 && sizeof(narrow_record<shared_workers>) == 64);
static_assert(sizeof(wide_record<single_worker>) == 128 && sizeof(wide_record<shared_workers>) == 128);

template <ip_version Original, ip_version Translated>
inline constexpr bool is_narrow = std::same_as<Original, ipv4>&& std::same_as<Translated, ipv4>;
template <ip_version Original, ip_version Translated>
inline constexpr std::uint8_t version_flags = (std::same_as<Original, ipv6> ? flow_flag::original_ipv6 : 0) |
                                              (std::same_as<Translated, ipv6> ? flow_flag::translated_ipv6 : 0);

} // namespace v0_2
} // namespace kubeproxy
