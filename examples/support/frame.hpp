#pragma once

#include "kubeproxy/wire/bytes.hpp"
#include "kubeproxy/wire/packet_buffer.hpp"
#include "support/capture.hpp"
#include "support/link.hpp"

#include <pcap/dlt.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

/// A captured frame, and the frame around what came of its packet.
namespace examples {

/// None when this program does not know where its IP packets start.
[[nodiscard]] inline std::optional<link_layer> link_layer_of(int data_link) noexcept {
    switch (data_link) {
    case DLT_EN10MB: return link_layer::ethernet;
    case DLT_LINUX_SLL: return link_layer::cooked;
    case DLT_LINUX_SLL2: return link_layer::cooked_v2;
    case DLT_RAW:
    case DLT_IPV4:
    case DLT_IPV6: return link_layer::raw_ip;
    default: return std::nullopt;
    }
}

/// A frame in a buffer with room in front; to the library it is the IP packet inside.
///
/// storage:  | headroom | link header | IP packet | link padding |
/// A packet that grows does so over its link header, of which a copy is kept.
class frame {
  public:
    static constexpr std::size_t capacity = std::size_t{256} * 1024;
    static constexpr std::size_t front_room = 128;

    /// Frames with longer link headers pass: sixteen VLAN tags are no traffic.
    static constexpr std::size_t maximum_link_header = 80;

    enum class origin : std::uint8_t { capture, spare };

    frame() : storage_(front_room + capacity) {}

    /// Takes a copy of a captured frame, and says whether it has an IP packet.
    /// \pre captured.bytes.size() <= capacity
    [[nodiscard]] bool assign(link_layer link, captured_packet const& captured) noexcept {
        assert(captured.bytes.size() <= capacity);
        std::ranges::copy(captured.bytes, storage_.begin() + front_room);
        record_ = captured.header;
        origin_ = origin::capture;
        link_ = link;
        auto const bytes = std::as_bytes(captured.bytes);
        auto const found = find_ip(link, bytes);
        if (!found || found->size > maximum_link_header) return false;
        header_ = *found;
        kubeproxy::copy_bytes(header_bytes_, bytes.first(header_.size));
        begin_ = front_room + header_.size;
        end_ = front_room + bytes.size();
        return true;
    }

    /// Becomes a frame for a packet of `size` bytes on the way of another, and of the same time.
    /// \pre size <= capacity - maximum_link_header
    void assign_spare(frame const& like, std::size_t size) noexcept {
        assert(size <= capacity - maximum_link_header);
        record_ = like.record_;
        origin_ = origin::spare;
        link_ = like.link_;
        header_ = like.header_;
        header_bytes_ = like.header_bytes_;
        begin_ = front_room + header_.size;
        end_ = begin_ + size;
    }

    [[nodiscard]] origin from() const noexcept { return origin_; }
    /// Time, and size on the wire, as captured.
    [[nodiscard]] pcap_pkthdr const& record() const noexcept { return record_; }

    /// The frame as it came. \pre it was captured, and the library passed it
    [[nodiscard]] std::span<u_char const> captured() const noexcept {
        return std::span{storage_}.subspan(front_room, record_.caplen);
    }

    /// The frame around the packet as it is now: the same header, with the type of the packet's family, no padding.
    [[nodiscard]] std::span<u_char const> forwarded() noexcept {
        auto const start = begin_ - header_.size;
        auto const around = whole().subspan(start);
        kubeproxy::copy_bytes(around, byte_span{header_bytes_}.first(header_.size));
        if (link_ != link_layer::raw_ip) {
            auto const type = ip_version(bytes()) == 6 ? ether_type_ipv6 : ether_type_ipv4;
            kubeproxy::store_be<std::uint16_t>(around, header_.type_offset, type);
        }
        return std::span{storage_}.subspan(start, header_.size + ip_size(bytes()));
    }

    /// The same, back to where the frame came from. A cooked header has no destination to exchange with.
    [[nodiscard]] std::span<u_char const> replied() noexcept {
        auto const rebuilt = forwarded();
        auto const start = storage_.begin() + static_cast<std::ptrdiff_t>(begin_ - header_.size);
        if (link_ == link_layer::ethernet) std::swap_ranges(start, start + 6, start + 6);
        return rebuilt;
    }

    [[nodiscard]] mutable_byte_span bytes() noexcept { return whole().subspan(begin_, end_ - begin_); }
    [[nodiscard]] std::size_t headroom() const noexcept { return begin_ - header_.size; }
    /// \pre size <= headroom()
    void grow_front(std::size_t size) noexcept {
        assert(size <= headroom());
        begin_ -= size;
    }
    /// \pre size <= bytes().size()
    void shrink_front(std::size_t size) noexcept {
        assert(size <= end_ - begin_);
        begin_ += size;
    }
    /// \pre size <= bytes().size()
    void truncate(std::size_t size) noexcept {
        assert(size <= end_ - begin_);
        end_ = begin_ + size;
    }

  private:
    [[nodiscard]] mutable_byte_span whole() noexcept { return std::as_writable_bytes(std::span{storage_}); }

    std::vector<u_char> storage_; // libpcap's type: std::as_bytes() leads to ours, and nothing back
    std::array<std::byte, maximum_link_header> header_bytes_{};
    link_header header_{};
    pcap_pkthdr record_{};
    std::size_t begin_ = front_room;
    std::size_t end_ = front_room;
    link_layer link_ = link_layer::raw_ip;
    origin origin_ = origin::capture;
};
static_assert(kubeproxy::packet_buffer<frame>);

/// Frames for packets that become several.
class spare_frames {
  public:
    /// Twice what the longest IPv6 packet becomes at the smallest MTU.
    static constexpr std::size_t most = 110;

    /// Null when all are in use.
    [[nodiscard]] frame* take(frame const& like, std::size_t size) {
        if (free_.empty()) {
            if (all_.size() == most) return nullptr;
            free_.push_back(all_.emplace_back(std::make_unique<frame>()).get());
        }
        auto* const spare = free_.back();
        free_.pop_back();
        spare->assign_spare(like, size);
        return spare;
    }
    void give_back(frame& spare) { free_.push_back(&spare); }

  private:
    std::vector<std::unique_ptr<frame>> all_;
    std::vector<frame*> free_;
};

} // namespace examples
