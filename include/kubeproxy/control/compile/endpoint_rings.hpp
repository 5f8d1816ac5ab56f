#pragma once

#include "kubeproxy/control/compile/endpoints.hpp"
#include "kubeproxy/control/compile/ring_cache.hpp"
#include "kubeproxy/service/ring_hash.hpp"
#include "kubeproxy/service/snapshot.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

/// Rings of the endpoints that a service's new flows may use.
namespace kubeproxy {
inline namespace v0_2 {

using shared_ring = std::shared_ptr<endpoint_ring const>;

/// The targets of a service port, and the places of each in the snapshot.
struct placed_targets {
    std::span<target const> targets;
    std::span<std::uint32_t const> places;
    unsigned version = 4; ///< of their addresses
    std::uint32_t ring_size = 0;
};

namespace detail {

struct ring_member {
    ring_backend as;
    std::uint32_t place;
};

/// Address and port, in network order: the same on every node.
[[nodiscard]] inline std::uint64_t key_of(target const& t, unsigned version, std::uint64_t seed) noexcept {
    std::array<std::byte, sizeof(ipv6::address) + sizeof t.port> identity{};
    std::size_t const size = version == 4 ? sizeof(ipv4::address) : sizeof(ipv6::address);
    std::ranges::copy_n(t.address.begin(), static_cast<std::ptrdiff_t>(size), identity.begin());
    identity[size] = static_cast<std::byte>(t.port >> 8);
    identity[size + 1] = static_cast<std::byte>(t.port & 0xff);
    return ring_key(std::span{identity}.first(size + sizeof t.port), seed);
}

/// Sorted by key, so that the same endpoints make the same ring wherever they stand in their lists.
[[nodiscard]] inline std::vector<ring_member> members_of(placed_targets const& all, endpoint_scope scope,
                                                         std::uint64_t seed) {
    std::vector<ring_member> members;
    for (auto const i : usable(all.targets, scope)) {
        auto const& t = all.targets[i];
        if (t.is->weight != 0) members.push_back({{key_of(t, all.version, seed), t.is->weight}, all.places[i]});
    }
    std::ranges::sort(members, [](ring_member const& a, ring_member const& b) {
        return std::tie(a.as.key, a.as.weight, a.place) < std::tie(b.as.key, b.as.weight, b.place);
    });
    return members;
}

} // namespace detail

/// The ring of the usable ones, null if there is none. It is `before` or `alike` where it would be the same.
[[nodiscard]] inline shared_ring make_endpoint_ring(ring_cache& rings, placed_targets const& all, endpoint_scope scope,
                                                    shared_ring const& before, shared_ring const& alike = nullptr) {
    auto const members = detail::members_of(all, scope, rings.seed());
    if (members.empty()) return nullptr;
    std::vector<ring_backend> backends;
    endpoint_ring ring;
    backends.reserve(members.size());
    ring.backends.reserve(members.size());
    for (auto const& member : members) {
        backends.push_back(member.as);
        ring.backends.push_back(member.place);
    }
    ring.entries = rings.find_or_build(std::move(backends), all.ring_size);
    for (auto const* known : {&alike, &before})
        if (*known && (*known)->entries == ring.entries && (*known)->backends == ring.backends) return *known;
    return std::make_shared<endpoint_ring const>(std::move(ring));
}

} // namespace v0_2
} // namespace kubeproxy
