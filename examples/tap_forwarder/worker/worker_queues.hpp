#pragma once

#include "tap_forwarder/link/frame_capture.hpp"
#include "tap_forwarder/link/tap_device.hpp"
#include "tap_forwarder/router/link_output.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace examples {

/// Frames and their bytes on one link. One writer.
struct link_traffic {
    std::uint64_t received = 0, received_bytes = 0, sent = 0, sent_bytes = 0;

    link_traffic& operator+=(link_traffic const& other) noexcept {
        received += other.received;
        received_bytes += other.received_bytes;
        sent += other.sent;
        sent_bytes += other.sent_bytes;
        return *this;
    }
};

/// One worker's queue of every TAP device.
class worker_queues {
  public:
    /// \param queues outlive this; one for each link, in their order
    /// \param capture null: nobody wants one
    worker_queues(std::vector<int> queues, frame_capture* capture)
        : queues_{std::move(queues)}, traffic_(queues_.size()), capture_{capture} {}

    [[nodiscard]] std::size_t size() const noexcept { return queues_.size(); }
    [[nodiscard]] int queue(std::size_t link) const noexcept { return queues_[link]; }
    [[nodiscard]] std::vector<link_traffic> const& traffic() const noexcept { return traffic_; }
    /// The device is gone; it is not asked again.
    void give_up(std::size_t link) noexcept { queues_[link] = -1; }

    enum class read_result : std::uint8_t { frame, nothing, gone };
    /// \param size of what was read, the virtio-net header included
    [[nodiscard]] read_result read(std::uint32_t link, mutable_byte_span room, std::size_t& size) noexcept {
        auto const got = ::read(queues_[link], room.data(), room.size());
        if (got < 0) return errno == EBADFD || errno == EBADF ? read_result::gone : read_result::nothing;
        size = static_cast<std::size_t>(got);
        auto const frame = room.first(size).subspan(std::min(size, vnet_header::size));
        ++traffic_[link].received;
        traffic_[link].received_bytes += frame.size();
        if (capture_ != nullptr) capture_->write(frame);
        return read_result::frame;
    }
    [[nodiscard]] write_result write(std::uint32_t link, byte_span frame) noexcept {
        if (capture_ != nullptr) capture_->write(frame.subspan(vnet_header::size));
        if (::write(queues_[link], frame.data(), frame.size()) < 0)
            return errno == EIO || errno == EBADFD || errno == EBADF ? write_result::down : write_result::refused;
        ++traffic_[link].sent;
        traffic_[link].sent_bytes += frame.size() - vnet_header::size;
        return write_result::sent;
    }

  private:
    std::vector<int> queues_;
    std::vector<link_traffic> traffic_;
    frame_capture* capture_;
};

} // namespace examples
