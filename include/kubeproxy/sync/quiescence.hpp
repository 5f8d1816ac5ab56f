#pragma once

#include "kubeproxy/version.hpp"

#include <array>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>

namespace kubeproxy {
inline namespace v0_2 {

namespace detail {
// g++ warns that ThreadSanitizer does not model fences. Here a fence only decides which values are read; whoever reuses
// memory is ordered after its readers by the release and acquire operations below, which ThreadSanitizer does model.
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
#endif
inline void full_fence() noexcept { std::atomic_thread_fence(std::memory_order_seq_cst); }
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
} // namespace detail

/// Says when no worker can still hold what was removed from a shared structure (quiescent-state-based reclamation;
/// Hart et al., IPDPS 2006).
///
/// A worker is inside from enter() to leave(), which is one burst. What is removed before advance() returns e may be
/// freed or reused as soon as has_passed(e): every worker is outside, or entered later. An idle worker delays nothing.
///
/// Why that holds in the C++ memory model, whatever memory order the removal and the worker's loads have. Let a removal
/// be followed by advance(), and that by has_passed(), which reads a worker's slot:
///
///   the slot holds             why this worker does not use the removed object when has_passed() is true
///   an epoch before e          has_passed() is false.
///   an epoch of e or later     enter() read what advance() wrote (acquire, release): the worker sees the removal.
///   outside, from leave()      The worker's burst is over (release, acquire), and its next one sees the removal:
///                              its enter() stores to the slot later than the load of has_passed(), so advance()'s
///                              fence precedes enter()'s fence in the order of sequentially consistent fences (C++20
///                              [atomics.order] paragraph 4), and so every load after enter() sees every store before
///                              advance().
///
/// No load of the worker has to be sequentially consistent. Fences are needed because without one even an acquire load
/// may be performed before an earlier store, also on processors where both are single instructions (Arm: LDAPR, STLR).
class quiescent_domain {
  public:
    static constexpr std::size_t max_workers = 64;
    using epoch = std::uint64_t;

    quiescent_domain() = default;
    quiescent_domain(quiescent_domain const&) = delete;
    quiescent_domain& operator=(quiescent_domain const&) = delete;

    /// A place for one worker; none when max_workers are attached.
    [[nodiscard]] std::optional<std::size_t> attach() noexcept {
        auto before = attached_.load(std::memory_order_relaxed);
        do {
            if (before == max_workers) return std::nullopt;
        } while (!attached_.compare_exchange_weak(before, before + 1, std::memory_order_acquire));
        // One place is for this worker, but others may come and leave meanwhile so that one pass misses it.
        for (std::size_t i = 0;; i = (i + 1) % max_workers)
            if (!slots_[i].taken.exchange(true, std::memory_order_acquire)) return i;
    }
    [[nodiscard]] bool is_full() const noexcept { return attached_.load(std::memory_order_acquire) == max_workers; }
    /// \pre the worker is outside
    void detach(std::size_t worker) noexcept {
        slots_[worker].taken.store(false, std::memory_order_release);
        attached_.fetch_sub(1, std::memory_order_release);
    }

    /// What a worker finds after this is not freed before leave(). Costs one full fence.
    void enter(std::size_t worker) noexcept {
        // Release: entering again ends the burst before, and what that has read is read no more.
        slots_[worker].inside_since.store(epoch_.load(std::memory_order_acquire), std::memory_order_release);
        detail::full_fence();
    }
    void leave(std::size_t worker) noexcept { slots_[worker].inside_since.store(outside, std::memory_order_release); }

    [[nodiscard]] epoch current() const noexcept { return epoch_.load(std::memory_order_acquire); }
    /// The epoch of all that was removed before, by the caller or by others whose removal happened before this call.
    [[nodiscard]] epoch advance() noexcept {
        auto const next = epoch_.fetch_add(1, std::memory_order_acq_rel) + 1;
        detail::full_fence();
        return next;
    }
    /// O(max_workers). \pre advance() returned `e` to this thread, or before this call
    [[nodiscard]] bool has_passed(epoch e) const noexcept {
        for (auto const& s : slots_)
            if (s.inside_since.load(std::memory_order_acquire) < e) return false;
        return true;
    }

  private:
    static constexpr epoch outside = std::numeric_limits<epoch>::max();
    struct alignas(64) slot { // a cache line each, or workers would slow each other down
        std::atomic<epoch> inside_since{outside};
        std::atomic<bool> taken{false};
    };
    std::atomic<epoch> epoch_{1};
    std::atomic<std::size_t> attached_{0};
    std::array<slot, max_workers> slots_{};
};

/// What knows the domain of its workers: a service_source.
template <class T>
concept has_quiescence = requires(T& source) {
    { source.quiescence() } -> std::same_as<quiescent_domain&>;
};

} // namespace v0_2
} // namespace kubeproxy
