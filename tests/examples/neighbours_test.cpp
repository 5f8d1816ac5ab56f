#include "tap_forwarder/router/neighbours.hpp"

#include "kubeproxy/wire/address.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <vector>

// Times and attempts are those of RFC 4861 section 10.

namespace examples::neighbours_tests {
namespace {

using namespace std::chrono_literals;
using kubeproxy::ipv4, kubeproxy::ipv4_address;
using packet = std::unique_ptr<int>; // movable only, as buffers are
using table = neighbours<ipv4, packet>;
using told_by = table::told_by;

constexpr mac_address mac_a{std::byte{2}, {}, {}, {}, {}, std::byte{0xa}},
    mac_b{std::byte{2}, {}, {}, {}, {}, std::byte{0xb}};
constexpr table::key gateway{ipv4_address(0xc0000201), 0}, pod{ipv4_address(0x0af40107), 1};

class neighbour_table_test : public testing::Test {
  protected:
    auto resolve(table::key const& who, std::chrono::nanoseconds now) {
        return table_.resolve(who, now, [this](packet p) { pushed_out_.push_back(*p); });
    }
    bool learn(table::key const& who, mac_address const& mac, told_by how, std::chrono::nanoseconds now) {
        return table_.learn(
            who, mac, how, now, [this](packet p) { released_.push_back(*p); },
            [this](packet p) { pushed_out_.push_back(*p); });
    }
    void tick(std::chrono::nanoseconds now) {
        table_.tick(
            now, [this](table::key const&, mac_address const* known) { known == nullptr ? ++asked_ : ++probed_; },
            [this](packet p) { given_up_.push_back(*p); });
    }
    void hold(table::key const& who, int value) {
        if (auto const lost = table_.hold(who, std::make_unique<int>(value))) pushed_out_.push_back(**lost);
    }

    held_packets<packet> held_{32};
    table table_{held_, {.max_per_link = 8}};
    std::vector<int> released_, given_up_, pushed_out_;
    int asked_ = 0, probed_ = 0;
};

TEST_F(neighbour_table_test, packets_wait_in_order_until_the_neighbour_answers) {
    auto const first = resolve(gateway, 0s);
    EXPECT_EQ(first.mac, nullptr);
    EXPECT_TRUE(first.must_ask);
    hold(gateway, 1);
    EXPECT_FALSE(resolve(gateway, 1ms).must_ask) << "one question is under way";
    hold(gateway, 2);
    EXPECT_TRUE(learn(gateway, mac_a, told_by::answer, 2ms));
    EXPECT_EQ(released_, (std::vector{1, 2}));
    EXPECT_EQ(held_.size(), 0u);
    ASSERT_NE(resolve(gateway, 3ms).mac, nullptr);
    EXPECT_EQ(*resolve(gateway, 3ms).mac, mac_a);
}

TEST_F(neighbour_table_test, the_oldest_packet_gives_way) {
    static_cast<void>(resolve(pod, 0s));
    for (int i = 0; i < 18; ++i) hold(pod, i);
    EXPECT_EQ(pushed_out_, (std::vector{0, 1}));
    EXPECT_EQ(held_.size(), 16u);
}

TEST_F(neighbour_table_test, three_questions_a_second_apart_and_then_packets_are_unreachable) {
    static_cast<void>(resolve(pod, 0s));
    hold(pod, 7);
    tick(999ms);
    EXPECT_EQ(asked_, 0);
    tick(1s);
    tick(1500ms);
    EXPECT_EQ(asked_, 1);
    tick(2s);
    EXPECT_EQ(asked_, 2) << "and the first was asked by resolve()";
    EXPECT_TRUE(given_up_.empty());
    tick(3s);
    EXPECT_EQ(asked_, 2);
    EXPECT_EQ(given_up_, std::vector{7});
    EXPECT_EQ(table_.size(), 0u);
    EXPECT_TRUE(resolve(pod, 4s).must_ask) << "the next packet begins anew";
}

TEST_F(neighbour_table_test, a_neighbour_in_use_is_asked_again_after_30_seconds_and_used_meanwhile) {
    learn(gateway, mac_a, told_by::request, 0s);
    EXPECT_FALSE(resolve(gateway, 29s).must_ask);
    auto const stale = resolve(gateway, 30s);
    EXPECT_TRUE(stale.must_ask);
    ASSERT_NE(stale.mac, nullptr);
    EXPECT_FALSE(resolve(gateway, 30s).must_ask);
    learn(gateway, mac_a, told_by::answer, 31s);
    EXPECT_FALSE(resolve(gateway, 60s).must_ask);
}

TEST_F(neighbour_table_test, a_neighbour_that_no_longer_answers_is_forgotten) {
    learn(gateway, mac_a, told_by::request, 0s);
    static_cast<void>(resolve(gateway, 30s));
    for (auto const now : {31s, 32s, 33s}) tick(now);
    EXPECT_EQ(probed_, 2);
    EXPECT_EQ(resolve(gateway, 34s).mac, nullptr);
}

TEST_F(neighbour_table_test, one_that_is_not_used_is_not_asked_and_goes_after_ten_minutes) {
    learn(gateway, mac_a, told_by::request, 0s);
    tick(599s);
    EXPECT_EQ(table_.size(), 1u);
    EXPECT_EQ(asked_ + probed_, 0);
    tick(600s);
    EXPECT_EQ(table_.size(), 0u);
}

TEST_F(neighbour_table_test, only_who_wants_to_talk_to_us_gets_an_entry) {
    EXPECT_FALSE(learn(pod, mac_a, told_by::answer, 0s));
    EXPECT_EQ(table_.size(), 0u);
    EXPECT_TRUE(learn(pod, mac_a, told_by::request, 0s));
    EXPECT_FALSE(learn(pod, mac_a, told_by::request, 1s)) << "no news";
    EXPECT_TRUE(learn(pod, mac_b, told_by::answer, 1s)) << "it has moved";
    EXPECT_EQ(*resolve(pod, 1s).mac, mac_b);
}

TEST_F(neighbour_table_test, the_same_address_on_two_links_is_two_neighbours) {
    learn({gateway.address, 0}, mac_a, told_by::request, 0s);
    learn({gateway.address, 1}, mac_b, told_by::request, 0s);
    EXPECT_EQ(*resolve({gateway.address, 0}, 0s).mac, mac_a);
    EXPECT_EQ(*resolve({gateway.address, 1}, 0s).mac, mac_b);
}

constexpr table::key on_link(std::uint32_t link, std::uint32_t host) { return {ipv4_address(0x0a000000 + host), link}; }

TEST_F(neighbour_table_test, a_scan_of_a_network_fills_no_memory) {
    for (std::uint32_t i = 0; i < 1000; ++i) {
        static_cast<void>(resolve(on_link(0, i), 0s));
        hold(on_link(0, i), static_cast<int>(i));
    }
    EXPECT_EQ(table_.size(), 8u);
    EXPECT_EQ(held_.size(), 8u);
    EXPECT_EQ(pushed_out_.size(), 992u) << "packets of entries that gave way are not lost unseen";
}

TEST_F(neighbour_table_test, each_link_has_a_quota) {
    for (std::uint32_t i = 0; i < 4200; ++i) learn(on_link(0, i), mac_a, told_by::request, 0s);
    for (std::uint32_t i = 0; i < 8; ++i) EXPECT_TRUE(learn(on_link(1, i), mac_b, told_by::request, 1s));
    for (std::uint32_t i = 0; i < 8; ++i) EXPECT_NE(resolve(on_link(1, i), 2s).mac, nullptr);
    EXPECT_EQ(table_.size(), 16u);
}

TEST_F(neighbour_table_test, incomplete_entries_give_way_first_then_unused_ones_then_those_not_used_lately) {
    for (std::uint32_t i = 0; i < 3; ++i) { // used, 0 again at 5 s
        learn(on_link(0, i), mac_a, told_by::request, 0s);
        static_cast<void>(resolve(on_link(0, i), 1s));
    }
    for (std::uint32_t i = 3; i < 6; ++i) learn(on_link(0, i), mac_a, told_by::request, 2s); // unused
    for (std::uint32_t i = 6; i < 8; ++i) static_cast<void>(resolve(on_link(0, i), 3s));     // incomplete
    static_cast<void>(resolve(on_link(0, 0), 5s));
    auto const is_known = [&](std::uint32_t host) { // of those with a MAC; an answer makes no entry
        return !learn(on_link(0, host), mac_a, told_by::answer, 6s) &&
               learn(on_link(0, host), mac_b, told_by::answer, 6s) &&
               learn(on_link(0, host), mac_a, told_by::answer, 6s);
    };
    auto const add_used = [&](std::uint32_t host) {
        static_cast<void>(resolve(on_link(0, host), 6s));
        EXPECT_TRUE(learn(on_link(0, host), mac_a, told_by::answer, 6s));
    };
    for (std::uint32_t i = 100; i < 102; ++i) add_used(i);
    for (std::uint32_t i = 0; i < 6; ++i) EXPECT_TRUE(is_known(i)) << i;
    for (std::uint32_t i = 102; i < 105; ++i) add_used(i);
    for (std::uint32_t i = 0; i < 6; ++i) EXPECT_EQ(is_known(i), i < 3) << i;
    add_used(105);
    EXPECT_TRUE(is_known(0)) << "it was used again";
    EXPECT_FALSE(is_known(1));
    EXPECT_TRUE(is_known(2));
}

TEST_F(neighbour_table_test, requests_of_strangers_replace_each_other_and_no_neighbour_in_use_or_asked_for) {
    for (std::uint32_t i = 0; i < 6; ++i) {
        learn(on_link(0, i), mac_a, told_by::request, 0s);
        static_cast<void>(resolve(on_link(0, i), 0s));
    }
    static_cast<void>(resolve(pod, 0s)); // of link 1
    static_cast<void>(resolve(on_link(0, 6), 0s));
    hold(on_link(0, 6), 7);
    for (std::uint32_t i = 100; i < 200; ++i) EXPECT_TRUE(learn(on_link(0, i), mac_b, told_by::request, 1s));
    EXPECT_TRUE(learn(on_link(0, 6), mac_b, told_by::answer, 1s));
    EXPECT_EQ(released_, std::vector{7}) << "still asked for";
    for (std::uint32_t i = 0; i < 6; ++i) EXPECT_NE(resolve(on_link(0, i), 1s).mac, nullptr) << i;
    static_cast<void>(resolve(on_link(0, 199), 1s)); // now all eight are used
    EXPECT_FALSE(learn(on_link(0, 300), mac_b, told_by::request, 1s));
    EXPECT_FALSE(resolve(on_link(0, 301), 2s).mac != nullptr);
    EXPECT_EQ(table_.size(), 9u);
}

// Whoever does not know the seed cannot choose addresses that the table looks at one after the other.
TEST(neighbour_hash, another_seed_gives_other_buckets) {
    auto const order = [](std::uint64_t seed) {
        examples::neighbour_table<ipv4, packet> t{4096, seed};
        std::vector<std::uint32_t> hosts;
        for (std::uint32_t i = 0; i < 256; ++i) t.add(on_link(0, i), neighbour_use::unused, 0s);
        for (auto& one : t) hosts.push_back(kubeproxy::load_be<std::uint32_t>(one.first.address, 0));
        return hosts;
    };
    EXPECT_EQ(order(1), order(1));
    EXPECT_NE(order(1), order(2));
    EXPECT_NE(secret_seed(), secret_seed());
}

} // namespace
} // namespace examples::neighbours_tests
