#pragma once

#include "kubeproxy/version.hpp"

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace kubeproxy {
inline namespace v0_2 {

/// Why a packet was dropped. One enumerator is one counter.
enum class drop_reason : std::uint8_t {
    none,
    // The bytes are no packet.
    truncated,            ///< the buffer, or what the header announces, ends before the header or the payload does
    bad_version,          ///< neither 4 nor 6, or not the version asked for
    bad_header_length,    ///< IHL below 5 (RFC 791 section 3.1)
    bad_length,           ///< total length below the header's, or beyond the buffer
    bad_extension_header, ///< an IPv6 extension header out of bounds or out of place (RFC 8200 section 4)
    truncated_transport,  ///< no room for the transport header that the protocol needs
    tiny_fragment,        ///< a first fragment without its whole transport header (RFC 1858, RFC 7112)
    // The packet cannot be translated.
    bad_ipv4_checksum,        ///< the header checksum would be lost by a change of family (RFC 1812 section 5.2.2)
    bad_icmp_checksum,        ///< an ICMP error that must be rewritten is damaged
    bad_transport_checksum,   ///< it would need a new flow, which a damaged packet does not get
    source_route,             ///< unexpired source route, segments left (RFC 7915 sections 4.1 and 5.1)
    zero_udp_checksum,        ///< a fragment without UDP checksum cannot become IPv6 (RFC 7915 section 4.5)
    icmp_type,                ///< an ICMP message without counterpart (RFC 7915 sections 4.2 and 5.2)
    icmp_fragment,            ///< a fragment of ICMP cannot change family: its checksum covers the whole message
    sctp_fragment,            ///< CRC32c covers the whole message, so the ports of a part cannot change
    protocol_unsupported,     ///< a protocol that has no meaning in the other family
    extension_after_fragment, ///< extension headers behind a fragment header (RFC 7915 section 5.1.1)
    quoted_truncated,         ///< the packet quoted by an ICMP error ends before its addresses or ports do
    quoted_icmp_error,        ///< an ICMP error about an ICMP error (RFC 1122 section 3.2.2)
    quoted_icmp_fragment,     ///< an ICMP error about a fragment of ICMP cannot change family
    too_big,                  ///< it must not be fragmented, and the answer that says so was suppressed
    hop_limit_exceeded,       ///< it has no hop left, and this node counts as one
    no_headroom,              ///< the host's buffer has not the headroom that the translation states
    illegal_address,          ///< of no host, so that it must not change family (RFC 7915 sections 4.1 and 5.1)
    quoted_other_source,      ///< an ICMP error to a host that did not send what it quotes (RFC 5927 section 4.1)
    // The configuration says so.
    no_endpoints,        ///< the service has no usable endpoint
    no_local_endpoint,   ///< the traffic policy is Local, and endpoints are elsewhere only
    source_not_allowed,  ///< outside loadBalancerSourceRanges
    unallocated_address, ///< inside a service range, but no service has the address
    backend_removed,     ///< the flow's backend is gone, and the configuration wants both ends reset
    no_source_address,   ///< the source must change, and no address is configured to change it to
    denied_by_host,      ///< a stage of the host's own says so
    // Something is used up.
    ports_exhausted,           ///< every source port towards this remote endpoint is taken (RFC 6146 section 3.5)
    identifications_exhausted, ///< all IPv4 identifications towards this host are in use (RFC 6864 section 4.3)
    flow_table_full,           ///< the translation needs state, and there is no room for it
    flow_rate_limited,         ///< more new flows than the setting allows
    reject_rate_limited,       ///< more rejects than the setting allows (RFC 4443 section 2.4 f)
    reject_forbidden,          ///< no ICMP error may be sent about this packet (RFC 1812 section 4.3.2.7)
    fragment_store_full,       ///< no room to hold a fragment that came before its first one
    fragment_timeout,          ///< the first fragment did not come in time
    fragment_held,             ///< a copy waits for the first fragment: counted when it is known what becomes of it
    no_spare_packet,           ///< the host had no buffer for a packet that became several
    count_
};

inline constexpr std::size_t drop_reason_count = static_cast<std::size_t>(drop_reason::count_);

/// The enumerator's own name, for reports and metrics.
[[nodiscard]] constexpr std::string_view name(drop_reason why) noexcept {
    constexpr std::array<std::string_view, drop_reason_count> names{"none",
                                                                    "truncated",
                                                                    "bad_version",
                                                                    "bad_header_length",
                                                                    "bad_length",
                                                                    "bad_extension_header",
                                                                    "truncated_transport",
                                                                    "tiny_fragment",
                                                                    "bad_ipv4_checksum",
                                                                    "bad_icmp_checksum",
                                                                    "bad_transport_checksum",
                                                                    "source_route",
                                                                    "zero_udp_checksum",
                                                                    "icmp_type",
                                                                    "icmp_fragment",
                                                                    "sctp_fragment",
                                                                    "protocol_unsupported",
                                                                    "extension_after_fragment",
                                                                    "quoted_truncated",
                                                                    "quoted_icmp_error",
                                                                    "quoted_icmp_fragment",
                                                                    "too_big",
                                                                    "hop_limit_exceeded",
                                                                    "no_headroom",
                                                                    "illegal_address",
                                                                    "quoted_other_source",
                                                                    "no_endpoints",
                                                                    "no_local_endpoint",
                                                                    "source_not_allowed",
                                                                    "unallocated_address",
                                                                    "backend_removed",
                                                                    "no_source_address",
                                                                    "denied_by_host",
                                                                    "ports_exhausted",
                                                                    "identifications_exhausted",
                                                                    "flow_table_full",
                                                                    "flow_rate_limited",
                                                                    "reject_rate_limited",
                                                                    "reject_forbidden",
                                                                    "fragment_store_full",
                                                                    "fragment_timeout",
                                                                    "fragment_held",
                                                                    "no_spare_packet"};
    return names[static_cast<std::size_t>(why)];
}
static_assert(name(drop_reason::no_spare_packet) == "no_spare_packet", "one name for each enumerator, in order");

/// What the host must do with the packet it handed in.
enum class action : std::uint8_t {
    pass,    ///< not ours: the bytes are as they came
    forward, ///< rewritten in place: route it by its new destination
    reply, ///< the buffer now holds an answer: send it back to where the packet came from. Its checksums are complete:
           ///< what the host noted of offloads (partial checksum, GSO size) is void
    drop,  ///< release the buffer
};
inline constexpr std::size_t action_count = 4;

[[nodiscard]] constexpr std::string_view name(action what) noexcept {
    constexpr std::array<std::string_view, action_count> names{"pass", "forward", "reply", "drop"};
    return names[static_cast<std::size_t>(what)];
}

/// What became of a packet. A drop always has its reason; a reply has the reason it answers for.
class [[nodiscard]] verdict {
  public:
    [[nodiscard]] static constexpr verdict pass() noexcept { return {action::pass, drop_reason::none}; }
    [[nodiscard]] static constexpr verdict forward() noexcept { return {action::forward, drop_reason::none}; }
    [[nodiscard]] static constexpr verdict reply(drop_reason why) noexcept { return {action::reply, why}; }
    [[nodiscard]] static constexpr verdict drop(drop_reason why) noexcept { return {action::drop, why}; }

    [[nodiscard]] constexpr action what() const noexcept { return what_; }
    [[nodiscard]] constexpr drop_reason why() const noexcept { return why_; }
    [[nodiscard]] friend constexpr bool operator==(verdict a, verdict b) noexcept {
        return std::bit_cast<std::uint16_t>(a) == std::bit_cast<std::uint16_t>(b); // one comparison
    }

  private:
    constexpr verdict(action what, drop_reason why) noexcept : what_{what}, why_{why} {}
    action what_;
    drop_reason why_;
};
static_assert(sizeof(verdict) == 2, "returned in a register");

/// Packets and their bytes by action, and by reason where they were dropped or answered. Written by one worker, read by
/// anybody.
class verdict_counters {
  public:
    /// \param bytes of the packet as it leaves; of a dropped one as it came
    void count(verdict v, std::size_t bytes = 0) noexcept { count(v, 1, bytes); }
    void count(verdict v, std::size_t packets, std::size_t bytes) noexcept {
        auto& c = counted_[static_cast<std::size_t>(v.what())][static_cast<std::size_t>(v.why())];
        add(c.packets, packets);
        add(c.bytes, bytes);
    }
    /// O(reasons)
    [[nodiscard]] std::uint64_t packets(action what) const noexcept {
        std::uint64_t sum = 0;
        for (auto const& c : counted_[static_cast<std::size_t>(what)]) sum += c.packets.load(std::memory_order_relaxed);
        return sum;
    }
    [[nodiscard]] std::uint64_t packets(verdict v) const noexcept {
        return of(v).packets.load(std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint64_t bytes(verdict v) const noexcept { return of(v).bytes.load(std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t dropped(drop_reason why) const noexcept { return packets(verdict::drop(why)); }
    [[nodiscard]] std::uint64_t replied(drop_reason why) const noexcept { return packets(verdict::reply(why)); }

  private:
    struct cell {
        std::atomic<std::uint64_t> packets{0}, bytes{0};
    };

    /// One writer: a plain addition, no locked one.
    static void add(std::atomic<std::uint64_t>& field, std::uint64_t n) noexcept {
        field.store(field.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
    [[nodiscard]] cell const& of(verdict v) const noexcept {
        return counted_[static_cast<std::size_t>(v.what())][static_cast<std::size_t>(v.why())];
    }
    std::array<std::array<cell, drop_reason_count>, action_count> counted_{};
};

} // namespace v0_2
} // namespace kubeproxy
