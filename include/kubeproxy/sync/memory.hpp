#pragma once

#include "kubeproxy/sync/setup_error.hpp"

#include <cassert>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

/// Where tables live: big zeroed arrays that cost nothing until they are touched.
namespace kubeproxy {
inline namespace v0_2 {

struct memory_block {
    void* allocation = nullptr; ///< what the policy takes back
    void* start = nullptr;      ///< zeroed bytes, aligned to a page or a cache line
    std::size_t size = 0;       ///< of the allocation
};

/// The C library's zeroed memory: large blocks come fresh from the system, and are not touched here.
struct standard_memory {
    static constexpr std::size_t alignment = 128;

    [[nodiscard]] static memory_block allocate(std::size_t bytes) {
        auto space = bytes + alignment;
        auto* const allocation = std::calloc(space, 1);
        if (allocation == nullptr) fail_setup(std::bad_alloc{});
        auto* start = allocation;
        std::align(alignment, bytes, start, space);
        return {allocation, start, bytes + alignment};
    }
    static void release(memory_block const& block) noexcept { std::free(block.allocation); }
};

#if defined(__linux__)
/// Anonymous pages that the kernel is asked to make huge (madvise(2), MADV_HUGEPAGE): a random access then costs
/// no walk of page tables. Where it does not, they are ordinary pages.
struct huge_page_memory {
    static constexpr std::size_t huge_page = std::size_t{2} << 20;

    [[nodiscard]] static memory_block allocate(std::size_t bytes) {
        bool const worth_it = bytes >= huge_page;
        auto space = worth_it ? bytes + 2 * huge_page : bytes;
        auto* const allocation = mmap(nullptr, space, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (allocation == MAP_FAILED) fail_setup(std::bad_alloc{});
        memory_block const block{allocation, allocation, space};
        if (!worth_it) return block;
        auto* start = allocation;
        std::align(huge_page, bytes + huge_page, start, space);
        madvise(start, (bytes + huge_page - 1) / huge_page * huge_page,
                MADV_HUGEPAGE); // a wish: failure costs time only
        return {allocation, start, block.size};
    }
    static void release(memory_block const& block) noexcept { munmap(block.allocation, block.size); }
};
#else
using huge_page_memory = standard_memory;
#endif

/// A fixed number of objects whose zeroed bytes are their first value.
template <class T, class Memory>
    requires std::is_trivially_destructible_v<T>
class zeroed_array {
  public:
    explicit zeroed_array(std::size_t count)
        : count_{count}, block_{Memory::allocate(count == 0 ? sizeof(T) : count * sizeof(T))}, objects_{static_cast<T*>(
                                                                                                   block_.start)} {}
    zeroed_array(zeroed_array&& other) noexcept
        : count_{std::exchange(other.count_, 0)}, block_{std::exchange(other.block_, {})}, objects_{std::exchange(
                                                                                               other.objects_,
                                                                                               nullptr)} {}
    zeroed_array& operator=(zeroed_array other) noexcept {
        std::swap(count_, other.count_);
        std::swap(block_, other.block_);
        std::swap(objects_, other.objects_);
        return *this;
    }
    ~zeroed_array() {
        if (block_.allocation != nullptr) Memory::release(block_);
    }

    [[nodiscard]] T& operator[](std::size_t i) noexcept {
        assert(i < count_);
        return objects_[i];
    }
    [[nodiscard]] T const& operator[](std::size_t i) const noexcept {
        assert(i < count_);
        return objects_[i];
    }
    [[nodiscard]] std::size_t size() const noexcept { return count_; }
    [[nodiscard]] std::size_t bytes() const noexcept { return count_ * sizeof(T); }
    /// For a prefetch: any index may be asked for.
    [[nodiscard]] T const* address(std::size_t i) const noexcept { return objects_ + i; }

  private:
    std::size_t count_;
    memory_block block_;
    T* objects_;
};

} // namespace v0_2
} // namespace kubeproxy
