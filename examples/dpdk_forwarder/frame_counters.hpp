#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace dpdk {

/// What becomes of a frame outside the library.
enum class frame_event : std::uint8_t {
    not_ip,          ///< passed by as it came
    chained,         ///< dropped: a packet in several segments, larger than the pool's buffers (see --mtu)
    no_offload,      ///< dropped: nobody completes its checksum, or cuts it into segments
    send_queue_full, ///< dropped: the port took no more
    count_
};
inline constexpr auto frame_event_count = static_cast<std::size_t>(frame_event::count_);

[[nodiscard]] constexpr std::string_view name(frame_event event) noexcept {
    constexpr std::array<std::string_view, frame_event_count> names{"not_ip", "chained", "no_offload",
                                                                    "send_queue_full"};
    return names[static_cast<std::size_t>(event)];
}

/// Written by one worker, read by anybody.
class frame_counters {
  public:
    void count(frame_event event, std::uint64_t frames = 1) noexcept {
        auto& field = frames_[static_cast<std::size_t>(event)];
        field.store(field.load(std::memory_order_relaxed) + frames, std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint64_t frames(frame_event event) const noexcept {
        return frames_[static_cast<std::size_t>(event)].load(std::memory_order_relaxed);
    }

  private:
    std::array<std::atomic<std::uint64_t>, frame_event_count> frames_{};
};

} // namespace dpdk
