#include "support/packet_builder.hpp"
#include "support/testbed.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <string>
#include <thread>

// Workers over one table of flows, while the control path changes what they see.

namespace kubeproxy {
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
    void work(proxy<test_packet, shared_flow_table>& path) {
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
                    EXPECT_EQ(used[pod], 0u) << "a packet went to a pod that was gone before the burst began";
                }
            }
        }
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
    shared_flow_table flows_{{4096, 64}, 1, services_.quiescence()};
    shared_affinity_table clients_{1024, 1};
    controller control_{services_};
    std::array<std::atomic<unsigned>, pods> changes_{}; ///< odd: the pod is gone
    std::atomic<bool> stop_{false};
    std::atomic<std::uint64_t> forwarded_{0};
};

TEST_F(threads, workers_never_use_a_pod_that_was_gone_before_their_burst_and_old_snapshots_are_freed) {
    proxy<test_packet, shared_flow_table> first{flows_, clients_, services_, {.share = {0, workers}}};
    proxy<test_packet, shared_flow_table> second{flows_, clients_, services_, {.share = {1, workers}}};
    std::array running{std::thread{[&] { work(first); }}, std::thread{[&] { work(second); }}};
    auto const end = std::chrono::steady_clock::now() + duration();
    std::size_t changes = 0;
    while (std::chrono::steady_clock::now() < end) {
        auto const pod = changes % (pods - 1); // the last one stays
        EXPECT_TRUE(control_.apply(pod_line(pod, " del")).ok());
        ++changes_[pod];
        ++changes_[pod];
        EXPECT_TRUE(control_.apply(pod_line(pod, "")).ok());
        ++changes;
    }
    stop_ = true;
    for (auto& t : running) t.join();
    EXPECT_GT(changes, 10u);
    EXPECT_GT(forwarded_.load(), 1000u);
    EXPECT_EQ(control_.collect(), 1u) << "only the newest snapshot is alive";
    auto const total = services_.service_traffic(0);
    EXPECT_GE(total.packets, forwarded_.load()) << "replies are counted, too";
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
} // namespace kubeproxy
