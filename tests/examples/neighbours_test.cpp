#include "support/neighbours.hpp"

#include "kubeproxy/wire/address.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <vector>

// Times and attempts are those of RFC 4861 section 10.

namespace examples {
namespace {

using namespace std::chrono_literals;
using kubeproxy::ipv4, kubeproxy::ipv4_address;
using packet = std::unique_ptr<int>; // movable only, as buffers are
using table = neighbours<ipv4, packet>;
using told_by = table::told_by;

constexpr mac_address mac_a{std::byte{2}, {}, {}, {}, {}, std::byte{0xa}},
    mac_b{std::byte{2}, {}, {}, {}, {}, std::byte{0xb}};
constexpr table::key gateway{ipv4_address(0xc0000201), 0}, pod{ipv4_address(0x0af40107), 1};

class neighbour_table : public testing::Test {
  protected:
    bool learn(table::key const& who, mac_address const& mac, told_by how, std::chrono::nanoseconds now) {
        return table_.learn(who, mac, how, now, [this](packet p) { released_.push_back(*p); });
    }
    void tick(std::chrono::nanoseconds now) {
        table_.tick(
            now, [this](table::key const&, mac_address const* known) { known == nullptr ? ++asked_ : ++probed_; },
            [this](packet p) { given_up_.push_back(*p); });
    }
    void hold(table::key const& who, int value) {
        if (auto const lost = table_.hold(who, std::make_unique<int>(value))) pushed_out_.push_back(**lost);
    }

    table table_;
    std::vector<int> released_, given_up_, pushed_out_;
    int asked_ = 0, probed_ = 0;
};

TEST_F(neighbour_table, packets_wait_in_order_until_the_neighbour_answers) {
    auto const first = table_.resolve(gateway, 0s);
    EXPECT_EQ(first.mac, nullptr);
    EXPECT_TRUE(first.must_ask);
    hold(gateway, 1);
    EXPECT_FALSE(table_.resolve(gateway, 1ms).must_ask) << "one question is under way";
    hold(gateway, 2);
    EXPECT_TRUE(learn(gateway, mac_a, told_by::answer, 2ms));
    EXPECT_EQ(released_, (std::vector{1, 2}));
    EXPECT_EQ(table_.waiting(), 0u);
    ASSERT_NE(table_.resolve(gateway, 3ms).mac, nullptr);
    EXPECT_EQ(*table_.resolve(gateway, 3ms).mac, mac_a);
}

TEST_F(neighbour_table, the_oldest_packet_gives_way) {
    static_cast<void>(table_.resolve(pod, 0s));
    for (int i = 0; i < 18; ++i) hold(pod, i);
    EXPECT_EQ(pushed_out_, (std::vector{0, 1}));
    EXPECT_EQ(table_.waiting(), 16u);
}

TEST_F(neighbour_table, three_questions_a_second_apart_and_then_packets_are_unreachable) {
    static_cast<void>(table_.resolve(pod, 0s));
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
    EXPECT_TRUE(table_.resolve(pod, 4s).must_ask) << "the next packet begins anew";
}

TEST_F(neighbour_table, a_neighbour_in_use_is_asked_again_after_30_seconds_and_used_meanwhile) {
    learn(gateway, mac_a, told_by::request, 0s);
    EXPECT_FALSE(table_.resolve(gateway, 29s).must_ask);
    auto const stale = table_.resolve(gateway, 30s);
    EXPECT_TRUE(stale.must_ask);
    ASSERT_NE(stale.mac, nullptr);
    EXPECT_FALSE(table_.resolve(gateway, 30s).must_ask);
    learn(gateway, mac_a, told_by::answer, 31s);
    EXPECT_FALSE(table_.resolve(gateway, 60s).must_ask);
}

TEST_F(neighbour_table, a_neighbour_that_no_longer_answers_is_forgotten) {
    learn(gateway, mac_a, told_by::request, 0s);
    static_cast<void>(table_.resolve(gateway, 30s));
    for (auto const now : {31s, 32s, 33s}) tick(now);
    EXPECT_EQ(probed_, 2);
    EXPECT_EQ(table_.resolve(gateway, 34s).mac, nullptr);
}

TEST_F(neighbour_table, one_that_is_not_used_is_not_asked_and_goes_after_ten_minutes) {
    learn(gateway, mac_a, told_by::request, 0s);
    tick(599s);
    EXPECT_EQ(table_.size(), 1u);
    EXPECT_EQ(asked_ + probed_, 0);
    tick(600s);
    EXPECT_EQ(table_.size(), 0u);
}

TEST_F(neighbour_table, only_who_wants_to_talk_to_us_gets_an_entry) {
    EXPECT_FALSE(learn(pod, mac_a, told_by::answer, 0s));
    EXPECT_EQ(table_.size(), 0u);
    EXPECT_TRUE(learn(pod, mac_a, told_by::request, 0s));
    EXPECT_FALSE(learn(pod, mac_a, told_by::request, 1s)) << "no news";
    EXPECT_TRUE(learn(pod, mac_b, told_by::answer, 1s)) << "it has moved";
    EXPECT_EQ(*table_.resolve(pod, 1s).mac, mac_b);
}

TEST_F(neighbour_table, the_same_address_on_two_links_is_two_neighbours) {
    learn({gateway.address, 0}, mac_a, told_by::request, 0s);
    learn({gateway.address, 1}, mac_b, told_by::request, 0s);
    EXPECT_EQ(*table_.resolve({gateway.address, 0}, 0s).mac, mac_a);
    EXPECT_EQ(*table_.resolve({gateway.address, 1}, 0s).mac, mac_b);
}

TEST(neighbours, a_scan_of_a_network_fills_no_memory) {
    table scanned{{.most = 100}};
    for (std::uint32_t i = 0; i < 10'000; ++i) {
        table::key const who{ipv4_address(0x0a000000 + i), 0};
        static_cast<void>(scanned.resolve(who, 0s));
        bool const is_given_back = scanned.hold(who, std::make_unique<int>(0)).has_value();
        EXPECT_EQ(is_given_back, i >= 100);
    }
    EXPECT_EQ(scanned.size(), 100u);
}

} // namespace
} // namespace examples
