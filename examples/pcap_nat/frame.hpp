#pragma once

#include "kubeproxy/wire/bytes.hpp"
#include "kubeproxy/wire/packet_buffer.hpp"
#include "pcap_nat/captured_link.hpp"
#include "pcap_nat/packet_restoration.hpp"
#include "support/capture.hpp"

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

/// A frame in a buffer with room in front; to the library it is the IP packet inside.
///
/// storage:  | headroom | link header | IP packet | link padding, or what complete_packet() added |
/// A packet that grows does so over its link header, of which a copy is kept.
class frame {
  public:
    static constexpr std::size_t capacity = std::size_t{256} * 1024;
    static constexpr std::size_t completion_room = 0xffff; ///< see complete_packet()
    static constexpr std::size_t front_room = 128;

    /// Frames with longer link headers pass: sixteen VLAN tags are no traffic.
    static constexpr std::size_t maximum_link_header = 80;

    enum class origin : std::uint8_t { capture, spare };

    frame() : storage_(front_room + capacity + completion_room) {}

    /// What assign() found.
    enum class content : std::uint8_t {
        packet,    ///< an IP packet
        malformed, ///< an IP packet whose header contradicts itself or the frame
        other,     ///< no IP packet, or one of which too little was captured
    };

    /// Takes a copy of a captured frame, and completes its IP packet.
    /// \pre captured.bytes.size() <= capacity
    [[nodiscard]] content assign(link_layer link, captured_packet const& captured, capture_point point) noexcept {
        assert(captured.bytes.size() <= capacity);
        std::ranges::copy(captured.bytes, storage_.begin() + front_room);
        record_ = captured.header;
        origin_ = origin::capture;
        link_ = link;
        auto const bytes = std::as_bytes(captured.bytes);
        auto const found = find_captured_ip(link, bytes);
        if (!found || found->size > maximum_link_header) return content::other;
        header_ = *found;
        kubeproxy::copy_bytes(header_bytes_, bytes.first(header_.size));
        begin_ = front_room + header_.size;
        auto const on_wire = std::max<std::size_t>(record_.len, bytes.size()) - header_.size;
        completion_ = complete_packet(whole().subspan(begin_), bytes.size() - header_.size, on_wire, point);
        end_ = begin_ + completion_.shown;
        version_ = ip_version(this->bytes());
        if (completion_.is == packet_completion::state::unreadable) return content::other;
        return completion_.is == packet_completion::state::malformed ? content::malformed : content::packet;
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
        completion_ = like.completion_;
        version_ = like.version_;
        begin_ = front_room + header_.size;
        end_ = begin_ + size;
    }

    [[nodiscard]] origin from() const noexcept { return origin_; }
    /// Time, and size on the wire, as captured.
    [[nodiscard]] pcap_pkthdr const& record() const noexcept { return record_; }

    /// A frame as it is written, and its size on the wire.
    struct output {
        std::span<u_char const> bytes;
        std::size_t on_wire;
    };

    /// The frame as it came. \pre it was captured, and the library left its bytes alone
    [[nodiscard]] output captured() noexcept {
        restore_header(bytes(), completion_, true);
        return {std::span{storage_}.subspan(front_room, record_.caplen), record_.len};
    }

    /// The frame around the packet as it is now: the same header, which says the packet's version, and no padding.
    [[nodiscard]] output forwarded() noexcept {
        auto const packet = bytes().first(ip_size(bytes()));
        auto const extent = extent_of(packet, completion_);
        bool const is_same_version = ip_version(packet) == version_;
        if (origin_ == origin::capture) restore_header(packet, completion_, is_same_version);
        return framed(packet, extent);
    }

    /// The same, back to where the frame came from. A cooked header has no destination to exchange with.
    [[nodiscard]] output replied() noexcept {
        auto const packet = bytes().first(ip_size(bytes()));
        auto const rebuilt = framed(packet, extent_of_answer(packet, completion_));
        auto const start = storage_.begin() + static_cast<std::ptrdiff_t>(begin_ - header_.size);
        if (link_ == link_layer::ethernet) std::swap_ranges(start, start + 6, start + 6);
        return rebuilt;
    }

    [[nodiscard]] mutable_byte_span bytes() noexcept { return whole().subspan(begin_, end_ - begin_); }
    [[nodiscard]] std::size_t headroom() const noexcept { return begin_ - header_.size; }
    /// What a device was to do with the packet, as far as the capture tells.
    [[nodiscard]] kubeproxy::checksum_state transport_checksum() const noexcept { return completion_.checksum; }
    [[nodiscard]] std::size_t gso_size() const noexcept { return completion_.is_segmented_later ? segment_size : 0; }
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
    /// A capture does not tell into what a super-packet was cut: this fits every IPv6 link.
    static constexpr std::size_t segment_size = 1200;

    [[nodiscard]] output framed(mutable_byte_span packet, written_extent extent) noexcept {
        auto const start = begin_ - header_.size;
        auto const around = whole().subspan(start);
        kubeproxy::copy_bytes(around, byte_span{header_bytes_}.first(header_.size));
        describe_packet(around, header_, ip_version(packet), packet.size());
        return {std::span{storage_}.subspan(start, header_.size + extent.bytes), header_.size + extent.on_wire};
    }
    [[nodiscard]] mutable_byte_span whole() noexcept { return std::as_writable_bytes(std::span{storage_}); }

    std::vector<u_char> storage_; // libpcap's type: std::as_bytes() leads to ours, and nothing back
    std::array<std::byte, maximum_link_header> header_bytes_{};
    link_header header_{};
    packet_completion completion_{};
    unsigned version_ = 4; ///< of the packet as it came
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
    static constexpr std::size_t max_spares = 110;

    /// Null when all are in use.
    [[nodiscard]] frame* take(frame const& like, std::size_t size) {
        if (free_.empty()) {
            if (all_.size() == max_spares) return nullptr;
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
