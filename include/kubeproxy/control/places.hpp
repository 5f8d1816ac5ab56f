#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

namespace kubeproxy::inline v0_2 {

/// Indices into an array of the snapshot, each with one owner at a time.
///
/// What was given back waits: until settle(), so that no snapshot takes away a place and gives it to another owner at
/// once, and then until `waiting_room` others wait behind it. A place's generation is 16 bits, so a flow would have to
/// sleep through 65536 * waiting_room removals to take a new owner for its old one.
class place_register {
  public:
    static constexpr std::size_t waiting_room = 256;

    [[nodiscard]] std::uint32_t take() {
        if (waiting_.size() <= waiting_room) return count_++;
        auto const place = waiting_.front();
        renewed_.push_back(place);
        waiting_.pop_front();
        return place;
    }
    void give_back(std::uint32_t place) { leaving_.push_back(place); }

    /// Before the changes that become one snapshot.
    void settle() {
        waiting_.insert(waiting_.end(), leaving_.begin(), leaving_.end());
        leaving_.clear();
        renewed_.clear();
    }

    /// How long the array must be.
    [[nodiscard]] std::size_t count() const noexcept { return count_; }
    /// Places that had another owner before, and were taken since settle().
    [[nodiscard]] std::span<std::uint32_t const> renewed() const noexcept { return renewed_; }

  private:
    std::deque<std::uint32_t> waiting_;
    std::vector<std::uint32_t> leaving_;
    std::vector<std::uint32_t> renewed_;
    std::uint32_t count_ = 0;
};

} // namespace kubeproxy::inline v0_2
