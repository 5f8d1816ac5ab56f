#pragma once

#include "kubeproxy/wire/checksum.hpp"
#include "kubeproxy/wire/ipv4.hpp"
#include "tap_forwarder/link/tap_packet.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>

/// An IPv4 packet that may be cut and is too long for the next link (RFC 791 section 3.2).
namespace examples {

struct fragment_plan {
    std::size_t header = 0;
    std::size_t size = 0; ///< payload of each fragment but the last, a multiple of 8
    std::size_t count = 0;
};

/// \pre `packet` is a whole IPv4 packet and nothing behind it; mtu >= 68 (RFC 791: every link has that)
[[nodiscard]] inline fragment_plan plan_fragments(byte_span packet, std::size_t mtu) noexcept {
    auto const header = kubeproxy::ipv4_view{packet}.header_length();
    auto const size = (mtu - header) / 8 * 8;
    return {header, size, (packet.size() - header + size - 1) / size};
}

[[nodiscard]] inline std::size_t fragment_size(byte_span packet, fragment_plan const& plan,
                                               std::size_t index) noexcept {
    return plan.header + std::min(plan.size, packet.size() - plan.header - index * plan.size);
}

namespace detail {

/// Options without the copied flag stay with the first fragment (RFC 791 section 3.1); no-operations take their place.
inline void drop_options_of_first(mutable_byte_span options) noexcept {
    constexpr std::uint8_t end_of_list = 0, no_operation = 1, copied = 0x80;
    std::size_t at = 0;
    while (at < options.size()) {
        auto const kind = kubeproxy::load_be<std::uint8_t>(options, at);
        if (kind == end_of_list) return;
        std::size_t length = 1;
        if (kind != no_operation) {
            if (at + 2 > options.size()) return;
            length = kubeproxy::load_be<std::uint8_t>(options, at + 1);
            if (length < 2 || length > options.size() - at) return;
        }
        if ((kind & copied) == 0) std::ranges::fill(options.subspan(at, length), std::byte{no_operation});
        at += length;
    }
}

} // namespace detail

/// Makes `out` fragment `index` of `packet`; a fragment that is cut again keeps its place in its message.
/// \pre index < plan.count, and out.size() is fragment_size()
inline void write_fragment(byte_span packet, fragment_plan const& plan, std::size_t index,
                           mutable_byte_span out) noexcept {
    using at = kubeproxy::ipv4_view::at;
    constexpr std::uint16_t more_fragments = 0x2000;
    kubeproxy::copy_bytes(out, packet.first(plan.header));
    kubeproxy::copy_bytes(out.subspan(plan.header),
                          packet.subspan(plan.header + index * plan.size, out.size() - plan.header));
    auto const header = out.first(plan.header);
    auto place = kubeproxy::load_be<std::uint16_t>(header, at::fragment);
    if (index + 1 != plan.count) place |= more_fragments;
    place = static_cast<std::uint16_t>(place + index * plan.size / 8);
    if (index != 0) detail::drop_options_of_first(header.subspan(kubeproxy::ipv4::minimum_header));
    kubeproxy::store_be(header, at::total_length, static_cast<std::uint16_t>(out.size()));
    kubeproxy::store_be(header, at::fragment, place);
    kubeproxy::store_be(header, at::checksum, std::uint16_t{0});
    kubeproxy::store_be(header, at::checksum, kubeproxy::checksum_of(kubeproxy::sum_of(header)));
}

} // namespace examples
