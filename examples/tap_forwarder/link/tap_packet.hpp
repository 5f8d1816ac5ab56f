#pragma once

#include "kubeproxy/wire/packet_buffer.hpp"
#include "support/ethernet.hpp"
#include "tap_forwarder/link/vnet_header.hpp"

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace examples {

/// What is left to the device that the packet leaves by.
struct offloads {
    kubeproxy::checksum_state checksum = kubeproxy::checksum_state::complete;
    std::uint16_t gso_size = 0; ///< transport payload of each segment; 0: the packet leaves whole
    bool is_ecn = false;        ///< of a TCP super-packet: CWR is set, in its first segment
};

/// Who made a packet: what we made does not pay for this hop.
enum class packet_origin : std::uint8_t { link, router };

class packet_pool;

/// A packet in a buffer of a pool, moved along without being copied. Before it lie the frame's headers:
///
///     | headroom | virtio-net header | Ethernet | IP packet, up to 64 KiB … |
///                                                 ^ bytes()
///
/// What was moved from holds no packet, and still knows its link and origin.
class tap_packet {
  public:
    static constexpr std::size_t link_headers = vnet_header::size + ethernet_header::size;
    static constexpr std::size_t front_room = 256;
    static constexpr std::size_t max_bytes = 0xffff + 40; ///< of the longest packet that the length fields can tell
    struct memory {
        std::array<std::byte, front_room + max_bytes> bytes;
    };

    tap_packet() = default;
    tap_packet(tap_packet&& other) noexcept
        : pool_{other.pool_}, memory_{std::exchange(other.memory_, nullptr)}, begin_{other.begin_}, end_{other.end_},
          link_{other.link_}, origin_{other.origin_}, is_from_local_pod_{other.is_from_local_pod_},
          left_over_{other.left_over_} {}
    tap_packet& operator=(tap_packet&& other) noexcept {
        std::swap(pool_, other.pool_);
        std::swap(memory_, other.memory_);
        begin_ = other.begin_;
        end_ = other.end_;
        link_ = other.link_;
        origin_ = other.origin_;
        is_from_local_pod_ = other.is_from_local_pod_;
        left_over_ = other.left_over_;
        return *this;
    }
    ~tap_packet() { release(); }

    [[nodiscard]] explicit operator bool() const noexcept { return memory_ != nullptr; }
    inline void release() noexcept;

    [[nodiscard]] mutable_byte_span bytes() noexcept { return whole().subspan(begin_, end_ - begin_); }
    [[nodiscard]] std::size_t headroom() const noexcept { return begin_ - link_headers; }
    /// \pre n <= headroom()
    void grow_front(std::size_t n) noexcept {
        assert(n <= headroom());
        begin_ -= n;
    }
    /// \pre n <= bytes().size()
    void shrink_front(std::size_t n) noexcept {
        assert(n <= end_ - begin_);
        begin_ += n;
    }
    /// \pre size <= bytes().size()
    void truncate(std::size_t size) noexcept {
        assert(size <= end_ - begin_);
        end_ = begin_ + size;
    }
    [[nodiscard]] kubeproxy::checksum_state transport_checksum() const noexcept { return left_over_.checksum; }
    [[nodiscard]] std::size_t gso_size() const noexcept { return left_over_.gso_size; }

    [[nodiscard]] offloads const& left_over() const noexcept { return left_over_; }
    void leave_over(offloads const& what) noexcept { left_over_ = what; }
    /// The link it came in by; of what we made, the link that it is about.
    [[nodiscard]] std::uint32_t link() const noexcept { return link_; }
    [[nodiscard]] packet_origin origin() const noexcept { return origin_; }
    void set_origin(packet_origin who) noexcept { origin_ = who; }
    /// Whether it came in by a link of local pods.
    [[nodiscard]] bool is_from_local_pod() const noexcept { return is_from_local_pod_; }
    void set_from_local_pod(bool is) noexcept { is_from_local_pod_ = is; }

    /// The packet with its Ethernet and virtio-net headers before it.
    [[nodiscard]] mutable_byte_span frame() noexcept {
        return whole().subspan(begin_ - link_headers, end_ - begin_ + link_headers);
    }
    /// Room for a frame, to be read into; then of_frame() says how long it is.
    [[nodiscard]] mutable_byte_span frame_room() noexcept { return whole().subspan(front_room - link_headers); }
    /// \pre link_headers <= size <= frame_room().size()
    void of_frame(std::size_t size) noexcept {
        assert(size >= link_headers);
        begin_ = front_room;
        end_ = front_room - link_headers + size;
    }

  private:
    friend class packet_pool;
    tap_packet(packet_pool& pool, memory& bytes, std::size_t size, std::uint32_t link, packet_origin who) noexcept
        : pool_{&pool}, memory_{&bytes}, begin_{front_room}, end_{front_room + size}, link_{link}, origin_{who} {
        assert(size <= max_bytes);
    }
    [[nodiscard]] mutable_byte_span whole() noexcept {
        assert(memory_ != nullptr);
        return memory_->bytes;
    }

    packet_pool* pool_ = nullptr;
    memory* memory_ = nullptr;
    std::size_t begin_ = front_room;
    std::size_t end_ = front_room;
    std::uint32_t link_ = 0;
    packet_origin origin_ = packet_origin::link;
    bool is_from_local_pod_ = false;
    offloads left_over_;
};

/// A worker's buffers: the last one given back is the next one taken, for it is still in the cache. One thread.
class packet_pool {
  public:
    explicit packet_pool(std::size_t capacity) : capacity_{capacity} { free_.reserve(capacity); }
    packet_pool(packet_pool const&) = delete;
    packet_pool& operator=(packet_pool const&) = delete;

    /// A packet of `size` bytes of any value; none when all buffers are in use.
    /// \pre size <= tap_packet::max_bytes
    [[nodiscard]] tap_packet take(std::size_t size, std::uint32_t link, packet_origin who) {
        if (free_.empty()) {
            if (all_.size() == capacity_) return {};
            free_.push_back(all_.emplace_back(std::make_unique_for_overwrite<tap_packet::memory>()).get());
        }
        auto* const bytes = free_.back();
        free_.pop_back();
        return {*this, *bytes, size, link, who};
    }
    /// The pool never has more buffers than that.
    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
    [[nodiscard]] std::size_t in_use() const noexcept { return all_.size() - free_.size(); }

  private:
    friend class tap_packet;
    std::size_t capacity_;
    std::vector<std::unique_ptr<tap_packet::memory>> all_;
    std::vector<tap_packet::memory*> free_;
};

inline void tap_packet::release() noexcept {
    if (memory_ != nullptr) pool_->free_.push_back(std::exchange(memory_, nullptr)); // reserved: no allocation
}
static_assert(kubeproxy::packet_buffer<tap_packet>);

} // namespace examples
