#include "kubeproxy/service/affinity.hpp"

#include "support/threads.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <random>
#include <vector>

namespace kubeproxy::affinity_tests {
namespace {
using testing_support::overlap_meter, testing_support::repeat_until_overlapped, testing_support::run_together;

using namespace std::chrono_literals;

affinity_key client(std::uint32_t number, std::uint32_t group = 1, std::uint16_t port = 80) {
    return affinity_key::of<ipv4>(group, {port, ip_protocol::tcp}, ipv4_address(0xc000'0200 + number));
}
affinity_choice pod(unsigned number, std::uint16_t port = 8080) {
    return {{std::byte{10}, std::byte{244}, std::byte{0}, static_cast<std::byte>(number)}, port};
}

TEST(affinity, a_client_is_remembered_until_its_timeout) {
    affinity_table table{64, secret{1}};
    EXPECT_EQ(table.find(client(1), flow_time{0ms}, 10), std::nullopt);
    table.note(client(1), pod(7), flow_time{0ms}, 10);
    EXPECT_EQ(table.find(client(1), flow_time{9999ms}, 10), pod(7));
    EXPECT_EQ(table.find(client(1), flow_time{10s}, 10), std::nullopt);
}

TEST(affinity, a_new_connection_starts_the_time_anew) {
    affinity_table table{64, secret{1}};
    table.note(client(1), pod(7), flow_time{0ms}, 10);
    table.note(client(1), pod(7), flow_time{9s}, 10);
    EXPECT_EQ(table.find(client(1), flow_time{18s}, 10), pod(7));
}

TEST(affinity, services_and_ip_versions_do_not_share_clients) {
    affinity_table table{64, secret{1}};
    table.note(client(1, 1), pod(7), flow_time{0ms}, 10);
    EXPECT_EQ(table.find(client(1, 2), flow_time{1s}, 10), std::nullopt);
    ipv6::address same_bytes{};
    std::ranges::copy(ipv4_address(0xc000'0201), same_bytes.begin());
    EXPECT_EQ(table.find(affinity_key::of<ipv6>(1, {80, ip_protocol::tcp}, same_bytes), flow_time{1s}, 10),
              std::nullopt);
}

TEST(affinity, each_port_of_a_service_remembers_for_itself) { // kubernetes#103000
    affinity_table table{1024, secret{1}};
    for (std::uint16_t port = 1; port < 9; ++port) table.note(client(1, 1, port), pod(port, 80), flow_time{0ms}, 10);
    for (std::uint16_t port = 1; port < 9; ++port)
        EXPECT_EQ(table.find(client(1, 1, port), flow_time{1s}, 10), pod(port, 80)) << port;
    auto udp = client(1, 1, 1);
    udp.port.protocol = ip_protocol::udp;
    EXPECT_EQ(table.find(udp, flow_time{1s}, 10), std::nullopt) << "the same number with another protocol";
    table.note(udp, pod(99, 80), flow_time{1s}, 10);
    EXPECT_EQ(table.find(client(1, 1, 1), flow_time{1s}, 10), pod(1, 80));
}

TEST(affinity, what_other_ports_remember_is_told_without_what_has_expired) {
    affinity_table table{64, secret{1}};
    table.note(client(1, 1, 10), pod(10), flow_time{1s}, 10);
    table.note(client(1, 1, 11), pod(11), flow_time{2s}, 10);
    table.note(client(1, 1, 12), pod(12), flow_time{3s}, 2);  // expires at 5 s
    table.note(client(2, 1, 13), pod(13), flow_time{3s}, 10); // another client
    table.note(client(1, 2, 13), pod(14), flow_time{3s}, 10); // another Service
    table.note(client(1, 1, 14), pod(15), flow_time{3s}, 10); // a port that the Service no longer has
    std::vector<affinity_port> const ports{{10, 6}, {11, 6}, {12, 6}, {13, 6}};
    auto const others = [&](std::uint16_t port, std::uint32_t timeout) {
        std::map<std::uint32_t, affinity_choice> found; // by how long ago, milliseconds
        table.for_each_other_port(client(1, 1, port), ports, flow_time{5s}, timeout,
                                  [&](affinity_choice const& c, std::uint32_t silent) { found[silent] = c; });
        return found;
    };
    using expected = std::map<std::uint32_t, affinity_choice>;
    EXPECT_TRUE((others(13, 10) == expected{{4000, pod(10)}, {3000, pod(11)}}));
    EXPECT_TRUE((others(10, 10) == expected{{3000, pod(11)}})) << "its own entry is none of another port";
    EXPECT_TRUE((others(13, 4) == expected{{3000, pod(11)}})) << "the Service's timeout as it is now";
}

TEST(affinity, a_shorter_timeout_counts_at_once) { // the Service was changed
    affinity_table table{64, secret{1}};
    table.note(client(1), pod(7), flow_time{0ms}, 100);
    EXPECT_EQ(table.find(client(1), flow_time{20s}, 10), std::nullopt);
}

TEST(affinity, full_forgets_the_expired_first_and_then_the_longest_silent) {
    affinity_table table{4, secret{1}}; // one bucket
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
    affinity_table table{64, secret{1}};
    table.note(client(1), pod(7), flow_time{100s}, 10);
    EXPECT_EQ(table.find(client(1), flow_time{50s}, 10), pod(7));
}

TEST(affinity, agrees_with_a_map_as_long_as_there_is_room) {
    affinity_table table{1 << 14, secret{7}};
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
    repeat_until_overlapped(2, 5000, [&](overlap_meter& meter) {
        shared_affinity_table table{256, secret{1}};
        std::array<std::uint32_t, 2> mistaken{};
        run_together(2, [&](std::size_t which) {
            std::mt19937 random{static_cast<std::uint32_t>(which) + 1};
            for (int i = 0; i < 50'000; ++i) {
                meter.step(which);
                auto const who = static_cast<std::uint32_t>(random() % 400);
                auto const found = table.find(client(who), flow_time{1s}, 100);
                if (found && found->pod[3] != static_cast<std::byte>(who)) ++mistaken[which];
                table.note(client(who), pod(who), flow_time{1s}, 100);
            }
        });
        EXPECT_EQ(mistaken[0] + mistaken[1], 0u) << "another client's pod";
        std::size_t count = 0;
        table.for_each(flow_time{1s}, [&](affinity_key const&, affinity_choice const&, std::uint32_t) { ++count; });
        EXPECT_LE(count, table.capacity());
    });
}

} // namespace
} // namespace kubeproxy::affinity_tests
