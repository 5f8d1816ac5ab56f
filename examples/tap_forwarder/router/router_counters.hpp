#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace examples {

/// Why the router, not the library, dropped a packet.
enum class router_drop : std::uint8_t {
    truncated_frame, ///< shorter than its link headers
    not_for_us,      ///< to another station of the link
    not_ip,          ///< neither IP nor ARP
    bad_packet,      ///< no IP packet (RFC 791, RFC 8200)
    bad_offload,     ///< the virtio-net header does not fit the packet
    bad_neighbour, ///< ARP or ND that breaks its rules (RFC 826, RFC 4861 section 7.1), or is of no station of the link
    bad_source,    ///< its source is no single node's (RFC 1812 section 5.3.7)
    reverse_path,  ///< it came in by a link that its source is not behind (RFC 3704)
    not_routable,  ///< its destination is multicast, loopback, broadcast or link-local
    unanswered,    ///< it could not go on, and the error about it is forbidden or over the rate
    local,         ///< to the router itself, which has no use for it
    unresolved,    ///< waited for a neighbour, and gave way to packets that came later
    no_buffer,     ///< all buffers are in use
    link_down,     ///< the device is down, or its queue gone
    link_refused,  ///< the device did not take the frame
    count_
};
inline constexpr std::size_t router_drop_count = static_cast<std::size_t>(router_drop::count_);

[[nodiscard]] constexpr std::string_view name(router_drop why) noexcept {
    constexpr std::array<std::string_view, router_drop_count> names{
        "truncated_frame", "not_for_us", "not_ip",       "bad_packet",   "bad_offload",
        "bad_neighbour",   "bad_source", "reverse_path", "not_routable", "unanswered",
        "local",           "unresolved", "no_buffer",    "link_down",    "link_refused"};
    return names[static_cast<std::size_t>(why)];
}
static_assert(name(router_drop::link_refused) == "link_refused", "one name for each enumerator, in order");

/// What the router did, apart from forwarding.
enum class router_event : std::uint8_t {
    neighbour_answered, ///< an ARP request or neighbour solicitation
    neighbour_asked,
    neighbour_learned,     ///< a packet told an address
    neighbour_unreachable, ///< nobody answered
    hop_limit_exceeded,    ///< ICMP time exceeded
    too_big,               ///< ICMP fragmentation needed, packet too big
    no_route,              ///< ICMP network unreachable
    host_unreachable,      ///< ICMP host unreachable: its neighbour does not answer
    local_refused,         ///< ICMP port unreachable or TCP reset from the router itself
    echo_answered,
    segmented,          ///< super-packets that became packets
    fragmented,         ///< IPv4 packets that became fragments
    checksum_completed, ///< by us, where no device can
    count_
};
inline constexpr std::size_t router_event_count = static_cast<std::size_t>(router_event::count_);

[[nodiscard]] constexpr std::string_view name(router_event what) noexcept {
    constexpr std::array<std::string_view, router_event_count> names{
        "neighbour_answered", "neighbour_asked", "neighbour_learned", "neighbour_unreachable",
        "hop_limit_exceeded", "too_big",         "no_route",          "host_unreachable",
        "local_refused",      "echo_answered",   "segmented",         "fragmented",
        "checksum_completed"};
    return names[static_cast<std::size_t>(what)];
}
static_assert(name(router_event::checksum_completed) == "checksum_completed");

/// Where every packet of a worker came from and where it ended. At any moment
///
///     received + made = sent + consumed + dropped + dropped_by_library + waiting
///
/// One writer.
struct router_counters {
    std::uint64_t received = 0;           ///< from links
    std::uint64_t made = 0;               ///< by us: requests, segments, fragments, spare buffers of the library
    std::uint64_t sent = 0;               ///< taken by a device
    std::uint64_t consumed = 0;           ///< neighbour messages, and packets that became several
    std::uint64_t dropped_by_library = 0; ///< verdict_counters says why; also what it keeps a copy of
    std::uint64_t waiting = 0;            ///< for a neighbour, now
    std::array<std::uint64_t, router_drop_count> drops{};
    std::array<std::uint64_t, router_event_count> events{};

    void drop(router_drop why) noexcept { ++drops[static_cast<std::size_t>(why)]; }
    void note(router_event what) noexcept { ++events[static_cast<std::size_t>(what)]; }
    [[nodiscard]] std::uint64_t of(router_drop why) const noexcept { return drops[static_cast<std::size_t>(why)]; }
    [[nodiscard]] std::uint64_t of(router_event what) const noexcept { return events[static_cast<std::size_t>(what)]; }
    [[nodiscard]] std::uint64_t dropped() const noexcept {
        std::uint64_t sum = 0;
        for (auto const n : drops) sum += n;
        return sum;
    }
    [[nodiscard]] bool adds_up() const noexcept {
        return received + made == sent + consumed + dropped() + dropped_by_library + waiting;
    }

    router_counters& operator+=(router_counters const& other) noexcept {
        for (auto const field :
             {&router_counters::received, &router_counters::made, &router_counters::sent, &router_counters::consumed,
              &router_counters::dropped_by_library, &router_counters::waiting})
            this->*field += other.*field;
        for (std::size_t i = 0; i < drops.size(); ++i) drops[i] += other.drops[i];
        for (std::size_t i = 0; i < events.size(); ++i) events[i] += other.events[i];
        return *this;
    }
};

} // namespace examples
