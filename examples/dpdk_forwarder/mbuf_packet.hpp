#pragma once

#include "kubeproxy/wire/bytes.hpp"
#include "kubeproxy/wire/packet_buffer.hpp"
#include "support/link_header.hpp"

#include <rte_mbuf.h>

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace dpdk {

using kubeproxy::mutable_byte_span;

/// An rte_mbuf of one segment as the library sees it: the IP packet inside the frame.
///
///     buf_addr | headroom | Ethernet header, tags | IP packet | padding | tailroom
///                         data_off                bytes()
///
/// The mbuf holds a whole frame at any time: where the packet grows or shrinks in front, its link header moves along.
class mbuf_packet {
  public:
    /// Frames with longer link headers are not looked into: eight VLAN tags are no traffic.
    static constexpr std::size_t maximum_link_header = 46;

    mbuf_packet() = default;
    /// \pre the mbuf has one segment, which starts with a link header of this size; it outlives the packet
    mbuf_packet(rte_mbuf& frame, std::size_t link_size) noexcept
        : frame_{&frame}, link_size_{static_cast<std::uint16_t>(link_size)} {
        assert(frame.nb_segs == 1 && link_size <= frame.data_len);
    }

    [[nodiscard]] rte_mbuf& frame() const noexcept { return *frame_; }
    [[nodiscard]] mutable_byte_span link() const noexcept { return whole().first(link_size_); }

    [[nodiscard]] mutable_byte_span bytes() const noexcept { return whole().subspan(link_size_); }
    [[nodiscard]] std::size_t headroom() const noexcept { return rte_pktmbuf_headroom(frame_); }
    /// \pre size <= headroom()
    void grow_front(std::size_t size) noexcept {
        assert(size <= headroom());
        auto const* const before = whole().data();
        rte_pktmbuf_prepend(frame_, static_cast<std::uint16_t>(size));
        std::memmove(whole().data(), before, link_size_);
    }
    /// \pre size <= bytes().size()
    void shrink_front(std::size_t size) noexcept {
        assert(size <= bytes().size());
        std::memmove(whole().data() + size, whole().data(), link_size_);
        rte_pktmbuf_adj(frame_, static_cast<std::uint16_t>(size));
    }
    /// \pre size <= bytes().size()
    void truncate(std::size_t size) noexcept {
        assert(size <= bytes().size());
        frame_->data_len = static_cast<std::uint16_t>(link_size_ + size);
        frame_->pkt_len = frame_->data_len;
    }

    /// Devices say by "none" that a packet has not been on a wire: the field holds the sum of the pseudo-header.
    [[nodiscard]] kubeproxy::checksum_state transport_checksum() const noexcept {
        auto const said = frame_->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
        if (said == RTE_MBUF_F_RX_L4_CKSUM_NONE) return kubeproxy::checksum_state::partial;
        return said == RTE_MBUF_F_RX_L4_CKSUM_GOOD ? kubeproxy::checksum_state::verified
                                                   : kubeproxy::checksum_state::complete;
    }
    [[nodiscard]] std::size_t gso_size() const noexcept {
        return (frame_->ol_flags & RTE_MBUF_F_RX_LRO) != 0 ? frame_->tso_segsz : 0;
    }

    /// For which IP versions the port maps returns: the host sets it, `ku set interface` says it.
    struct stateless_reply_setting {
        std::uint8_t ipv4 : 1 = 0, ipv6 : 1 = 0;
    };
    void set_stateless_replies_of(stateless_reply_setting maps) noexcept { maps_ = maps; }
    [[nodiscard]] bool maps_stateless_replies() const noexcept {
        return examples::ip_version(bytes()) == 6 ? maps_.ipv6 != 0 : maps_.ipv4 != 0;
    }

    /// Its place among the frames that came with it.
    void set_place(std::size_t place) noexcept { place_ = static_cast<std::uint8_t>(place); }
    [[nodiscard]] std::size_t place() const noexcept { return place_; }

  private:
    [[nodiscard]] mutable_byte_span whole() const noexcept {
        return {rte_pktmbuf_mtod(frame_, std::byte*), frame_->data_len};
    }

    rte_mbuf* frame_ = nullptr;
    std::uint16_t link_size_ = 0;
    std::uint8_t place_ = 0;
    stateless_reply_setting maps_{};
};
static_assert(kubeproxy::packet_buffer<mbuf_packet> && sizeof(mbuf_packet) == 16);

/// A frame of its own for a packet of `size` bytes on the way of another; null when the pool is empty, or its buffers
/// are too small.
[[nodiscard]] inline rte_mbuf* allocate_like(mbuf_packet const& like, std::size_t size) noexcept {
    auto* const frame = rte_pktmbuf_alloc(like.frame().pool);
    if (frame == nullptr) return nullptr;
    auto const link = like.link();
    if (link.size() + size > rte_pktmbuf_tailroom(frame)) {
        rte_pktmbuf_free(frame);
        return nullptr;
    }
    rte_pktmbuf_append(frame, static_cast<std::uint16_t>(link.size() + size));
    std::memcpy(rte_pktmbuf_mtod(frame, void*), link.data(), link.size());
    frame->port = like.frame().port;
    return frame;
}

} // namespace dpdk
