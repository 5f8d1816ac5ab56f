#pragma once

#include "kubeproxy/sync/sharing.hpp"

#include <concepts>
#include <cstddef>
#include <functional>
#include <utility>

namespace kubeproxy::testing_support {

/// As shared_workers, but a test chooses what another worker does between two steps of this one: `meanwhile` is called
/// once, immediately before the next compare-and-swap of a word of `size` bytes. 8 bytes: a bucket of the index is
/// about to be locked. 1 byte: a flow is about to change its state or to end.
struct interrupted_workers {
    static constexpr bool is_shared = true;

    static inline std::function<void()> meanwhile;
    static inline std::size_t size = 0;
    static inline unsigned skipped = 0; ///< so many compare-and-swaps pass first

    static void interrupt(std::size_t word_size, unsigned after, std::function<void()> f) {
        size = word_size;
        skipped = after;
        meanwhile = std::move(f);
    }

    template <std::unsigned_integral T>
    class cell : public shared_workers::cell<T> {
      public:
        bool replace(T expected, T desired) noexcept {
            if (sizeof(T) == size && meanwhile && skipped-- == 0) std::exchange(meanwhile, {})();
            return shared_workers::cell<T>::replace(expected, desired);
        }
    };
    using lock = shared_workers::lock;
};

} // namespace kubeproxy::testing_support
