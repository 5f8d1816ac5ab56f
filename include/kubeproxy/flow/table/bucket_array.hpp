#pragma once

#include "kubeproxy/flow/table/bucket.hpp"
#include "kubeproxy/sync/memory.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace kubeproxy {
inline namespace v0_2 {
namespace detail {

/// The buckets of an index, and which two of them an entry may stand in.
template <class Sharing, class Memory>
class bucket_array : public zeroed_array<bucket<Sharing>, Memory> {
  public:
    using bucket_type = bucket<Sharing>;
    using zeroed_array<bucket_type, Memory>::zeroed_array;

    /// Maps 32 bits to a bucket without a division (Lemire 2019).
    [[nodiscard]] std::uint32_t scaled(std::uint32_t bits) const noexcept {
        return static_cast<std::uint32_t>(std::uint64_t{bits} * this->size() >> 32);
    }
    /// The other of the two buckets in which an entry of this label may stand; other_of(other_of(b, l), l) is b. The
    /// lowest bit of the label is ignored.
    [[nodiscard]] std::uint32_t other_of(std::uint32_t one, std::uint32_t label) const noexcept {
        auto const sum = scaled((label >> 1) * 0x9e37'79b1u);
        return sum >= one ? sum - one : static_cast<std::uint32_t>(sum + this->size() - one);
    }
};

/// Holds the lock of one bucket, or of two; two are locked in the order of their numbers, so that workers that want the
/// same two do not wait for each other for ever.
template <class Sharing>
class bucket_guard {
    using bucket_type = bucket<Sharing>;

  public:
    explicit bucket_guard(bucket_type& b) noexcept : low_{b} { low_.acquire(); }
    template <class Buckets>
    bucket_guard(Buckets& buckets, std::uint32_t a, std::uint32_t b) noexcept
        : low_{buckets[std::min(a, b)]}, high_{a == b ? nullptr : &buckets[std::max(a, b)]} {
        low_.acquire();
        if (high_ != nullptr) high_->acquire();
    }
    bucket_guard(bucket_guard const&) = delete;
    bucket_guard& operator=(bucket_guard const&) = delete;
    ~bucket_guard() {
        if (high_ != nullptr) high_->release();
        low_.release();
    }

  private:
    bucket_type& low_;
    bucket_type* high_ = nullptr;
};

} // namespace detail
} // namespace v0_2
} // namespace kubeproxy
