#pragma once

#include "kubeproxy/service/counters.hpp"
#include "kubeproxy/service/snapshot.hpp"
#include "kubeproxy/sync/quiescence.hpp"
#include "kubeproxy/sync/setup_error.hpp"

#include <array>
#include <atomic>
#include <memory>
#include <stdexcept>

namespace kubeproxy {
inline namespace v0_2 {

/// What one worker counts for each service and each backend.
struct worker_traffic {
    traffic_counters services;
    traffic_counters backends;
};

/// Where control and data path meet: the current snapshot, and who may still be reading an older one.
/// control/publish writes it; each worker holds a service_reader.
class service_source {
  public:
    service_source() = default;
    service_source(service_source const&) = delete;
    service_source& operator=(service_source const&) = delete;

    [[nodiscard]] quiescent_domain& quiescence() noexcept { return domain_; }
    /// Whether there is a place for another worker, so that a service_reader (or a proxy) can be made.
    [[nodiscard]] bool has_room() const noexcept { return !domain_.is_full(); }

    /// Makes `next` what workers see from their next burst on, and returns what they saw before: it may be freed when
    /// quiescence().has_passed(quiescence().advance()). Null means no services. Control path, one caller at a time.
    [[nodiscard]] snapshot const* exchange(snapshot const* next) {
        if (next != nullptr) {
            services_ = next->service_count();
            backends_ = next->backend_count();
            for (auto& worker : traffic_)
                if (worker) reserve(*worker);
        }
        return current_.exchange(next, std::memory_order_acq_rel);
    }

    /// The sum over the workers. From any thread but those that attach.
    [[nodiscard]] traffic service_traffic(std::size_t index) const noexcept {
        traffic sum;
        for (auto const& worker : traffic_)
            if (worker) sum += worker->services.of(index);
        return sum;
    }
    [[nodiscard]] traffic backend_traffic(std::size_t index) const noexcept {
        traffic sum;
        for (auto const& worker : traffic_)
            if (worker) sum += worker->backends.of(index);
        return sum;
    }
    /// A place of the snapshot got another owner.
    void clear_service_traffic(std::size_t index) noexcept {
        for (auto const& worker : traffic_)
            if (worker) worker->services.clear(index);
    }
    void clear_backend_traffic(std::size_t index) noexcept {
        for (auto const& worker : traffic_)
            if (worker) worker->backends.clear(index);
    }

  private:
    friend class service_reader;

    void reserve(worker_traffic& worker) const {
        worker.services.reserve(services_);
        worker.backends.reserve(backends_);
    }

    quiescent_domain domain_;
    std::atomic<snapshot const*> current_{nullptr};
    std::size_t services_ = 0;
    std::size_t backends_ = 0;
    std::array<std::unique_ptr<worker_traffic>, quiescent_domain::max_workers> traffic_;
};

/// A worker's eye on a service_source. Made at set-up, not while the control path publishes.
class service_reader {
  public:
    explicit service_reader(service_source& source) : source_{&source}, worker_{place(source)} {
        auto& counters = source.traffic_[worker_];
        if (!counters) counters = std::make_unique<worker_traffic>();
        source.reserve(*counters);
        traffic_ = counters.get();
    }
    service_reader(service_reader const&) = delete;
    service_reader& operator=(service_reader const&) = delete;
    ~service_reader() { source_->domain_.detach(worker_); }

    /// Which of the source's workers this is: 0 to quiescent_domain::max_workers - 1.
    [[nodiscard]] std::size_t worker() const noexcept { return worker_; }
    [[nodiscard]] worker_traffic& counters() const noexcept { return *traffic_; }

    /// The services from here to leave(); null: none yet. Once a burst.
    [[nodiscard]] snapshot const* enter() noexcept {
        source_->domain_.enter(worker_);
        return source_->current_.load(std::memory_order_acquire);
    }
    void leave() noexcept { source_->domain_.leave(worker_); }

  private:
    [[nodiscard]] static std::size_t place(service_source& source) {
        auto const worker = source.domain_.attach();
        if (!worker) fail_setup(std::length_error{"more workers than a service_source has places for"});
        return *worker;
    }

    service_source* source_;
    std::size_t worker_;
    worker_traffic* traffic_ = nullptr;
};

/// A scope in which a snapshot and the flows of a shared table stay valid: it calls enter() at its begin and leave() at
/// its end, also when an exception ends it. For one burst, or for a walk over a shared flow table by a thread that has
/// a service_reader of its own.
class read_side_section {
  public:
    explicit read_side_section(service_reader& reader) noexcept : reader_{&reader}, services_{reader.enter()} {}
    read_side_section(read_side_section const&) = delete;
    read_side_section& operator=(read_side_section const&) = delete;
    ~read_side_section() { reader_->leave(); }

    /// Null if no services were published yet.
    [[nodiscard]] snapshot const* services() const noexcept { return services_; }

  private:
    service_reader* reader_;
    snapshot const* services_;
};

} // namespace v0_2
} // namespace kubeproxy
