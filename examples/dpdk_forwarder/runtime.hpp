#pragma once

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

namespace dpdk {

/// The environment of DPDK, from its part of the command line: up to `--`.
class environment {
  public:
    environment(int argc, char** argv) : used_{rte_eal_init(argc, argv)} {
        if (used_ < 0) throw std::runtime_error{std::string{"the environment of DPDK: "} + rte_strerror(rte_errno)};
    }
    environment(environment const&) = delete;
    environment& operator=(environment const&) = delete;
    ~environment() { (void)rte_eal_cleanup(); }

    /// How many arguments it took; the next one is `--`, or there is none.
    [[nodiscard]] int used() const noexcept { return used_; }

  private:
    int used_;
};

struct free_pool {
    void operator()(rte_mempool* pool) const noexcept { rte_mempool_free(pool); }
};
using packet_pool = std::unique_ptr<rte_mempool, free_pool>;

/// Buffers for frames with packets of up to `mtu` bytes, for every queue and lcore.
[[nodiscard]] inline packet_pool make_pool(unsigned frames, std::size_t mtu) {
    constexpr unsigned kept_by_lcore = 256;
    constexpr std::size_t link = 64; // an Ethernet header with tags
    auto const room = std::clamp<std::size_t>(RTE_PKTMBUF_HEADROOM + mtu + link, RTE_MBUF_DEFAULT_BUF_SIZE, UINT16_MAX);
    packet_pool pool{rte_pktmbuf_pool_create("packets", frames, kept_by_lcore, 0, static_cast<std::uint16_t>(room),
                                             static_cast<int>(rte_socket_id()))};
    if (!pool)
        throw std::runtime_error{"no memory for " + std::to_string(frames) +
                                 " packets (see -m): " + rte_strerror(rte_errno)};
    return pool;
}

/// Whether to go on: until a signal, or until nothing has come for a while.
class life {
  public:
    /// \param idle how long no packet may come; zero: for ever
    explicit life(std::chrono::milliseconds idle)
        : limit_{rte_get_tsc_hz() / 1000 * static_cast<std::uint64_t>(idle.count())}, busy_at_{rte_rdtsc()} {
        struct sigaction on_signal {};
        on_signal.sa_handler = [](int) { is_over_.store(true, std::memory_order_relaxed); };
        for (int const number : {SIGINT, SIGTERM}) sigaction(number, &on_signal, nullptr);
    }

    [[nodiscard]] static bool is_over() noexcept { return is_over_.load(std::memory_order_relaxed); }
    static void end() noexcept { is_over_.store(true, std::memory_order_relaxed); }

    /// After every round of a worker.
    void note(std::size_t frames) noexcept {
        if (limit_ == 0) return;
        auto const now = rte_rdtsc();
        auto const busy_at = busy_at_.load(std::memory_order_relaxed);
        if (frames == 0) {
            if (now > busy_at + limit_) end();
        } else if (now > busy_at + limit_ / 8) { // workers share it: not written with every burst
            busy_at_.store(now, std::memory_order_relaxed);
        }
    }

  private:
    static inline std::atomic<bool> is_over_{false}; // a signal has no other way to say it
    static_assert(std::atomic<bool>::is_always_lock_free);
    std::uint64_t limit_;
    std::atomic<std::uint64_t> busy_at_;
};

/// Where devices write the time of a packet.
struct receive_time {
    int offset = -1;
    std::uint64_t flag = 0;
};
[[nodiscard]] inline receive_time find_receive_time() {
    receive_time found;
    if (rte_mbuf_dyn_rx_timestamp_register(&found.offset, &found.flag) != 0)
        throw std::runtime_error{std::string{"no field for the time of packets: "} + rte_strerror(rte_errno)};
    return found;
}

} // namespace dpdk
