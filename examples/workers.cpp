// Two workers that share a table of flows, and a control thread that changes the services meanwhile. At the end it
// prints what the workers counted by reason and by service, and fails if that is not what they sent.

#include "own_stage/datagram.hpp"

#include <kubeproxy/control/controller.hpp>
#include <kubeproxy/kubeproxy.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <iostream>
#include <span>
#include <string>
#include <thread>

using namespace kubeproxy;
using worker = proxy<span_packet, shared_flow_table>;

constexpr std::uint32_t worker_count = 2, web = 0x0a600001, mail = 0x0a600002; // 10.96.0.1 and 10.96.0.2
constexpr std::size_t burst_size = 8;

/// The loop of a thread that would receive packets. These are made: requests of new and old flows to both services, one
/// to a port that is not served, and one that is cut short.
void work(worker& path, std::atomic<bool> const& is_stopped, std::atomic<std::uint64_t>& bursts) {
    for (std::uint16_t client = 0; !is_stopped; ++client) {
        std::array<decltype(datagram(0, 0, 0)), burst_size> memory;
        for (std::size_t i = 0; i < burst_size; ++i)
            memory[i] = datagram(static_cast<std::uint8_t>(client + i), i % 2 == 0 ? web : mail, i == 7 ? 81 : 80);
        auto const packet = [&](std::size_t i) { return span_packet{memory[i], room}; };
        std::array packets{packet(0), packet(1), packet(2), packet(3), packet(4), packet(5), packet(6), packet(7)};
        packets[0].truncate(10);
        auto const now = std::chrono::steady_clock::now().time_since_epoch(); // the time of the burst
        path.process(std::span{packets}, now, [](span_packet&, outcome const&) noexcept { /* transmit, or drop */ });
        ++bursts;
    }
}

/// By action and reason, the sum of both workers; then by service.
std::uint64_t print(std::array<worker, worker_count> const& paths, controller const& control,
                    service_source& services) {
    std::uint64_t all = 0;
    auto const add = [&](verdict v, auto const& words) {
        auto const packets = paths[0].verdicts().packets(v) + paths[1].verdicts().packets(v);
        if (packets != 0) std::cout << words << ' ' << packets << '\n';
        all += packets;
    };
    add(verdict::forward(), "forward");
    add(verdict::pass(), "pass");
    for (std::size_t i = 0; i < drop_reason_count; ++i) {
        auto const why = static_cast<drop_reason>(i);
        add(verdict::reply(why), "reply " + std::string{name(why)});
        add(verdict::drop(why), "drop " + std::string{name(why)});
    }
    for (std::uint32_t i = 0; i < control.current()->service_count(); ++i) {
        auto const sum = services.service_traffic(i);
        std::cout << *control.current()->service_at(i).name << ": " << sum.packets << " packets, " << sum.flows
                  << " flows\n";
    }
    return all;
}

int main() {
    service_source services;
    controller control{services};
    (void)control.apply("ku vip 10.96.0.1/32 port 80 target_port 8080\nku pod 10.96.0.1/32 10.244.1.7 10.244.2.9\n"
                        "ku vip 10.96.0.2/32 port 80 target_port 8080\nku pod 10.96.0.2/32 10.244.1.8\n");
    shared_flow_table flows{{.narrow = 4096, .wide = 64}, secret::from_system(), services};
    shared_affinity_table clients{1024, flows.key()};
    std::array<worker, worker_count> paths{worker{flows, clients, services, {.share = {0, worker_count}}},
                                           worker{flows, clients, services, {.share = {1, worker_count}}}};
    std::atomic<bool> is_stopped{false};
    std::array<std::atomic<std::uint64_t>, worker_count> bursts{};
    std::array threads{std::thread{[&] { work(paths[0], is_stopped, bursts[0]); }},
                       std::thread{[&] { work(paths[1], is_stopped, bursts[1]); }}};
    for (int change = 0; change < 20; ++change) { // the control thread: the pod of 10.96.0.2 comes and goes
        (void)control.apply(change % 2 == 0 ? "ku pod 10.96.0.2/32 10.244.1.8 del\n"
                                            : "ku pod 10.96.0.2/32 10.244.1.8\n");
        std::array const before{bursts[0].load(), bursts[1].load()};
        while (bursts[0] < before[0] + 2 || bursts[1] < before[1] + 2) std::this_thread::yield();
    }
    is_stopped = true;
    for (auto& thread : threads) thread.join();
    auto const counted = print(paths, control, services);
    auto const snapshots = control.collect(); // workers are outside: only the newest is still there
    return counted == (bursts[0] + bursts[1]) * burst_size && snapshots == 1 ? 0 : 1;
}
