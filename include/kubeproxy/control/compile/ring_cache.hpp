#pragma once

#include "kubeproxy/control/config/sharded.hpp"
#include "kubeproxy/service/maglev.hpp"
#include "kubeproxy/service/ring_hash.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

using ring_entries = std::shared_ptr<std::vector<std::uint16_t> const>;

/// Builds rings, and hands out the same one for the same backends as long as somebody has it.
class ring_cache {
  public:
    explicit ring_cache(std::uint64_t seed) noexcept : seed_{seed} {}

    [[nodiscard]] std::uint64_t seed() const noexcept { return seed_; }

    /// The ring of these backends with at least `lower_bound` entries.
    [[nodiscard]] ring_entries find_or_build(std::vector<ring_backend> backends, std::uint32_t lower_bound) {
        auto const size = ring_size_for(std::span<ring_backend const>{backends}, lower_bound);
        auto const hash = hash_of(backends, size);
        auto& table = rings_.of(hash);
        auto [first, last] = table.rings.equal_range(hash);
        for (; first != last; ++first)
            if (auto known = first->second.entries.lock(); known && first->second.is_of(backends, size)) return known;
        if (table.rings.size() >= table.sweep_at) sweep(table);
        auto built = std::make_shared<std::vector<std::uint16_t> const>(build_ring(backends, size, seed_));
        table.rings.emplace(hash, known_ring{std::move(backends), size, built});
        return built;
    }

    /// How many are in use, for those who watch the memory.
    [[nodiscard]] std::size_t alive() const {
        auto const in_use = [](auto const& ring) { return !ring.second.entries.expired(); };
        std::size_t count = 0;
        for (auto const& table : rings_) count += static_cast<std::size_t>(std::ranges::count_if(table.rings, in_use));
        return count;
    }

  private:
    struct known_ring {
        std::vector<ring_backend> backends;
        std::uint32_t size;
        std::weak_ptr<std::vector<std::uint16_t> const> entries;

        [[nodiscard]] bool is_of(std::span<ring_backend const> others, std::uint32_t its_size) const noexcept {
            auto const same = [](ring_backend const& a, ring_backend const& b) {
                return a.key == b.key && a.weight == b.weight;
            };
            return size == its_size && std::ranges::equal(backends, others, same);
        }
    };

    [[nodiscard]] static std::uint64_t hash_of(std::span<ring_backend const> backends, std::uint32_t size) noexcept {
        std::uint64_t hash = size;
        for (auto const& b : backends) hash = detail::ring_mix(hash + detail::ring_gamma * (b.key ^ b.weight));
        return hash;
    }
    static constexpr std::size_t min_sweep = 8;
    struct known_rings {
        std::unordered_multimap<std::uint64_t, known_ring> rings;
        std::size_t sweep_at = min_sweep;
    };
    /// Forgets rings that nobody has any more; each time as many may gather as are in use.
    static void sweep(known_rings& t) {
        std::erase_if(t.rings, [](auto const& ring) { return ring.second.entries.expired(); });
        t.sweep_at = std::max(min_sweep, 2 * t.rings.size());
    }

    std::uint64_t seed_;
    sharded<known_rings> rings_;
};

} // namespace v0_2
} // namespace kubeproxy
