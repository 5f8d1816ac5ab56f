#include "kubeproxy/service/affinity.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <thread>

namespace kubeproxy {
namespace {

using namespace std::chrono_literals;

affinity_key client(std::uint32_t number, std::uint32_t group = 1) {
    return affinity_key::of<ipv4>(group, ipv4_address(0xc000'0200 + number));
}
ipv6::address pod(unsigned number) {
    return {std::byte{10}, std::byte{244}, std::byte{0}, static_cast<std::byte>(number)};
}

TEST(affinity, a_client_is_remembered_until_its_timeout) {
    affinity_table table{64, 1};
    EXPECT_EQ(table.find(client(1), flow_time{0ms}, 10), std::nullopt);
    table.note(client(1), pod(7), flow_time{0ms}, 10);
    EXPECT_EQ(table.find(client(1), flow_time{9999ms}, 10), pod(7));
    EXPECT_EQ(table.find(client(1), flow_time{10s}, 10), std::nullopt);
}

TEST(affinity, a_new_connection_starts_the_time_anew) {
    affinity_table table{64, 1};
    table.note(client(1), pod(7), flow_time{0ms}, 10);
    table.note(client(1), pod(7), flow_time{9s}, 10);
    EXPECT_EQ(table.find(client(1), flow_time{18s}, 10), pod(7));
}

TEST(affinity, services_and_ip_versions_do_not_share_clients) {
    affinity_table table{64, 1};
    table.note(client(1, 1), pod(7), flow_time{0ms}, 10);
    EXPECT_EQ(table.find(client(1, 2), flow_time{1s}, 10), std::nullopt);
    ipv6::address same_bytes{};
    std::ranges::copy(ipv4_address(0xc000'0201), same_bytes.begin());
    EXPECT_EQ(table.find(affinity_key::of<ipv6>(1, same_bytes), flow_time{1s}, 10), std::nullopt);
}

TEST(affinity, a_shorter_timeout_counts_at_once) { // the Service was changed
    affinity_table table{64, 1};
    table.note(client(1), pod(7), flow_time{0ms}, 100);
    EXPECT_EQ(table.find(client(1), flow_time{20s}, 10), std::nullopt);
}

TEST(affinity, full_forgets_the_expired_first_and_then_the_longest_silent) {
    affinity_table table{4, 1}; // one bucket
    ASSERT_EQ(table.capacity(), 4u);
    for (std::uint32_t n = 0; n < 4; ++n)
        table.note(client(n), pod(n), flow_time{std::chrono::seconds{n}}, n == 2 ? 1 : 100);
    table.note(client(9), pod(9), flow_time{5s}, 100); // client 2 has expired
    EXPECT_EQ(table.find(client(0), flow_time{5s}, 100), pod(0));
    EXPECT_EQ(table.counters().evicted, 0u);
    table.note(client(10), pod(10), flow_time{5s}, 100);
    EXPECT_EQ(table.find(client(0), flow_time{5s}, 100), std::nullopt);
    EXPECT_EQ(table.find(client(1), flow_time{5s}, 100), pod(1));
    EXPECT_EQ(table.counters().evicted, 1u);
}

TEST(affinity, time_that_goes_back_forgets_nobody) {
    affinity_table table{64, 1};
    table.note(client(1), pod(7), flow_time{100s}, 10);
    EXPECT_EQ(table.find(client(1), flow_time{50s}, 10), pod(7));
}

TEST(affinity, agrees_with_a_map_as_long_as_there_is_room) {
    affinity_table table{1 << 14, 7};
    std::map<std::uint32_t, std::pair<unsigned, std::uint32_t>> model; // client -> pod, when
    std::mt19937 random{1};
    for (std::uint32_t now = 0; now < 20'000; ++now) {
        auto const who = static_cast<std::uint32_t>(random() % 500);
        auto const known = model.find(who);
        bool const lives = known != model.end() && now - known->second.second < 300;
        auto const found = table.find(client(who), flow_time{std::chrono::seconds{now}}, 300);
        ASSERT_EQ(found.has_value(), lives) << who << " at " << now;
        if (lives) {
            ASSERT_EQ(*found, pod(known->second.first));
        }
        if (random() % 3 != 0) continue;
        auto const to = static_cast<unsigned>(random() % 200);
        table.note(client(who), pod(to), flow_time{std::chrono::seconds{now}}, 300);
        model[who] = {to, now};
    }
}

TEST(affinity, two_threads_may_ask_and_tell_at_once) {
    shared_affinity_table table{256, 1};
    auto const work = [&](unsigned seed) {
        std::mt19937 random{seed};
        for (int i = 0; i < 50'000; ++i) {
            auto const who = static_cast<std::uint32_t>(random() % 400);
            auto const found = table.find(client(who), flow_time{1s}, 100);
            if (found) {
                EXPECT_EQ((*found)[3], static_cast<std::byte>(who)) << "another client's pod";
            }
            table.note(client(who), pod(who), flow_time{1s}, 100);
        }
    };
    std::thread other{work, 1};
    work(2);
    other.join();
    std::size_t count = 0;
    table.for_each(flow_time{1s}, [&](affinity_key const&, ipv6::address const&, std::uint32_t) { ++count; });
    EXPECT_LE(count, table.capacity());
}

} // namespace
} // namespace kubeproxy
