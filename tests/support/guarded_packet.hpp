#pragma once

#include "kubeproxy/wire/packet_buffer.hpp"

#include <algorithm>
#include <cstddef>
#include <vector>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KUBEPROXY_ADDRESS_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define KUBEPROXY_ADDRESS_SANITIZER 1
#endif

/// Packets in memory of their own, so that a byte touched around them is found out.
namespace kubeproxy::testing_support {

#if defined(KUBEPROXY_ADDRESS_SANITIZER)
inline constexpr std::size_t guard_size = 0; // the sanitizer guards the block itself, against reading, too
#else
inline constexpr std::size_t guard_size = 32;
#endif
#undef KUBEPROXY_ADDRESS_SANITIZER

/// What a host says about a packet beside its bytes.
struct packet_traits {
    std::size_t headroom = 128;
    checksum_state checksum = checksum_state::complete;
    std::size_t gso_size = 0;
    bool maps_stateless_replies = false;
};

class guarded_packet {
  public:
    using octets = std::vector<std::byte>;

    explicit guarded_packet(byte_span bytes, packet_traits const& traits = {})
        : memory_(guard_size + traits.headroom + bytes.size() + guard_size, guard),
          original_(bytes.begin(), bytes.end()), traits_{traits}, front_{guard_size + traits.headroom},
          lowest_front_{front_}, size_{bytes.size()} {
        std::copy(bytes.begin(), bytes.end(), memory_.begin() + static_cast<std::ptrdiff_t>(front_));
    }

    [[nodiscard]] mutable_byte_span bytes() noexcept { return mutable_byte_span{memory_}.subspan(front_, size_); }
    [[nodiscard]] byte_span bytes() const noexcept { return byte_span{memory_}.subspan(front_, size_); }
    [[nodiscard]] std::size_t headroom() const noexcept { return front_ - guard_size; }
    void grow_front(std::size_t n) noexcept {
        kept_to_contract_ = kept_to_contract_ && n <= headroom();
        n = std::min(n, headroom());
        front_ -= n;
        size_ += n;
        lowest_front_ = std::min(lowest_front_, front_);
    }
    void shrink_front(std::size_t n) noexcept {
        kept_to_contract_ = kept_to_contract_ && n <= size_;
        n = std::min(n, size_);
        front_ += n;
        size_ -= n;
    }
    void truncate(std::size_t size) noexcept {
        kept_to_contract_ = kept_to_contract_ && size <= size_;
        size_ = std::min(size, size_);
    }
    [[nodiscard]] checksum_state transport_checksum() const noexcept { return traits_.checksum; }
    [[nodiscard]] std::size_t gso_size() const noexcept { return traits_.gso_size; }
    [[nodiscard]] bool maps_stateless_replies() const noexcept { return traits_.maps_stateless_replies; }

    /// As the packet came.
    [[nodiscard]] octets const& original() const noexcept { return original_; }
    [[nodiscard]] packet_traits const& traits() const noexcept { return traits_; }
    /// Nothing was asked that the contract of packet_buffer excludes, and nothing written but the packet as it was at
    /// one time or another.
    [[nodiscard]] bool is_intact() const noexcept {
        auto const is_guard = [](std::byte b) { return b == guard; };
        return kept_to_contract_ && std::ranges::all_of(byte_span{memory_}.first(lowest_front_), is_guard) &&
               std::ranges::all_of(byte_span{memory_}.last(guard_size), is_guard);
    }

  private:
    static constexpr std::byte guard{0xa5};
    octets memory_;
    octets original_;
    packet_traits traits_;
    std::size_t front_;
    std::size_t lowest_front_;
    std::size_t size_;
    bool kept_to_contract_ = true;
};
static_assert(packet_buffer<guarded_packet>);

} // namespace kubeproxy::testing_support
