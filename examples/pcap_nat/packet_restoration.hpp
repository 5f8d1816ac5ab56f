#pragma once

#include "pcap_nat/packet_completion.hpp"

#include <algorithm>
#include <cstddef>

/// Takes back what complete_packet() did, once the packet has been translated.
namespace examples {

/// How many bytes of a packet are written, and which size on the wire its record states.
struct written_extent {
    std::size_t bytes;
    std::size_t on_wire;
};

namespace detail {

/// Where the transport header of a translated packet is, and which part of the message it has.
struct output_layout {
    std::size_t transport = 0;
    std::size_t fragment_offset = 0;
    bool is_fragment = false;
};

[[nodiscard]] inline output_layout layout_of(mutable_byte_span packet) noexcept {
    auto const found = kubeproxy::parse(packet);
    if (auto const* p = std::get_if<kubeproxy::parsed<kubeproxy::ipv4>>(&found))
        return {p->transport, kubeproxy::ipv4_view{byte_span{packet}}.fragment_offset(), p->is_fragment};
    auto const* p = std::get_if<kubeproxy::parsed<kubeproxy::ipv6>>(&found);
    if (p == nullptr) return {};
    if (p->fragment_header == 0) return {p->transport, 0, false};
    kubeproxy::fragment_header_view const fragment{byte_span{packet}.subspan(p->fragment_header)};
    return {p->transport, fragment.offset(), p->is_fragment};
}

} // namespace detail

/// How much of a translated packet comes from captured bytes: its headers, and the payload as far as it was captured.
[[nodiscard]] inline written_extent extent_of(mutable_byte_span packet, packet_completion const& c) noexcept {
    auto const size = packet.size();
    if (!c.is_cut()) return {size + c.tail(), size + (c.had_no_length ? c.on_wire - c.shown : 0)};
    auto const out = detail::layout_of(packet);
    auto const captured = c.captured - std::min(c.captured, c.transport); // of the transport message
    std::size_t available = captured;
    if (out.is_fragment) // one piece of a packet that was cut, or the same part as before
        available =
            captured - std::min(captured, out.fragment_offset - std::min(out.fragment_offset, c.fragment_offset));
    else // an ICMP error also changes in size inside, where it quotes another header
        available = captured + size - out.transport - std::min(captured + size - out.transport, c.shown - c.transport);
    return {std::min(size, out.transport + available), size + (c.had_no_length ? c.on_wire - c.shown : 0)};
}

/// An answer to a packet that was cut quotes it only as far as it was captured.
[[nodiscard]] inline written_extent extent_of_answer(mutable_byte_span packet, packet_completion const& c) noexcept {
    auto const quoted = detail::layout_of(packet).transport + kubeproxy::icmp_at::quoted;
    return {c.is_cut() ? std::min(packet.size(), quoted + c.captured) : packet.size(), packet.size()};
}

/// Makes lengths and checksums those of a capture with offloads again.
/// \param is_same_version the packet left in the version that it came in
inline void restore_header(mutable_byte_span packet, packet_completion const& c, bool is_same_version) noexcept {
    using at = kubeproxy::ipv4_view::at;
    bool const fits = c.on_wire == c.shown;
    if (c.had_no_length && (is_same_version || !fits)) detail::set_announced_size(packet, 0);
    if (c.had_no_header_checksum && ip_version(packet) == 4)
        kubeproxy::store_be(packet, at::checksum, std::uint16_t{0});
}

} // namespace examples
