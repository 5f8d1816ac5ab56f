#pragma once

#include "kubeproxy/service/publication.hpp"
#include "kubeproxy/service/snapshot.hpp"

#include <algorithm>
#include <cstddef>
#include <deque>
#include <memory>
#include <thread>
#include <utility>

namespace kubeproxy {
inline namespace v0_2 {

/// Owns the snapshots that a service_source shows: gives workers the newest one, and frees older ones when no worker
/// can hold them any more. One thread at a time.
class publisher {
  public:
    explicit publisher(service_source& source) noexcept : source_{&source} {}
    publisher(publisher const&) = delete;
    publisher& operator=(publisher const&) = delete;
    /// Leaves the source without services, and waits until the workers' bursts are over. A snapshot that a worker
    /// still holds after that is given up, not freed.
    ~publisher() { // NOLINT(bugprone-exception-escape): nothing is reserved for null, so exchange() does not throw
        static_cast<void>(source_->exchange(nullptr));
        auto& workers = source_->quiescence();
        auto const end = workers.advance();
        for (std::size_t i = 0; !workers.has_passed(end) && i < patience; ++i) std::this_thread::yield();
        if (workers.has_passed(end)) return;
        static_cast<void>(current_.release());
        for (auto& old : retired_) static_cast<void>(old.services.release());
    }

    /// What workers see from their next burst on; null: no services. Frees the oldest snapshots that no worker holds,
    /// but a few only: when a worker that slept wakes up, what has gathered meanwhile holds up nobody.
    void publish(std::unique_ptr<snapshot const> next) {
        exchange(std::move(next));
        for (std::size_t i = 0; i < freed_by_a_publication && free_oldest(); ++i) {
        }
    }

    /// Frees all that no worker holds, and returns how many snapshots are alive.
    std::size_t collect() noexcept {
        while (free_oldest()) {
        }
        return alive();
    }
    [[nodiscard]] std::size_t alive() const noexcept {
        auto const is_one = [](retired_snapshot const& old) { return old.services != nullptr; };
        return static_cast<std::size_t>(std::ranges::count_if(retired_, is_one)) + (current_ ? 1u : 0u);
    }
    /// Null: there is none.
    [[nodiscard]] snapshot const* current() const noexcept { return current_.get(); }

  private:
    /// Bursts take microseconds; a worker that is suspended inside one may take longer than anybody waits.
    static constexpr std::size_t patience = 1'000'000;
    /// More than the one that a publication adds, so that a backlog goes.
    static constexpr std::size_t freed_by_a_publication = 4;

    struct retired_snapshot {
        std::unique_ptr<snapshot const> services;
        quiescent_domain::epoch since = 0;
    };

    void exchange(std::unique_ptr<snapshot const> next) {
        auto& old = retired_.emplace_back(); // whatever may throw comes before the workers see the change
        static_cast<void>(source_->exchange(next.get()));
        old = {std::exchange(current_, std::move(next)), source_->quiescence().advance()};
    }

    /// Whether there was one that no worker holds.
    bool free_oldest() noexcept {
        if (retired_.empty() || !source_->quiescence().has_passed(retired_.front().since)) return false;
        retired_.pop_front();
        return true;
    }

    service_source* source_;
    std::unique_ptr<snapshot const> current_;
    std::deque<retired_snapshot> retired_; ///< oldest first
};

} // namespace v0_2
} // namespace kubeproxy
