#pragma once

#include "kubeproxy/wire/bytes.hpp"

#include <cassert>
#include <concepts>
#include <cstddef>
#include <cstdint>

namespace kubeproxy {
inline namespace v0_2 {

namespace detail {
// The functions of a packet_buffer, one by one, so that an error can say which one is missing.
template <class P>
concept has_bytes = requires(P& p) {
    { p.bytes() }
    noexcept->std::convertible_to<mutable_byte_span>;
};
template <class P>
concept has_headroom = requires(P const& p) {
    { p.headroom() }
    noexcept->std::convertible_to<std::size_t>;
};
template <class P>
concept has_grow_front = requires(P& p, std::size_t n) {
    { p.grow_front(n) }
    noexcept;
};
template <class P>
concept has_shrink_front = requires(P& p, std::size_t n) {
    { p.shrink_front(n) }
    noexcept;
};
template <class P>
concept has_truncate = requires(P& p, std::size_t n) {
    { p.truncate(n) }
    noexcept;
};
} // namespace detail

/// A packet in the host's own buffer. It starts at the IP header; what lies behind the packet (link-layer
/// padding) may be included.
///
/// bytes()          the packet as it now is
/// headroom()       how many bytes grow_front may take in all, now
/// grow_front(n)    n bytes more at the front, of any value. \pre n <= headroom()
/// shrink_front(n)  n bytes less at the front. \pre n <= bytes().size()
/// truncate(size)   only the first `size` bytes stay. \pre size <= bytes().size()
template <class P>
concept packet_buffer = detail::has_bytes<P> && detail::has_headroom<P> && detail::has_grow_front<P> &&
    detail::has_shrink_front<P> && detail::has_truncate<P>;

/// What the transport checksum field holds.
enum class checksum_state : std::uint8_t {
    complete, ///< the checksum, right or wrong
    partial,  ///< the sum of the pseudo-header, not complemented; the device adds the rest (virtio NEEDS_CSUM)
    verified, ///< the checksum, which the device has found right, or which the host vouches for
};

/// A host with offloads adds `checksum_state transport_checksum() const noexcept`. Without it, checksums are complete,
/// and verified only for packets that would change the state of a flow.
template <class P>
[[nodiscard]] constexpr checksum_state transport_checksum_of(P const& packet) noexcept {
    if constexpr (requires {
                      { packet.transport_checksum() }
                      noexcept->std::same_as<checksum_state>;
                  })
        return packet.transport_checksum();
    else
        return checksum_state::complete;
}

/// A host with segmentation offload adds `std::size_t gso_size() const noexcept`: transport payload bytes of
/// each segment that the device will make, 0 for a packet that leaves whole.
template <class P>
[[nodiscard]] constexpr std::size_t gso_size_of(P const& packet) noexcept {
    if constexpr (requires {
                      { packet.gso_size() }
                      noexcept->std::convertible_to<std::size_t>;
                  })
        return packet.gso_size();
    else
        return 0;
}

/// A host with interfaces that `ku set interface` names adds `bool maps_stateless_replies() const noexcept`: whether
/// the packet came in by one that is set for its IP version. A reply without a flow is then mapped by its backend.
template <class P>
[[nodiscard]] constexpr bool maps_stateless_replies_of(P const& packet) noexcept {
    if constexpr (requires {
                      { packet.maps_stateless_replies() }
                      noexcept->std::same_as<bool>;
                  })
        return packet.maps_stateless_replies();
    else
        return false;
}

/// A host that knows the links of local pods (node_configuration::pod_links) adds
/// `bool is_from_local_pod() const noexcept`: whether the packet arrived by one of them. It is asked for new flows
/// only.
template <class P>
[[nodiscard]] constexpr bool is_from_local_pod_of(P const& packet) noexcept {
    if constexpr (requires {
                      { packet.is_from_local_pod() }
                      noexcept->std::same_as<bool>;
                  })
        return packet.is_from_local_pod();
    else
        return false;
}

/// A packet in a fixed piece of memory with room before it: the simplest packet_buffer, for hosts that have
/// no buffers of their own, and for tests.
class span_packet {
  public:
    /// \pre headroom <= memory.size()
    span_packet(mutable_byte_span memory, std::size_t headroom) noexcept
        : memory_{memory}, front_{headroom}, size_{memory.size() - headroom} {}

    [[nodiscard]] mutable_byte_span bytes() const noexcept { return {memory_.data() + front_, size_}; }
    [[nodiscard]] std::size_t headroom() const noexcept { return front_; }
    void grow_front(std::size_t n) noexcept {
        assert(n <= front_);
        front_ -= n;
        size_ += n;
    }
    void shrink_front(std::size_t n) noexcept {
        assert(n <= size_);
        front_ += n;
        size_ -= n;
    }
    void truncate(std::size_t size) noexcept {
        assert(size <= size_);
        size_ = size;
    }

  private:
    mutable_byte_span memory_;
    std::size_t front_;
    std::size_t size_;
};
static_assert(packet_buffer<span_packet>);

} // namespace v0_2
} // namespace kubeproxy
