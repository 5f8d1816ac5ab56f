#pragma once

#include "kubeproxy/flow/flow_ref.hpp"
#include "kubeproxy/flow/tuple_words.hpp"
#include "kubeproxy/wire/checksum.hpp"

#include <bit>
#include <cstddef>
#include <cstdint>

namespace kubeproxy::inline v0_2 {

/// What a translation adds to the sums that cover it (RFC 1624), computed once for a flow's direction.
struct sum_changes {
    std::uint16_t network = 0;   ///< of both addresses: the IPv4 header, and the pseudo-header
    std::uint16_t transport = 0; ///< of both addresses and both ports, or the echo identifier
};

namespace detail {
/// Folded. The order of bytes in the words does not matter to the sum, but for the order in the sum itself (RFC 1071
/// section 2 B), so the addresses are added as the machine reads them.
template <ip_version V>
constexpr std::uint64_t address_sum(tuple<V> const& t) noexcept {
    auto const words = words_of(t);
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i + 1 < words.size(); ++i) sum += (words[i] & 0xffff'ffff) + (words[i] >> 32);
    auto const folded = fold(sum);
    return std::endian::native == std::endian::little ? std::rotl(folded, 8) : folded;
}
template <ip_version V>
constexpr std::uint64_t port_sum(tuple<V> const& t) noexcept {
    return std::uint64_t{t.source_port} + t.destination_port;
}
} // namespace detail

/// The changes of a packet that came as `before` and leaves as `after`. Across families the difference of the
/// two addresses' sums is just what the pseudo-header changes by, for the rest of it stays the same.
template <ip_version From, ip_version To>
[[nodiscard]] constexpr sum_changes changes_of(tuple<From> const& before, tuple<To> const& after) noexcept {
    auto const old_network = detail::address_sum(before), new_network = detail::address_sum(after);
    return {.network = sum_change(old_network, new_network),
            .transport = sum_change(old_network + detail::port_sum(before), new_network + detail::port_sum(after))};
}

/// What packets of the direction `d` get where those of the original direction get `changes`: the same or its
/// opposite, without a branch, for which direction comes next cannot be foreseen.
[[nodiscard, gnu::always_inline]] constexpr sum_changes towards(sum_changes changes, flow_direction d) noexcept {
    auto const mask = static_cast<std::uint16_t>(0u - static_cast<unsigned>(d));
    return {.network = static_cast<std::uint16_t>(changes.network ^ mask),
            .transport = static_cast<std::uint16_t>(changes.transport ^ mask)};
}
static_assert(towards({0x1234, 0x5678}, flow_direction::reply).network == opposite(0x1234));

} // namespace kubeproxy::inline v0_2
