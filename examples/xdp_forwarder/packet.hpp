#pragma once

#include "support/ethernet.hpp"
#include "xdp_forwarder/umem.hpp"

#include "kubeproxy/wire/packet_buffer.hpp"

#include <cassert>
#include <cstddef>
#include <cstdint>

namespace examples::xdp {

/// A packet where the device has put it: the library changes it there, and it leaves from there. Whoever has it gives
/// the frame on, to a socket or back to the memory; the packet itself is but a place.
class packet {
  public:
    packet() = default;
    /// \param address of a frame of at least an Ethernet header, in `memory`
    packet(frame_memory const& memory, std::uint64_t address, std::size_t size, std::uint32_t link) noexcept
        : frame_{memory.frame(address)}, address_{frame_memory::first_of(address)}, begin_{static_cast<std::size_t>(
                                                                                               address - address_) +
                                                                                           ethernet_header::size},
          end_{begin_ - ethernet_header::size + size}, link_{link} {}

    [[nodiscard]] kubeproxy::mutable_byte_span bytes() const noexcept { return frame_.subspan(begin_, end_ - begin_); }
    [[nodiscard]] std::size_t headroom() const noexcept { return begin_ - ethernet_header::size; }
    void grow_front(std::size_t n) noexcept {
        assert(n <= headroom());
        begin_ -= n;
    }
    void shrink_front(std::size_t n) noexcept {
        assert(n <= end_ - begin_);
        begin_ += n;
    }
    void truncate(std::size_t size) noexcept {
        assert(size <= end_ - begin_);
        end_ = begin_ + size;
    }

    /// With the Ethernet header before it.
    [[nodiscard]] kubeproxy::mutable_byte_span frame() const noexcept {
        return frame_.subspan(begin_ - ethernet_header::size, end_ - begin_ + ethernet_header::size);
    }
    /// Where frame() starts in the memory.
    [[nodiscard]] std::uint64_t address() const noexcept { return address_ + begin_ - ethernet_header::size; }
    /// The link that it came in by.
    [[nodiscard]] std::uint32_t link() const noexcept { return link_; }
    /// Whether it came in by a link of local pods.
    [[nodiscard]] bool is_from_local_pod() const noexcept { return is_from_local_pod_; }
    void set_from_local_pod(bool is) noexcept { is_from_local_pod_ = is; }

  private:
    kubeproxy::mutable_byte_span frame_{};
    std::uint64_t address_ = 0;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::uint32_t link_ = 0;
    bool is_from_local_pod_ = false;
};
static_assert(kubeproxy::packet_buffer<packet>);

} // namespace examples::xdp
