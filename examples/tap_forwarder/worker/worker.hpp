#pragma once

#include "tap_forwarder/worker/packet_path.hpp"
#include "tap_forwarder/worker/worker_queues.hpp"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace examples {

/// What one worker has counted; workers' are added up.
struct worker_counters {
    router_counters packets;
    std::vector<link_traffic> links;
    std::array<std::uint64_t, forwarder_proxy::burst_size> bursts{};

    worker_counters& operator+=(worker_counters const& other) {
        packets += other.packets;
        links.resize(std::max(links.size(), other.links.size()));
        for (std::size_t i = 0; i < other.links.size(); ++i) links[i] += other.links[i];
        for (std::size_t i = 0; i < bursts.size(); ++i) bursts[i] += other.bursts[i];
        return *this;
    }
};

/// A data thread: reads a burst from each of its queues in turn, takes it through the path, and sleeps when there is
/// nothing. Whoever wants something of it asks it: between two bursts it does what it was asked.
class worker {
  public:
    /// What a neighbour told, for all other workers.
    struct neighbour_update {
        std::uint32_t link;
        kubeproxy::ip_address address;
        mac_address mac;
    };
    using announcement = std::function<void(worker&, neighbour_update const&)>;

    /// \param linger how long it looks again before it sleeps
    worker(shared_data_plane const& shared, packet_path_settings const& settings, worker_queues queues,
           std::chrono::nanoseconds linger, announcement announce)
        : flows_{&shared.flows}, reader_{shared.services}, queues_{std::move(queues)}, announce_{std::move(announce)},
          path_{shared, settings, queues_, told{this}}, linger_{linger}, wake_{
                                                                             ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)} {
        if (!wake_) throw std::system_error{errno, std::generic_category(), "eventfd"};
    }
    worker(worker const&) = delete;
    worker& operator=(worker const&) = delete;
    ~worker() { stop(); }

    /// \param processor where it runs; none: wherever the kernel likes
    void start(std::optional<std::size_t> processor = std::nullopt) {
        thread_ = std::thread{[this] { run(); }};
        if (processor) stay_on(*processor);
    }
    /// Ends the thread when its burst is done.
    void stop() {
        if (!thread_.joinable()) return;
        post([this] { is_running_ = false; });
        thread_.join();
    }

    /// Has the thread do something between two bursts.
    void post(std::function<void()> task) {
        {
            std::lock_guard const lock{mutex_};
            tasks_.push_back(std::move(task));
        }
        has_tasks_.store(true, std::memory_order_release);
        std::uint64_t const one = 1;
        static_cast<void>(!::write(wake_.number(), &one, sizeof one));
    }
    /// What it has counted, at one moment. \pre start() was called, stop() was not
    [[nodiscard]] worker_counters counters() {
        std::promise<worker_counters> promise;
        auto answer = promise.get_future();
        post([&] { promise.set_value(counters_now()); });
        return answer.get();
    }
    /// From any thread.
    [[nodiscard]] kubeproxy::verdict_counters const& verdicts() const noexcept { return path_.verdicts(); }

    /// Leaves it out while the thread is behind, so that a flood of neighbour messages takes no memory: this worker
    /// asks for the address itself when it needs it.
    void learn_neighbour(neighbour_update const& what) {
        {
            std::lock_guard const lock{mutex_};
            if (tasks_.size() >= max_waiting_tasks) return;
        }
        post([this, what] {
            std::visit(
                [&]<class Address>(Address const& address) {
                    using version = std::conditional_t<std::same_as<Address, kubeproxy::ipv4::address>, kubeproxy::ipv4,
                                                       kubeproxy::ipv6>;
                    path_.template learn_neighbour<version>(what.link, address, what.mac, now());
                },
                what.address);
        });
    }

  private:
    struct told {
        worker* self;
        void operator()(std::uint32_t link, kubeproxy::ip_address const& address, mac_address const& mac) const {
            if (self->announce_) self->announce_(*self, {link, address, mac});
        }
    };
    static constexpr std::size_t max_waiting_tasks = 1024;
    static constexpr auto tick_time = std::chrono::milliseconds{100};
    /// Of the flow table, looked at with each tick for what has expired; bursts look at some, too.
    static constexpr std::size_t sweep = 4096;

    [[nodiscard]] static std::chrono::nanoseconds now() noexcept {
        return std::chrono::steady_clock::now().time_since_epoch();
    }

    /// Without permission, for the process may have been moved to other processors meanwhile, it runs elsewhere.
    void stay_on(std::size_t processor) noexcept {
        cpu_set_t only;
        CPU_ZERO(&only);
        CPU_SET(processor, &only);
        static_cast<void>(::pthread_setaffinity_np(thread_.native_handle(), sizeof only, &only));
    }

    void run() {
        bool has_slept = false;
        while (is_running_) {
            bool is_busy = false;
            for (std::uint32_t link = 0; link < queues_.size(); ++link)
                if (!has_slept || woke(link)) is_busy |= serve(link);
            if (has_tasks_.load(std::memory_order_acquire)) do_tasks();
            auto const time = now();
            if (time >= next_tick_) tick(time);
            if (is_busy) awake_until_ = time + linger_;
            has_slept = !is_busy && time >= awake_until_;
            if (has_slept) sleep();
        }
    }

    /// A burst of one link. \return whether there was anything
    bool serve(std::uint32_t link) {
        using result = worker_queues::read_result;
        if (queues_.queue(link) < 0) return false;
        bool is_busy = false;
        auto const time = now();
        while (!path_.is_full()) {
            auto packet = path_.buffer(link);
            if (!packet) break; // all wait for neighbours: some will be given up soon
            std::size_t size = 0;
            auto const got = queues_.read(link, packet.frame_room(), size);
            if (got == result::gone) queues_.give_up(link);
            if (got != result::frame) break;
            is_busy = true;
            path_.take(std::move(packet), size, time);
        }
        path_.flush(time);
        return is_busy;
    }

    void tick(std::chrono::nanoseconds time) {
        next_tick_ = time + tick_time;
        path_.tick(time);
        kubeproxy::read_side_section const section{reader_};
        auto const milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(time);
        static_cast<void>(flows_->sweep(sweep, kubeproxy::flow_time{milliseconds}));
    }

    void sleep() {
        std::vector<pollfd>& waited = waited_;
        waited.clear();
        waited.push_back({wake_.number(), POLLIN, 0});
        for (std::size_t link = 0; link < queues_.size(); ++link) waited.push_back({queues_.queue(link), POLLIN, 0});
        ::poll(waited.data(), waited.size(), tick_time.count());
        for (std::size_t link = 0; link < queues_.size(); ++link) {
            bool const is_gone = (waited[link + 1].revents & (POLLERR | POLLNVAL)) != 0;
            if (is_gone && (waited[link + 1].revents & POLLIN) == 0)
                std::this_thread::sleep_for(std::chrono::milliseconds{1});
        }
    }

    /// Whether sleep() has found anything there: frames, or that the device is gone.
    [[nodiscard]] bool woke(std::uint32_t link) const noexcept { return waited_[link + 1].revents != 0; }

    void do_tasks() {
        has_tasks_.store(false, std::memory_order_relaxed);
        std::uint64_t count = 0;
        static_cast<void>(!::read(wake_.number(), &count, sizeof count));
        std::vector<std::function<void()>> tasks;
        {
            std::lock_guard const lock{mutex_};
            tasks.swap(tasks_);
        }
        for (auto const& task : tasks) task();
    }

    [[nodiscard]] worker_counters counters_now() const {
        return {path_.counters(), queues_.traffic(), path_.burst_sizes()};
    }

    kubeproxy::shared_flow_table* flows_;
    kubeproxy::service_reader reader_;
    worker_queues queues_;
    announcement announce_;
    packet_path<worker_queues, told> path_;
    std::chrono::nanoseconds linger_;
    file_descriptor wake_;
    std::vector<pollfd> waited_;
    std::chrono::nanoseconds next_tick_{};
    std::chrono::nanoseconds awake_until_{};
    bool is_running_ = true; ///< the thread's own
    std::atomic<bool> has_tasks_{false};
    std::mutex mutex_;
    std::vector<std::function<void()>> tasks_;
    std::thread thread_;
};

} // namespace examples
