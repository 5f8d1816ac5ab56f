#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace examples {

/// Packets that wait for something, in queues that share a bound, so that packets which wait never use up the buffers
/// of those which do not. When there is no room, the packet that has waited longest in any queue gives way.
///
///     all packets, oldest first   a ─ b ─ c ─ d ─ e      each packet is in two lists
///     queue 1                     a ───── c ─ d
///     queue 2                         b ───────── e
///
/// Every operation takes constant time and allocates nothing. A Packet is moved, and default-constructible.
template <class Packet>
class held_packets {
    static constexpr std::uint32_t none = 0xffff'ffff;

  public:
    /// The packets that wait for one thing. It must be empty when it ends, and stay in place while it is not empty.
    class queue {
      public:
        queue() = default;
        queue(queue const&) = delete;
        queue& operator=(queue const&) = delete;
        ~queue() { assert(count_ == 0); }
        [[nodiscard]] std::size_t size() const noexcept { return count_; }

      private:
        friend class held_packets;
        std::uint32_t first_ = none, last_ = none;
        std::size_t count_ = 0;
    };

    /// \param capacity packets in all queues together; 0 holds nothing
    explicit held_packets(std::size_t capacity) : slots_(capacity) {
        for (std::uint32_t i = 0; i < capacity; ++i) slots_[i].next = i + 1 < capacity ? i + 1 : none;
        if (capacity != 0) free_ = 0;
    }

    /// Appends a packet to a queue of at most `max_held` packets.
    /// \return the packet that had to give way: the oldest of the queue, the oldest of all, or this one
    [[nodiscard]] std::optional<Packet> push(queue& to, Packet packet, std::size_t max_held) {
        std::optional<Packet> displaced;
        if (max_held == 0 || slots_.empty()) return std::optional<Packet>{std::move(packet)};
        if (to.size() >= max_held)
            displaced.emplace(pop(to));
        else if (free_ == none)
            displaced.emplace(pop(*slots_[oldest_].of));
        auto const i = free_;
        free_ = slots_[i].next;
        slots_[i] = {std::move(packet), &to, newest_, none, none};
        (newest_ == none ? oldest_ : slots_[newest_].next) = i;
        newest_ = i;
        (to.last_ == none ? to.first_ : slots_[to.last_].next_of_queue) = i;
        to.last_ = i;
        ++to.count_;
        ++size_;
        return displaced;
    }

    /// Takes out the oldest packet of a queue. \pre from.size() != 0
    [[nodiscard]] Packet pop(queue& from) {
        assert(from.count_ != 0);
        auto const i = from.first_;
        auto& held = slots_[i];
        from.first_ = held.next_of_queue;
        if (from.first_ == none) from.last_ = none;
        --from.count_;
        (held.before == none ? oldest_ : slots_[held.before].next) = held.next;
        (held.next == none ? newest_ : slots_[held.next].before) = held.before;
        --size_;
        auto packet = std::move(held.packet);
        held.next = std::exchange(free_, i);
        return packet;
    }

    [[nodiscard]] std::size_t size() const noexcept { return size_; }

  private:
    struct slot {
        Packet packet{};
        queue* of = nullptr;
        std::uint32_t before = none; ///< in the list of all packets
        std::uint32_t next = none;   ///< in the list of all packets, or of free slots
        std::uint32_t next_of_queue = none;
    };

    std::vector<slot> slots_;
    std::uint32_t free_ = none;
    std::uint32_t oldest_ = none, newest_ = none;
    std::size_t size_ = 0;
};

} // namespace examples
