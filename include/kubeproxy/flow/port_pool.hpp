#pragma once

#include "kubeproxy/flow/hash.hpp"
#include "kubeproxy/flow/port_space.hpp"
#include "kubeproxy/flow/tuple.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

/// What flows may show as their source.
template <ip_version V>
struct source_range {
    typename V::address first{}; ///< addresses first to last
    typename V::address last{};  ///< \pre not before first; IPv6: its first 64 bits are those of first
    port_span excluded{1, 0};    ///< ports that are not for this: node ports
};

/// Chooses the source that a masqueraded or NAT64 flow shows to its remote endpoint. Each worker has its own.
///
/// Towards a remote endpoint ports are taken in ascending order from a place that the seed decides, so that one comes
/// again only after all the others: a remote in TIME_WAIT sees no port that it still remembers. The cursors are
/// RFC 6056's algorithm 4, shared by remotes whose hashes meet. One port serves towards different remotes at a
/// time; the table says which are taken, so no live flow loses its own.
///
/// A client keeps its address (paired pooling, RFC 4787 REQ-2) while that has ports left.
template <ip_version V>
class port_pool {
  public:
    /// Table lookups that one call may cause; after a call that fails, the next begins where it left off.
    static constexpr std::size_t max_probes = 64;
    /// Table lookups that sample() may cause.
    static constexpr std::size_t max_samples = 32;

    /// \param seed a secret: it hides which port comes next from those who do not see the traffic
    explicit port_pool(std::uint64_t seed, worker_share share = {})
        : share_{detail::checked(share)}, hash_{seed}, cursors_(cursor_count) {
        for (std::size_t i = 0; i < cursor_count; ++i)
            cursors_[i] = static_cast<std::uint32_t>(hash_(tuple<ipv4>{.source_port = static_cast<std::uint16_t>(i)}));
    }

    /// `translated` with a source of `range` that stands in for `original`'s and that `is_free(tuple<V> const&)`
    /// accepts; nullopt when none of those probed was.
    /// \pre translated's protocol, destination and destination port are what the remote endpoint sees
    template <ip_version C, class IsFree>
    [[nodiscard]] std::optional<tuple<V>> choose(source_range<V> const& range, tuple<C> const& original,
                                                 tuple<V> translated, IsFree is_free) noexcept {
        auto const preference = detail::preferred_kinds(translated.protocol, original.source_port);
        auto const addresses = low_part(range.last) - low_part(range.first) + 1;
        auto const tries = static_cast<std::size_t>(std::min<std::uint64_t>(addresses, max_addresses));
        auto const probes = max_probes / (tries * preference.size);
        auto at = address_for(original, addresses);
        for (std::size_t i = 0; i < tries; ++i) {
            translated.source = plus(range.first, at);
            for (std::size_t k = 0; k < preference.size; ++k) {
                auto const kind = preference.kinds[k];
                if (probe(translated, kind, detail::space_of(kind, range.excluded, share_), probes, is_free))
                    return translated;
            }
            at = at + 1 == addresses ? 0 : at + 1;
        }
        return std::nullopt;
    }

    /// Looks at random places for a source that `is_free`, of the address that choose() tries first: a search beside
    /// that of choose(), whose candidates are neighbours and often alike.
    template <ip_version C, class IsFree>
    [[nodiscard]] std::optional<tuple<V>> sample(source_range<V> const& range, tuple<C> const& original,
                                                 tuple<V> translated, IsFree is_free) noexcept {
        auto const preference = detail::preferred_kinds(translated.protocol, original.source_port);
        auto const addresses = low_part(range.last) - low_part(range.first) + 1;
        translated.source = plus(range.first, address_for(original, addresses));
        for (std::size_t i = 0; i < max_samples; ++i) {
            auto const space = detail::space_of(preference.kinds[i % preference.size], range.excluded, share_);
            if (space.size() == 0) continue;
            translated.source_port = static_cast<std::uint16_t>(samples_++);
            auto const place = static_cast<detail::uint128>(hash_(translated)) * space.size() >> 64;
            translated.source_port = space[static_cast<std::uint32_t>(place)];
            if (is_free(std::as_const(translated))) return translated;
        }
        return std::nullopt;
    }
    /// Whether flows of this protocol have a source port, or an identifier, to choose.
    [[nodiscard]] static constexpr bool has_choice(std::uint8_t protocol) noexcept {
        return detail::preferred_kinds(protocol, 0).kinds[0] != detail::port_kind::none;
    }

  private:
    static constexpr std::size_t cursor_count = 8192; // 32 KiB; the more, the fewer remotes share one
    static constexpr std::size_t max_addresses = 4;

    [[nodiscard]] static constexpr std::uint64_t low_part(typename V::address const& a) noexcept {
        std::uint64_t value = 0;
        for (std::size_t i = a.size() > 8 ? a.size() - 8 : 0; i < a.size(); ++i)
            value = value << 8 | std::to_integer<std::uint64_t>(a[i]);
        return value;
    }
    [[nodiscard]] static typename V::address plus(typename V::address a, std::uint64_t more) noexcept {
        auto value = low_part(a) + more;
        for (auto at = a.size(); at > 0 && at + 8 > a.size(); value >>= 8)
            a[--at] = static_cast<std::byte>(value & 0xff);
        return a;
    }
    /// A client's address decides, not its port.
    template <ip_version C>
    [[nodiscard]] std::uint64_t address_for(tuple<C> const& original, std::uint64_t addresses) const noexcept {
        auto const h = hash_(tuple<C>{.source = original.source});
        return static_cast<std::uint64_t>(static_cast<detail::uint128>(h) * addresses >> 64);
    }

    template <class IsFree>
    [[nodiscard]] bool probe(tuple<V>& translated, detail::port_kind kind, detail::port_space const& space,
                             std::size_t probes, IsFree& is_free) noexcept {
        if (space.size() == 0) return false;
        translated.source_port = static_cast<std::uint16_t>(kind); // so that each kind has its own order
        auto const h = hash_(translated);
        std::uint64_t const start = h & 0xffff'ffffu;
        auto& cursor = cursors_[static_cast<std::size_t>(h >> 32) % cursor_count];
        for (auto left = std::min<std::size_t>(probes, space.size()); left > 0; --left) {
            translated.source_port = space[static_cast<std::uint32_t>((start + cursor++) % space.size())];
            if (is_free(std::as_const(translated))) return true;
        }
        return false;
    }

    worker_share share_;
    flow_hash hash_;
    std::vector<std::uint32_t> cursors_;
    std::uint32_t samples_ = 0;
};

} // namespace v0_2
} // namespace kubeproxy
