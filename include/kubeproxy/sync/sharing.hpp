#pragma once

#include "kubeproxy/version.hpp"

#include <concepts>
#include <cstdint>
#include <thread>

/// Who may use a table at the same time: a template argument that turns its words into atomics, or not.
namespace kubeproxy {
inline namespace v0_2 {

namespace detail {
/// A function that only prefetches has no effect that g++ knows of, and a call of it is left out where it is not
/// inlined. This is an effect.
[[gnu::always_inline]] inline void keep_prefetch(void const* where) noexcept { asm volatile("" : : "r"(where)); }
} // namespace detail

/// Starts to fetch the cache line; never faults, never waits.
[[gnu::always_inline]] inline void prefetch_for_read(void const* where) noexcept {
    __builtin_prefetch(where, 0, 3);
    detail::keep_prefetch(where);
}
[[gnu::always_inline]] inline void prefetch_for_write(void const* where) noexcept {
    __builtin_prefetch(where, 1, 3);
    detail::keep_prefetch(where);
}

namespace detail {
/// What an attempt to make room in a table of fixed size achieved.
enum class room : std::uint8_t {
    made,      ///< There is room now, unless another worker has taken it since.
    none,      ///< The table is full.
    lost_race, ///< Another worker changed what this attempt relied on. The table need not be full: try again.
};
} // namespace detail

/// One thread at a time: plain memory.
struct single_worker {
    static constexpr bool is_shared = false;

    template <std::unsigned_integral T>
    class cell {
      public:
        [[nodiscard]] T load() const noexcept { return value_; }
        [[nodiscard]] T load_acquire() const noexcept { return value_; }
        void store(T value) noexcept { value_ = value; }
        void store_release(T value) noexcept { value_ = value; }
        /// Stores if the value is the expected one; says whether it was.
        bool replace(T expected, T desired) noexcept {
            if (value_ != expected) return false;
            value_ = desired;
            return true;
        }
        T exchange(T value) noexcept {
            auto const before = value_;
            value_ = value;
            return before;
        }
        T add(T more) noexcept {
            value_ = static_cast<T>(value_ + more);
            return static_cast<T>(value_ - more);
        }

      private:
        T value_;
    };
    struct lock {
        void acquire() noexcept {}
        void release() noexcept {}
    };
};

/// Any number of threads, each inside a quiescent_domain while it holds what it found.
struct shared_workers {
    static constexpr bool is_shared = true;

    /// A plain word that is accessed atomically, so that zeroed memory is an array of cells without touching it.
    /// By the compiler's functions: std::atomic_ref does the same, but libc++ has it only since version 19.
    template <std::unsigned_integral T>
    class cell {
      public:
        [[nodiscard]] T load() const noexcept { return __atomic_load_n(&value_, __ATOMIC_RELAXED); }
        [[nodiscard]] T load_acquire() const noexcept { return __atomic_load_n(&value_, __ATOMIC_ACQUIRE); }
        void store(T value) noexcept { __atomic_store_n(&value_, value, __ATOMIC_RELAXED); }
        void store_release(T value) noexcept { __atomic_store_n(&value_, value, __ATOMIC_RELEASE); }
        bool replace(T expected, T desired) noexcept {
            return __atomic_compare_exchange_n(&value_, &expected, desired, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
        }
        T exchange(T value) noexcept { return __atomic_exchange_n(&value_, value, __ATOMIC_ACQ_REL); }
        T add(T more) noexcept { return __atomic_fetch_add(&value_, more, __ATOMIC_RELAXED); }

      private:
        alignas(sizeof(T)) T value_;
    };

    class lock {
      public:
        void acquire() noexcept;
        void release() noexcept { held_.store_release(0); }

      private:
        cell<std::uint32_t> held_{};
    };
};

namespace detail {

/// Waits a little longer each time it is asked; lets others run when the one waited for has lost its processor.
class backoff {
  public:
    void operator()() noexcept {
        if (++times_ > spins) std::this_thread::yield();
#if defined(__x86_64__) || defined(__i386__)
        else
            __builtin_ia32_pause();
#endif
    }

  private:
    static constexpr unsigned spins = 1000; // some 10 us, longer than any section that is held
    unsigned times_ = 0;
};

} // namespace detail

inline void shared_workers::lock::acquire() noexcept {
    for (detail::backoff wait; !held_.replace(0, 1);) wait();
}

} // namespace v0_2
} // namespace kubeproxy
