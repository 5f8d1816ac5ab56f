#include "support/packet_builder.hpp"
#include "support/testbed.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <barrier>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <thread>
#include <utility>
#include <vector>

// Workers over one table of flows, while the control path changes what they see.

namespace kubeproxy::threads_tests {
namespace {

using build::bytes_of;
using testing_support::octets;
using testing_support::test_packet;
using namespace std::chrono_literals;

constexpr std::size_t pods = 8, burst = 32;
constexpr std::uint32_t workers = 2;

/// Longer on request: the issue of a race may be rare.
std::chrono::milliseconds duration() { return std::getenv("KUBEPROXY_LONG") != nullptr ? 20s : 1500ms; }

std::string pod_line(std::size_t pod, char const* action) {
    return "ku pod 90.0.0.0/8 10.0.0." + std::to_string(pod) + action + '\n';
}

class threads : public testing::Test {
  protected:
    threads() {
        std::string ku = "ku vip 90.0.0.0/8 port 80 target_port 8080\n";
        for (std::size_t pod = 0; pod < pods; ++pod) ku += pod_line(pod, "");
        EXPECT_TRUE(control_.apply(ku).ok());
    }

    /// Requests of ever new and of old flows, and a pod's replies; some are this worker's, some the other's.
    void work(std::size_t which, proxy<test_packet, shared_flow_table>& path) {
        for (unsigned round = 0; !stop_.load(); ++round) {
            std::array<unsigned, pods> before{}, used{};
            for (std::size_t pod = 0; pod < pods; ++pod) before[pod] = changes_[pod].load();
            std::vector<test_packet> packets;
            for (unsigned i = 0; i < burst; ++i)
                packets.emplace_back(packet_of(round * static_cast<unsigned>(burst) + i));
            path.process(std::span{packets}, std::chrono::milliseconds{round}, [&](test_packet& p, outcome const& o) {
                if (o.what != verdict::forward() || o.relation == flow_relation::reply) return;
                ++used.at(std::to_integer<std::size_t>(p.bytes()[19]));
                ++forwarded_;
            });
            for (std::size_t pod = 0; pod < pods; ++pod) {
                bool const was_gone_all_the_time = before[pod] % 2 == 1 && changes_[pod].load() == before[pod];
                if (was_gone_all_the_time) {
                    ++watched_;
                    EXPECT_EQ(used[pod], 0u) << "a packet went to a pod that was gone before the burst began";
                }
            }
            ++bursts_[which];
        }
    }

    /// Until each worker has begun and ended a burst.
    void wait_for_workers() {
        for (auto& worker : bursts_)
            for (auto const enough = worker.load() + 2; worker.load() < enough;) std::this_thread::yield();
    }

    static octets packet_of(unsigned n) {
        auto const client = "198.51.100." + std::to_string(n % 200);
        auto const port = 1024 + n / 200 % 50;
        if (n % 4 == 3)
            return bytes_of({.source = "10.0.0." + std::to_string(n % pods),
                             .destination = client,
                             .message = seed::udp(octets(8), 8080, port)});
        return bytes_of({.source = client, .destination = "90.0.0.1", .message = seed::udp(octets(8), port, 80)});
    }

    service_source services_;
    shared_flow_table flows_{{4096, 64}, secret{1}, services_};
    shared_affinity_table clients_{1024, secret{1}};
    controller control_{services_};
    std::array<std::atomic<unsigned>, pods> changes_{}; ///< odd: the pod is gone
    std::array<std::atomic<std::uint64_t>, workers> bursts_{};
    std::atomic<bool> stop_{false};
    std::atomic<std::uint64_t> forwarded_{0};
    std::atomic<std::uint64_t> watched_{0}; ///< bursts and pods that were gone from before them until after them
};

TEST_F(threads, workers_never_use_a_pod_that_was_gone_before_their_burst_and_old_snapshots_are_freed) {
    proxy<test_packet, shared_flow_table> first{flows_, clients_, services_, {.share = {0, workers}}};
    proxy<test_packet, shared_flow_table> second{flows_, clients_, services_, {.share = {1, workers}}};
    std::barrier start{workers + 1};
    std::array running{std::thread{[&] { start.arrive_and_wait(), work(0, first); }},
                       std::thread{[&] { start.arrive_and_wait(), work(1, second); }}};
    start.arrive_and_wait();
    // Pods go one after the other, and each comes back when the next ones have gone, so that it is away for a while.
    constexpr std::size_t away = 4, circle = pods - 1; // the last pod stays
    auto const end = std::chrono::steady_clock::now() + duration();
    std::size_t changes = 0;
    for (; std::chrono::steady_clock::now() < end; ++changes) {
        auto const goes = changes % circle;
        EXPECT_TRUE(control_.apply(pod_line(goes, " del")).ok());
        ++changes_[goes];
        if (changes % 64 == 63) wait_for_workers(); // else as fast as it can
        if (changes < away) continue;
        auto const comes = (changes - away) % circle;
        ++changes_[comes];
        EXPECT_TRUE(control_.apply(pod_line(comes, "")).ok());
    }
    stop_ = true;
    for (auto& t : running) t.join();
    EXPECT_GT(changes, 100u);
    EXPECT_GT(forwarded_.load(), 1000u);
    EXPECT_GE(watched_.load(), changes / 64 * workers) << "no burst had a pod that was gone";
    EXPECT_EQ(control_.collect(), 1u) << "only the newest snapshot is alive";
    auto const total = services_.service_traffic(0);
    EXPECT_GE(total.packets, forwarded_.load()) << "replies are counted, too";
}

/// More services and pods than a piece of the workers' counters has, added while the workers count.
TEST_F(threads, counters_grow_under_traffic_and_lose_nothing) {
    constexpr std::uint32_t last = 3 * traffic_counters::piece, at_once = 48;
    auto const vip = [](std::uint32_t n) { return ipv4_address(0x5b00'0000 + n); };
    std::atomic<std::uint32_t> newest{0};
    std::barrier start{workers + 1};
    auto const work_on_newest = [&](std::size_t which, proxy<test_packet, shared_flow_table>& path) {
        start.arrive_and_wait();
        for (std::uint16_t round = 0; !stop_.load(); ++round) {
            ++bursts_[which];
            auto const destination = to_text(ip_address{vip(newest.load())});
            test_packet packet{bytes_of({.destination = destination, .message = seed::udp(octets(8), round, 80)})};
            path.process(std::span{&packet, 1}, 0s, [&](test_packet&, outcome const& o) {
                EXPECT_EQ(o.what, verdict::forward());
                ++forwarded_;
            });
        }
    };
    auto const add = [&](std::uint32_t first, std::uint32_t count) {
        for (auto n = first; n < first + count; ++n) {
            service_configuration s{.name = "s" + std::to_string(n)};
            s.addresses.push_back({prefix<ipv4>::of(vip(n), 32), service_address_kind::vip});
            s.ports.push_back({.protocol = service_protocol::udp, .port = 80});
            s.slices.push_back({.endpoints = {{.address = ipv4_address(0x0af4'0000 + n)}}});
            ASSERT_FALSE(control_.configuration().put(std::move(s)));
        }
        control_.publish();
        newest = first + count - 1;
    };
    add(0, 1);
    proxy<test_packet, shared_flow_table> first{flows_, clients_, services_, {.share = {0, workers}}};
    proxy<test_packet, shared_flow_table> second{flows_, clients_, services_, {.share = {1, workers}}};
    std::array running{std::thread{[&] { work_on_newest(0, first); }}, std::thread{[&] { work_on_newest(1, second); }}};
    start.arrive_and_wait();
    for (std::uint32_t n = 1; n < last; n += at_once) {
        std::array const before{bursts_[0].load(), bursts_[1].load()};
        add(n, at_once);
        for (std::size_t i = 0; i < workers; ++i) // each worker sees each change while it counts
            while (bursts_[i].load() < before[i] + 2) std::this_thread::yield();
    }
    auto const so_far = forwarded_.load();
    while (forwarded_.load() < so_far + 100) std::this_thread::yield();
    stop_ = true;
    for (auto& t : running) t.join();
    std::uint64_t services = 0, backends = 0;
    for (std::uint32_t n = 0; n < last + at_once; ++n) {
        services += services_.service_traffic(n).packets;
        backends += services_.backend_traffic(n).packets;
    }
    EXPECT_EQ(services, forwarded_.load());
    EXPECT_EQ(backends, forwarded_.load());
    EXPECT_GT(services_.service_traffic(control_.current()->service_count() - 1).packets, 0u);
}

TEST_F(threads, a_reply_on_another_worker_than_its_request_finds_its_flow) {
    proxy<test_packet, shared_flow_table> first{flows_, clients_, services_, {.share = {0, 2}}};
    proxy<test_packet, shared_flow_table> second{flows_, clients_, services_, {.share = {1, 2}}};
    test_packet request{bytes_of({.destination = "90.0.0.1", .message = seed::udp(octets(8), 4711, 80)})};
    first.process(std::span{&request, 1}, 0s,
                  [](test_packet&, outcome const& o) { EXPECT_EQ(o.relation, flow_relation::fresh); });
    auto const pod = "10.0.0." + std::to_string(std::to_integer<unsigned>(request.bytes()[19]));
    test_packet reply{
        bytes_of({.source = pod, .destination = "192.0.2.1", .message = seed::udp(octets(8), 8080, 4711)})};
    second.process(std::span{&reply, 1}, 0s,
                   [](test_packet&, outcome const& o) { EXPECT_EQ(o.relation, flow_relation::reply); });
    auto const expected =
        bytes_of({.source = "90.0.0.1", .destination = "192.0.2.1", .message = seed::udp(octets(8), 80, 4711)});
    EXPECT_EQ(octets(reply.bytes().begin(), reply.bytes().end()), expected);
}

} // namespace
} // namespace kubeproxy::threads_tests
