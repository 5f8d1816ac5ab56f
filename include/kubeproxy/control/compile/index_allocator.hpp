#pragma once

#include "kubeproxy/version.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

/// Indices into an array of the snapshot, each with one owner at a time.
///
/// What was given back waits: until settle(), so that no snapshot takes away a place and gives it to another owner at
/// once, and then until `waiting_room` others wait behind it. Meanwhile its former owner can take it back. A flow tells
/// 256 lives of a place apart, so it would have to sleep through 256 * waiting_room removals to take a new owner for
/// its old one.
class index_allocator {
  public:
    static constexpr std::size_t waiting_room = 256;

    [[nodiscard]] std::uint32_t take() {
        drop_outdated();
        if (count_waiting_ <= waiting_room) {
            places_.emplace_back();
            return static_cast<std::uint32_t>(places_.size() - 1);
        }
        auto const place = waiting_.front().place;
        waiting_.pop_front();
        leave(place);
        renewed_.push_back(place);
        return place;
    }
    void give_back(std::uint32_t place) {
        places_[place].is_at = location::leaving;
        leaving_.push_back({place, places_[place].stamp});
    }
    /// Its former owner takes it back. \pre it was given back, and take() has not returned it since
    void take_back(std::uint32_t place) { leave(place); }

    /// Before the changes that become one snapshot.
    void settle() {
        for (auto const& one : leaving_) {
            if (!is_valid(one)) continue;
            places_[one.place].is_at = location::waiting;
            ++count_waiting_;
            waiting_.push_back(one);
        }
        leaving_.clear();
        renewed_.clear();
        if (waiting_.size() > 2 * (count_waiting_ + waiting_room))
            std::erase_if(waiting_, [this](entry const& one) { return !is_valid(one); });
    }

    /// How long the array must be.
    [[nodiscard]] std::size_t count() const noexcept { return places_.size(); }
    /// Places that had another owner before, and were taken since settle().
    [[nodiscard]] std::span<std::uint32_t const> renewed() const noexcept { return renewed_; }

  private:
    enum class location : std::uint8_t { owned, leaving, waiting };
    struct place_state {
        std::uint32_t stamp = 0; ///< changes when the place is owned again: entries with an older one are void
        location is_at = location::owned;
    };
    struct entry {
        std::uint32_t place;
        std::uint32_t stamp;
    };

    [[nodiscard]] bool is_valid(entry const& one) const noexcept { return places_[one.place].stamp == one.stamp; }
    void leave(std::uint32_t place) noexcept {
        auto& state = places_[place];
        if (state.is_at == location::waiting) --count_waiting_;
        ++state.stamp;
        state.is_at = location::owned;
    }
    void drop_outdated() {
        while (!waiting_.empty() && !is_valid(waiting_.front())) waiting_.pop_front();
    }

    std::vector<place_state> places_;
    std::deque<entry> waiting_;
    std::vector<entry> leaving_;
    std::vector<std::uint32_t> renewed_;
    std::size_t count_waiting_ = 0; ///< valid entries of waiting_
};

} // namespace v0_2
} // namespace kubeproxy
