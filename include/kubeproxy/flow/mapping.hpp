#pragma once

#include "kubeproxy/flow/flow_ref.hpp"
#include "kubeproxy/flow/tuple_words.hpp"
#include "kubeproxy/wire/checksum.hpp"

#include <bit>
#include <cstddef>
#include <cstdint>

namespace kubeproxy {
inline namespace v0_2 {

/// What a translation adds to the sums that cover it (RFC 1624), computed once for a flow's direction.
struct sum_changes {
    std::uint16_t network = 0;   ///< of both addresses: the IPv4 header, and the pseudo-header
    std::uint16_t transport = 0; ///< of both addresses and both ports, or the echo identifier
};

namespace detail {
/// Of the addresses, each 32-bit word turned to its complement or not; not folded. The order of bytes in the words does
/// not matter to a sum, but for the order in the sum itself (RFC 1071 section 2 B), so they are added as the machine
/// reads them.
template <ip_version V>
constexpr std::uint64_t address_sum(tuple<V> const& t, std::uint32_t complement) noexcept {
    auto const words = words_of(t);
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i + 1 < words.size(); ++i)
        sum += (static_cast<std::uint32_t>(words[i]) ^ complement) +
               std::uint64_t{static_cast<std::uint32_t>(words[i] >> 32) ^ complement};
    return sum;
}
[[nodiscard]] constexpr std::uint16_t in_host_order(std::uint16_t sum) noexcept {
    return std::endian::native == std::endian::little ? std::rotl(sum, 8) : sum;
}
} // namespace detail

/// The changes of a packet that came as `before` and leaves as `after`: ~m + m' of RFC 1624, over all words. Across
/// families the difference of the two addresses' sums is just what the pseudo-header changes by, for the rest of it
/// stays the same.
template <ip_version From, ip_version To>
[[nodiscard]] constexpr sum_changes changes_of(tuple<From> const& before, tuple<To> const& after) noexcept {
    auto const network =
        detail::in_host_order(fold(detail::address_sum(before, 0xffff'ffff) + detail::address_sum(after, 0)));
    auto const ports = std::uint32_t{before.source_port ^ 0xffffu} + (before.destination_port ^ 0xffffu) +
                       after.source_port + after.destination_port;
    return {.network = network, .transport = fold(std::uint64_t{network} + ports)};
}

/// What packets of the direction `d` get where those of the original direction get `changes`: the same or its
/// opposite, without a branch, for which direction comes next cannot be foreseen.
[[nodiscard, gnu::always_inline]] constexpr sum_changes towards(sum_changes changes, flow_direction d) noexcept {
    auto const mask = static_cast<std::uint16_t>(0u - static_cast<unsigned>(d));
    return {.network = static_cast<std::uint16_t>(changes.network ^ mask),
            .transport = static_cast<std::uint16_t>(changes.transport ^ mask)};
}
static_assert(towards({0x1234, 0x5678}, flow_direction::reply).network == opposite(0x1234));

} // namespace v0_2
} // namespace kubeproxy
