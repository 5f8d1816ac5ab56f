#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>

namespace kubeproxy::inline v0_2 {

/// Says when nobody can still hold what was taken out of a shared structure (quiescent-state-based
/// reclamation; Hart et al., IPDPS 2006).
///
/// A worker is inside from enter() to leave(), which is one burst. What is unlinked before advance()
/// returns e may be freed or reused as soon as has_passed(e): every worker is outside, or entered later.
/// A worker that is idle holds nothing back.
class quiescent_domain {
  public:
    static constexpr std::size_t max_workers = 64;
    using epoch = std::uint64_t;

    quiescent_domain() = default;
    quiescent_domain(quiescent_domain const&) = delete;
    quiescent_domain& operator=(quiescent_domain const&) = delete;

    /// A place for one worker; none when max_workers are attached.
    [[nodiscard]] std::optional<std::size_t> attach() noexcept {
        for (std::size_t i = 0; i < max_workers; ++i)
            if (bool expected = false; slots_[i].taken.compare_exchange_strong(expected, true)) return i;
        return std::nullopt;
    }
    [[nodiscard]] bool is_full() const noexcept {
        for (auto const& s : slots_)
            if (!s.taken.load()) return false;
        return true;
    }
    /// \pre the worker is outside
    void detach(std::size_t worker) noexcept { slots_[worker].taken.store(false); }

    /// One locked store: a pointer loaded after it is not freed before leave().
    /// \pre the load, and the store that unlinks, are sequentially consistent like it
    void enter(std::size_t worker) noexcept { slots_[worker].inside_since.store(epoch_.load()); }
    void leave(std::size_t worker) noexcept { slots_[worker].inside_since.store(outside, std::memory_order_release); }

    [[nodiscard]] epoch current() const noexcept { return epoch_.load(); }
    [[nodiscard]] epoch advance() noexcept { return epoch_.fetch_add(1) + 1; }
    /// O(max_workers)
    [[nodiscard]] bool has_passed(epoch e) const noexcept {
        for (auto const& s : slots_)
            if (s.inside_since.load() < e) return false;
        return true;
    }

  private:
    static constexpr epoch outside = std::numeric_limits<epoch>::max();
    struct alignas(64) slot { // a cache line each, or workers would slow each other down
        std::atomic<epoch> inside_since{outside};
        std::atomic<bool> taken{false};
    };
    std::atomic<epoch> epoch_{1};
    std::array<slot, max_workers> slots_{};
};

} // namespace kubeproxy::inline v0_2
