#pragma once

#include "kubeproxy/wire/checksum.hpp"
#include "kubeproxy/wire/icmp.hpp"
#include "kubeproxy/wire/packet.hpp"
#include "support/ethernet.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>

/// Neighbour solicitations and advertisements (RFC 4861 sections 4.3, 4.4 and 7.1).
namespace examples {

struct neighbour_message {
    static constexpr std::size_t size = 40 + 24 + 8; ///< as we write it: with the link-layer address option
    static constexpr std::uint8_t solicitation = 135, advertisement = 136;
    static constexpr std::uint32_t solicited = 0x4000'0000, override_known = 0x2000'0000, is_router = 0x8000'0000;

    std::uint8_t type = solicitation;
    std::uint32_t flags = 0; ///< of an advertisement
    kubeproxy::ipv6::address source{};
    kubeproxy::ipv6::address destination{};
    kubeproxy::ipv6::address target{};
    std::optional<mac_address> link_layer{}; ///< of the source in a solicitation, of the target in an advertisement
};

/// The group that an address's owner listens to (RFC 4291 section 2.7.1).
[[nodiscard]] constexpr kubeproxy::ipv6::address solicited_node(kubeproxy::ipv6::address const& a) noexcept {
    return {std::byte{0xff}, std::byte{0x02}, {},    {},    {},   {}, {}, {}, {}, {}, {},
            std::byte{1},    std::byte{0xff}, a[13], a[14], a[15]};
}

/// Router and neighbour discovery, redirects: they are never forwarded.
[[nodiscard]] inline bool is_neighbour_discovery(byte_span packet) noexcept {
    constexpr std::uint8_t first = 133, last = 137;
    if (packet.size() <= kubeproxy::ipv6::minimum_header) return false;
    if (kubeproxy::ipv6_view{packet}.next_header() != kubeproxy::ip_protocol::icmpv6) return false;
    auto const type = kubeproxy::load_be<std::uint8_t>(packet, kubeproxy::ipv6::minimum_header);
    return first <= type && type <= last;
}

namespace detail {

struct nd_at { // offsets in the ICMPv6 message, RFC 4861 sections 4.3 and 4.4
    static constexpr std::size_t flags = 4, target = 8, options = 24;
};

/// The first option of a kind; none: there is none, or the options are malformed.
[[nodiscard]] inline std::optional<mac_address> link_layer_option(byte_span options, std::uint8_t wanted,
                                                                  bool& malformed) noexcept {
    std::optional<mac_address> found;
    while (!options.empty()) {
        std::size_t const length =
            options.size() < 2 ? 0 : kubeproxy::load_be<std::uint8_t>(options, 1) * std::size_t{8};
        malformed = length == 0 || length > options.size(); // section 4.6: length 0 must be discarded
        if (malformed) return std::nullopt;
        if (!found && kubeproxy::load_be<std::uint8_t>(options, 0) == wanted && length == 8)
            found = kubeproxy::load_object<mac_address>(options, 2);
        options = options.subspan(length);
    }
    if (found && !is_station(*found)) malformed = true;
    return found;
}

[[nodiscard]] constexpr std::uint8_t link_layer_kind(std::uint8_t type) noexcept {
    return type == neighbour_message::solicitation ? 1 : 2;
}

[[nodiscard]] inline bool is_icmp_sum_right(kubeproxy::ipv6_view const& ip, byte_span message) noexcept {
    auto const sum = kubeproxy::pseudo_header_sum(ip.source(), ip.destination(), kubeproxy::ip_protocol::icmpv6,
                                                  static_cast<std::uint32_t>(message.size())) +
                     kubeproxy::sum_of(message);
    return kubeproxy::fold(sum) == 0xffff;
}

} // namespace detail

/// None: neither of the two messages, or one that must be discarded (section 7.1): a hop limit below 255 came from
/// another link.
/// \pre ipv6_view::check accepted `packet`
[[nodiscard]] inline std::optional<neighbour_message> read_neighbour_message(byte_span packet) noexcept {
    kubeproxy::ipv6_view const ip{packet};
    byte_span const message = ip.payload();
    if (message.size() < detail::nd_at::options || ip.next_header() != kubeproxy::ip_protocol::icmpv6) return {};
    neighbour_message m{.type = kubeproxy::load_be<std::uint8_t>(message, 0),
                        .flags = kubeproxy::load_be<std::uint32_t>(message, detail::nd_at::flags),
                        .source = ip.source(),
                        .destination = ip.destination(),
                        .target = kubeproxy::load_object<kubeproxy::ipv6::address>(message, detail::nd_at::target)};
    if (m.type != neighbour_message::solicitation && m.type != neighbour_message::advertisement) return {};
    if (ip.hop_limit() != 255 || kubeproxy::load_be<std::uint8_t>(message, 1) != 0) return {};
    if (kubeproxy::is_multicast(m.target) || kubeproxy::is_multicast(m.source)) return {};
    if (!detail::is_icmp_sum_right(ip, message)) return {};
    bool malformed = false;
    m.link_layer =
        detail::link_layer_option(message.subspan(detail::nd_at::options), detail::link_layer_kind(m.type), malformed);
    if (malformed) return {};
    bool const is_probe = kubeproxy::is_unspecified(m.source); // duplicate address detection, RFC 4862 section 5.4
    if (is_probe && (m.type == neighbour_message::advertisement || m.link_layer)) return {};
    return m;
}

/// \pre bytes.size() == neighbour_message::size, and m.link_layer
inline void write_neighbour_message(mutable_byte_span bytes, neighbour_message const& m) noexcept {
    auto const message = bytes.subspan(kubeproxy::ipv6::minimum_header);
    kubeproxy::write_header(bytes, kubeproxy::ipv6_header{.payload_length = static_cast<std::uint16_t>(message.size()),
                                                          .next_header = kubeproxy::ip_protocol::icmpv6,
                                                          .hop_limit = 255,
                                                          .source = m.source,
                                                          .destination = m.destination});
    kubeproxy::store_be(message, 0, std::uint32_t{m.type} << 24);
    kubeproxy::store_be(message, detail::nd_at::flags, m.flags);
    kubeproxy::store_object(message, detail::nd_at::target, m.target);
    kubeproxy::store_be(message, detail::nd_at::options,
                        static_cast<std::uint16_t>(detail::link_layer_kind(m.type) << 8 | 1));
    kubeproxy::store_object(message, detail::nd_at::options + 2, *m.link_layer);
    auto const sum = kubeproxy::pseudo_header_sum(m.source, m.destination, kubeproxy::ip_protocol::icmpv6,
                                                  static_cast<std::uint32_t>(message.size())) +
                     kubeproxy::sum_of(message);
    kubeproxy::store_be(message, kubeproxy::icmp_at::checksum, kubeproxy::checksum_of(sum));
}

} // namespace examples
