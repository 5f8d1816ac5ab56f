#include "kubeproxy/flow/table.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <optional>
#include <random>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

namespace kubeproxy::table_tests {
namespace {
using namespace std::chrono_literals;
using enum flow_direction;

flow_time at(std::chrono::milliseconds t) { return flow_time{t}; }

template <ip_version V>
typename V::address address(std::uint32_t number) {
    if constexpr (std::same_as<V, ipv4>) {
        return ipv4_address(number);
    } else {
        ipv6::address a{std::byte{0x20}, std::byte{0x01}, std::byte{0x0d}, std::byte{0xb8}};
        auto const low = ipv4_address(number);
        std::copy(low.begin(), low.end(), a.begin() + 12);
        return a;
    }
}
template <ip_version V>
tuple<V> client_to_vip(std::uint32_t client, std::uint16_t port = 40'000, std::uint8_t protocol = ip_protocol::tcp) {
    return {address<V>(client), address<V>(0x0a60'0001), port, 80, protocol};
}
template <ip_version V>
tuple<V> client_to_pod(std::uint32_t client, std::uint16_t port = 40'000, std::uint8_t protocol = ip_protocol::tcp) {
    return {address<V>(client), address<V>(0x0af4'0107), port, 8080, protocol};
}

/// A table, and for the shared form a worker that goes outside between steps.
template <class Sharing>
class table_test : public testing::Test {
  public:
    using table_type = basic_flow_table<Sharing, standard_memory>;

    template <class Table = table_type>
    Table make(flow_table_size size) {
        if constexpr (Sharing::is_shared)
            return Table{size, secret{1}, domain_};
        else
            return Table{size, secret{1}};
    }
    /// What happens between bursts.
    void burst() {
        if (entered_) domain_.leave(worker_);
        domain_.enter(worker_);
        entered_ = true;
    }

  private:
    quiescent_domain domain_;
    std::size_t worker_ = *domain_.attach();
    bool entered_ = false;
};
using sharings = testing::Types<single_worker, shared_workers>;
TYPED_TEST_SUITE(table_test, sharings);

constexpr new_flow tcp_flow{.service = 3,
                            .backend = 9,
                            .generation = 2,
                            .state = flow_state::tcp_syn_sent,
                            .flags = flow_flag::masqueraded,
                            .timeout = 240s};
constexpr new_flow established_flow{.state = flow_state::tcp_established, .timeout = 7440s};

template <ip_version O, ip_version T, class Table>
void expect_both_directions(Table& table) {
    auto const original_tuple = client_to_vip<O>(1);
    auto const translated = client_to_pod<T>(2, 50'000);
    auto const added = table.insert(original_tuple, translated, tcp_flow, at(5s));
    ASSERT_EQ(added.what, insert_outcome::inserted);

    auto const there = table.find(original_tuple), back = table.find(translated.mirrored());
    ASSERT_TRUE(there && back);
    EXPECT_EQ(there, added.ref);
    EXPECT_EQ(there.direction(), original);
    EXPECT_EQ(back.direction(), reply);
    EXPECT_EQ(there.mirrored(), back) << "one record";
    EXPECT_EQ(table.leaves_as_ipv6(there), (std::same_as<T, ipv6>));
    EXPECT_EQ(table.leaves_as_ipv6(back), (std::same_as<O, ipv6>));
    EXPECT_EQ(table.template leaves_as<T>(there), translated);
    EXPECT_EQ(table.template leaves_as<O>(back), original_tuple.mirrored());
    EXPECT_EQ(there.is_wide(), (std::same_as<O, ipv6> || std::same_as<T, ipv6>));

    auto const& body = table.body(back);
    EXPECT_EQ(body.service, 3u);
    EXPECT_EQ(body.backend.load(), 9u);
    EXPECT_EQ(body.generation.load(), 2u);
    EXPECT_EQ(body.state(), flow_state::tcp_syn_sent);
    EXPECT_TRUE(body.is_masqueraded());
    auto const changes = changes_of(original_tuple, translated);
    EXPECT_EQ(body.network_change, changes.network);
    EXPECT_EQ(body.transport_change, changes.transport);

    EXPECT_FALSE(table.find(original_tuple.mirrored()));
    EXPECT_FALSE(table.find(translated));
    EXPECT_TRUE(table.erase(back));
    EXPECT_FALSE(table.erase(there)) << "it has ended";
    EXPECT_FALSE(table.find(original_tuple));
    EXPECT_FALSE(table.find(translated.mirrored()));
}

TYPED_TEST(table_test, both_directions_live_and_die_together) {
    auto table = this->make({.narrow = 10, .wide = 10});
    this->burst();
    expect_both_directions<ipv4, ipv4>(table);
    expect_both_directions<ipv6, ipv6>(table);
    expect_both_directions<ipv4, ipv6>(table);
    expect_both_directions<ipv6, ipv4>(table);
    auto const c = table.counters();
    EXPECT_EQ(c.inserted, 4u);
    EXPECT_EQ(c.erased, 4u);
    EXPECT_EQ(c.flows(), 0u);
}

TYPED_TEST(table_test, a_flow_that_was_looked_up_already_is_entered_by_what_answers_it) {
    auto table = this->make({.narrow = 10, .wide = 10});
    this->burst();
    auto const unknown = [&](auto const& t) { return hashed_tuple<ipv4>{words_of(t), table.hash(t)}; };
    auto const to_vip = client_to_vip<ipv4>(1), to_pod = client_to_pod<ipv4>(2, 50'000);
    ASSERT_FALSE(table.find(to_vip));
    EXPECT_EQ(table.reply_hash(to_pod), table.hash(to_pod.mirrored()));
    auto const added = table.insert_new(unknown(to_vip), unknown(to_pod.mirrored()), tcp_flow, at(0s));
    ASSERT_EQ(added.what, insert_outcome::inserted);
    EXPECT_EQ(table.find(to_vip), added.ref);
    EXPECT_EQ(table.template leaves_as<ipv4>(added.ref), to_pod);
    auto const changes = changes_of(to_vip, to_pod);
    EXPECT_EQ(table.body(added.ref).network_change, changes.network);
    EXPECT_EQ(table.body(added.ref).transport_change, changes.transport);

    auto const other = client_to_vip<ipv4>(3);
    auto const taken = table.insert_new(unknown(other), unknown(to_pod.mirrored()), tcp_flow, at(0s));
    EXPECT_EQ(taken.what, insert_outcome::reply_taken);
    EXPECT_EQ(taken.ref, added.ref.mirrored());
    EXPECT_FALSE(table.find(other));
    EXPECT_EQ(table.insert_new(unknown(other), unknown(other), tcp_flow, at(0s)).what, insert_outcome::reply_taken);
    EXPECT_EQ(table.counters().flows(), 1u);
}

TYPED_TEST(table_test, a_hint_is_not_believed) {
    auto table = this->make({.narrow = 10, .wide = 10});
    this->burst();
    auto const one = client_to_vip<ipv4>(1), other = client_to_vip<ipv4>(2);
    auto const ref = table.insert(one, client_to_pod<ipv4>(1), tcp_flow, at(0s)).ref;
    auto const hint = table.candidate(table.hash(one));
    EXPECT_EQ(hint, ref);
    EXPECT_EQ(table.find(one, table.hash(one), hint), ref);
    EXPECT_EQ(table.find(one, table.hash(one), ref.mirrored()), ref) << "the wrong direction";
    EXPECT_FALSE(table.find(other, table.hash(other), hint)) << "another tuple's";
    EXPECT_FALSE(table.find(client_to_vip<ipv6>(1), table.hash(one), hint)) << "another version's";
    table.erase(ref);
    EXPECT_FALSE(table.find(one, table.hash(one), hint)) << "outdated";
    auto const again = table.insert(one, client_to_pod<ipv4>(1), tcp_flow, at(0s)).ref;
    EXPECT_EQ(table.find(one, table.hash(one), hint), again) << "entered anew since";
}

TYPED_TEST(table_test, an_icmp_errors_quoted_tuple_is_found_mirrored) { // RFC 5508 section 4.2
    auto table = this->make({.narrow = 10, .wide = 10});
    this->burst();
    auto const ref = table.insert(client_to_vip<ipv4>(1), client_to_pod<ipv4>(1), tcp_flow, at(0s)).ref;
    auto const quoted_by_router = client_to_pod<ipv4>(1); // what the translated packet shows
    EXPECT_EQ(table.find(quoted_by_router.mirrored()), ref.mirrored());
}

TYPED_TEST(table_test, two_flows_never_share_a_tuple) {
    auto table = this->make({.narrow = 10, .wide = 10});
    this->burst();
    auto const first = table.insert(client_to_vip<ipv4>(1), client_to_pod<ipv4>(9), tcp_flow, at(0s));
    auto const again = table.insert(client_to_vip<ipv4>(1), client_to_pod<ipv4>(8), tcp_flow, at(1s));
    EXPECT_EQ(again.what, insert_outcome::duplicate);
    EXPECT_EQ(again.ref, first.ref);
    auto const clash = table.insert(client_to_vip<ipv4>(2), client_to_pod<ipv4>(9), tcp_flow, at(1s));
    EXPECT_EQ(clash.what, insert_outcome::reply_taken);
    EXPECT_EQ(clash.ref, first.ref.mirrored());
    auto const across = table.insert(client_to_vip<ipv6>(2), client_to_pod<ipv4>(9), tcp_flow, at(1s));
    EXPECT_EQ(across.what, insert_outcome::reply_taken) << "a NAT64 flow's replies are IPv4 as well";
    auto const itself = table.insert(client_to_vip<ipv4>(3), client_to_vip<ipv4>(3).mirrored(), tcp_flow, at(1s));
    EXPECT_EQ(itself.what, insert_outcome::reply_taken) << "its own replies would look like its packets";
    EXPECT_FALSE(table.find(client_to_vip<ipv4>(3)));
    EXPECT_FALSE(table.reply_is_free(client_to_pod<ipv4>(9), at(1s)));
    EXPECT_TRUE(table.reply_is_free(client_to_pod<ipv4>(8), at(1s)));
    EXPECT_EQ(table.counters().flows(), 1u);
}

TYPED_TEST(table_test, an_expired_flow_gives_way) {
    auto table = this->make({.narrow = 10, .wide = 10});
    this->burst();
    auto const old = table.insert(client_to_vip<ipv4>(1), client_to_pod<ipv4>(9), tcp_flow, at(0s)).ref;
    EXPECT_FALSE(table.is_expired(old, at(239'999ms)));
    EXPECT_TRUE(table.is_expired(old, at(240s)));
    EXPECT_TRUE(table.reply_is_free(client_to_pod<ipv4>(9), at(240s)));
    auto const next = table.insert(client_to_vip<ipv4>(2), client_to_pod<ipv4>(9), tcp_flow, at(240s));
    EXPECT_EQ(next.what, insert_outcome::inserted);
    EXPECT_FALSE(table.find(client_to_vip<ipv4>(1)));
    EXPECT_EQ(table.counters().expired, 1u);
    EXPECT_EQ(table.counters().flows(), 1u);
}

TYPED_TEST(table_test, touch_counts_and_moves_the_state) {
    auto table = this->make({.narrow = 10, .wide = 10});
    this->burst();
    timeouts const limits;
    auto const there = table.insert(client_to_vip<ipv6>(1), client_to_pod<ipv6>(1), tcp_flow, at(0s)).ref;
    table.touch(there, at(0s), transport_event::tcp_syn, 60, limits);
    table.touch(there.mirrored(), at(1s), transport_event::tcp_syn_ack, 61, limits);
    EXPECT_EQ(table.body(there).state(), flow_state::tcp_syn_received);
    EXPECT_TRUE(table.is_expired(there, at(241s)));
    table.touch(there, at(2s), transport_event::packet, 1500, limits);
    EXPECT_EQ(table.body(there).state(), flow_state::tcp_unconfirmed);
    EXPECT_FALSE(table.is_expired(there, at(7441s)));
    EXPECT_TRUE(table.is_expired(there, at(7442s)));
    EXPECT_EQ(table.body(there).packets[0].load(), 2u);
    EXPECT_EQ(table.body(there).packets[1].load(), 1u);
    EXPECT_EQ(table.bytes_of(there), 1560u);
    EXPECT_EQ(table.bytes_of(there.mirrored()), 61u);
}

TYPED_TEST(table_test, time_may_wrap_and_go_back) {
    auto table = this->make({.narrow = 10, .wide = 10});
    this->burst();
    auto const ref =
        table.insert(client_to_vip<ipv4>(1), client_to_pod<ipv4>(1), tcp_flow, flow_time::of(0xffff'ff00)).ref;
    EXPECT_FALSE(table.is_expired(ref, flow_time::of(0)));
    EXPECT_EQ(table.sweep(10, flow_time::of(0x100)), 0u);
    EXPECT_FALSE(table.is_expired(ref, flow_time::of(0xffff'0000))) << "earlier";
    EXPECT_TRUE(table.is_expired(ref, flow_time::of(240'000)));
    EXPECT_EQ(table.sweep(10, flow_time::of(240'000)), 1u);
}

TYPED_TEST(table_test, a_sweep_is_bounded_and_gets_around) {
    auto table = this->make({.narrow = 1000, .wide = 1000});
    this->burst();
    for (std::uint32_t i = 0; i < 1000; ++i) {
        auto const& what = i % 2 == 0 ? tcp_flow : established_flow;
        ASSERT_EQ(table.insert(client_to_vip<ipv4>(i), client_to_pod<ipv4>(i), what, at(0s)).what,
                  insert_outcome::inserted);
        ASSERT_EQ(table.insert(client_to_vip<ipv6>(i), client_to_pod<ipv4>(i + 5000), what, at(0s)).what,
                  insert_outcome::inserted);
    }
    std::size_t ended = 0;
    for (int i = 0; i < 100; ++i) {
        auto const now = table.sweep(20, at(240s));
        ASSERT_LE(now, 20u);
        ended += now;
    }
    EXPECT_EQ(ended, 1000u) << "100 times 20 is once around";
    EXPECT_EQ(table.counters().expired, 1000u);
    std::size_t left = 0;
    table.for_each([&](flow_ref ref) {
        ++left;
        EXPECT_EQ(table.body(ref).state(), flow_state::tcp_established);
        table.visit_tuples(ref, [&](auto const& a, auto const& b) {
            EXPECT_EQ(table.find(a), ref);
            EXPECT_EQ(table.find(b.mirrored()), ref.mirrored());
        });
    });
    EXPECT_EQ(left, 1000u);
    table.flush();
    table.for_each([](flow_ref) { ADD_FAILURE(); });
    EXPECT_EQ(table.counters().flows(), 0u);
}

TYPED_TEST(table_test, can_be_walked_in_steps) {
    auto table = this->make({.narrow = 64, .wide = 64});
    this->burst();
    for (std::uint32_t i = 0; i < 30; ++i) {
        ASSERT_EQ(table.insert(client_to_vip<ipv4>(i), client_to_pod<ipv4>(i), established_flow, at(0s)).what,
                  insert_outcome::inserted);
        ASSERT_EQ(table.insert(client_to_vip<ipv6>(i), client_to_pod<ipv4>(i + 5000), established_flow, at(0s)).what,
                  insert_outcome::inserted);
    }
    std::vector<std::uint32_t> met;
    std::size_t steps = 0;
    for (std::size_t at = 0; at < table.positions(); ++steps)
        at = table.for_each(at, 7, [&](flow_ref ref) { met.push_back(ref.bits()); });
    EXPECT_EQ(steps, 9u) << "60 by 7";
    std::ranges::sort(met);
    EXPECT_EQ(met.size(), 60u);
    EXPECT_EQ(std::unique(met.begin(), met.end()), met.end()) << "each once";
    EXPECT_EQ(table.for_each(table.positions() + 5, 7, [](flow_ref) { ADD_FAILURE(); }), table.positions() + 5);
}

TYPED_TEST(table_test, holds_its_whole_capacity_and_no_more) {
    auto table = this->make({.narrow = 3000, .wide = 2000});
    this->burst();
    EXPECT_EQ(table.capacity().narrow, 3000u);
    EXPECT_EQ(table.capacity().wide, 2000u);
    for (std::uint32_t i = 0; i < 3000; ++i)
        ASSERT_EQ(table.insert(client_to_vip<ipv4>(i), client_to_pod<ipv4>(i), established_flow, at(0s)).what,
                  insert_outcome::inserted);
    for (std::uint32_t i = 0; i < 2000; ++i)
        ASSERT_EQ(table.insert(client_to_vip<ipv6>(i), client_to_pod<ipv6>(i), established_flow, at(0s)).what,
                  insert_outcome::inserted);
    auto const refused = table.insert(client_to_vip<ipv4>(3000), client_to_pod<ipv4>(3000), tcp_flow, at(1s));
    EXPECT_EQ(refused.what, insert_outcome::full) << "an established flow is not evicted";
    EXPECT_FALSE(refused.ref);
    EXPECT_FALSE(table.find(client_to_vip<ipv4>(3000)));
    EXPECT_EQ(table.insert(client_to_vip<ipv6>(2000), client_to_pod<ipv4>(9999), tcp_flow, at(1s)).what,
              insert_outcome::full);
    EXPECT_EQ(table.counters().insert_full, 2u);
    EXPECT_EQ(table.counters().evicted, 0u);
    EXPECT_TRUE(table.erase(table.find(client_to_vip<ipv4>(7))));
    EXPECT_EQ(table.insert(client_to_vip<ipv4>(3000), client_to_pod<ipv4>(3000), tcp_flow, at(1s)).what,
              insert_outcome::inserted)
        << "room heals";
}

TYPED_TEST(table_test, eviction_takes_the_expired_one_then_the_longest_silent) {
    auto table = this->make({.narrow = 4, .wide = 0});
    this->burst();
    auto const insert = [&](std::uint32_t i, new_flow const& what, flow_time now) {
        auto const added = table.insert(client_to_vip<ipv4>(i), client_to_pod<ipv4>(i), what, now);
        EXPECT_EQ(added.what, insert_outcome::inserted) << i;
        return added.ref;
    };
    auto const is_there = [&](std::uint32_t i) { return static_cast<bool>(table.find(client_to_vip<ipv4>(i))); };
    insert(1, tcp_flow, at(10s));
    insert(2, tcp_flow, at(5s));
    insert(3, established_flow, at(0s));
    insert(4, {.state = flow_state::udp_assured, .timeout = 15s}, at(8s));
    insert(5, tcp_flow, at(20s));
    EXPECT_FALSE(is_there(2)) << "half-open, silent since second 5";
    insert(6, tcp_flow, at(23s));
    EXPECT_FALSE(is_there(4)) << "expired at second 23";
    EXPECT_TRUE(is_there(1) && is_there(3) && is_there(5) && is_there(6));
    table.touch(table.find(client_to_vip<ipv4>(1)), at(24s), transport_event::tcp_syn, 40, {});
    insert(7, tcp_flow, at(25s));
    EXPECT_FALSE(is_there(5)) << "silent since second 20; the older ones were heard since, or are established";
    EXPECT_TRUE(is_there(1) && is_there(3) && is_there(6));
    EXPECT_EQ(table.counters().evicted, 2u);
    EXPECT_EQ(table.counters().expired, 1u);
}

/// Where all are to be kept, an insertion looks at a few records only; together they still look at all.
TYPED_TEST(table_test, the_only_flow_that_may_go_is_found_among_those_to_keep) {
    constexpr std::uint32_t size = 1024;
    auto table = this->make({.narrow = size, .wide = 0});
    this->burst();
    for (std::uint32_t i = 0; i < size; ++i)
        ASSERT_EQ(table.insert(client_to_vip<ipv4>(i), client_to_pod<ipv4>(i), established_flow, at(0s)).what,
                  insert_outcome::inserted);
    auto const is_entered = [&](std::uint32_t i) {
        return table.insert(client_to_vip<ipv4>(i), client_to_pod<ipv4>(i), tcp_flow, at(1s)).what ==
               insert_outcome::inserted;
    };
    for (std::uint32_t i = 0; i < size; ++i) ASSERT_FALSE(is_entered(size + i)) << i;
    EXPECT_EQ(table.counters().flows(), size);
    table.touch(table.find(client_to_vip<ipv4>(700)), at(1s), transport_event::tcp_rst, 40, {});
    std::uint32_t tries = 1;
    while (!is_entered(3000) && tries < size) ++tries;
    EXPECT_LE(tries, size / 8 + 1);
    EXPECT_FALSE(table.find(client_to_vip<ipv4>(700))) << "over";
    EXPECT_EQ(table.counters().evicted, 1u);
}

TYPED_TEST(table_test, a_flow_that_is_heard_from_outlives_silent_ones) {
    auto table = this->make({.narrow = 128, .wide = 0});
    constexpr new_flow one_way{.state = flow_state::udp_unreplied, .timeout = 3000s};
    std::uint32_t refused = 0;
    for (std::uint32_t i = 0; i < 2000; ++i) {
        this->burst();
        auto const now = at(std::chrono::milliseconds{i});
        refused +=
            table.insert(client_to_vip<ipv4>(i), client_to_pod<ipv4>(i), one_way, now).what == insert_outcome::inserted
                ? 0u
                : 1u;
        auto const heard = table.find(client_to_vip<ipv4>(5));
        ASSERT_EQ(static_cast<bool>(heard), i >= 5) << i;
        if (heard) table.touch(heard, now, transport_event::packet, 60, {});
    }
    EXPECT_EQ(refused, 0u);
    EXPECT_EQ(table.counters().evicted, 2000u - 128u);
}

/// Issue-sized floods run in the benchmark; here the table is filled more than ten times over.
TYPED_TEST(table_test, a_flood_of_half_open_flows_evicts_no_established_one) {
    auto table = this->make({.narrow = 65'536, .wide = 0});
    this->burst();
    timeouts const limits;
    for (std::uint32_t i = 0; i < 1000; ++i)
        ASSERT_EQ(table.insert(client_to_vip<ipv4>(i), client_to_pod<ipv4>(i), established_flow, at(0s)).what,
                  insert_outcome::inserted);
    auto const memory = table.bytes();
    std::uint32_t refused = 0;
    for (std::uint32_t i = 0; i < 700'000; ++i) {
        if (i % 32 == 0) this->burst();
        auto const now = at(std::chrono::milliseconds{i / 20});
        auto const attacker = 0x1000'0000 + i;
        auto const added = table.insert(client_to_vip<ipv4>(attacker), client_to_pod<ipv4>(attacker), tcp_flow, now);
        refused += added.what == insert_outcome::inserted ? 0u : 1u;
        if (i % 200'000 == 0)
            for (std::uint32_t c = 0; c < 1000; ++c)
                table.touch(table.find(client_to_vip<ipv4>(c)), now, transport_event::packet, 40, limits);
    }
    EXPECT_LE(refused, 7'000u) << "where the established ones stand together, an insertion may meet no other";
    for (std::uint32_t i = 0; i < 1000; ++i) {
        auto const ref = table.find(client_to_vip<ipv4>(i));
        ASSERT_TRUE(ref) << i;
        EXPECT_EQ(table.body(ref).state(), flow_state::tcp_established);
        EXPECT_EQ(table.template leaves_as<ipv4>(ref), client_to_pod<ipv4>(i)) << "not moved";
    }
    EXPECT_EQ(table.bytes(), memory);
    EXPECT_EQ(table.counters().flows(), 65'536u);
    EXPECT_GE(table.counters().evicted, 600'000u);
}

TYPED_TEST(table_test, memory_a_connection_is_within_budget) { // 96 and 176 bytes, everything included
    auto const narrow = this->make({.narrow = 1'000'000, .wide = 0});
    EXPECT_LE(static_cast<double>(narrow.bytes()) / narrow.capacity().narrow, 96.0);
    auto const wide = this->make({.narrow = 0, .wide = 1'000'000});
    EXPECT_LE(static_cast<double>(wide.bytes()) / wide.capacity().wide, 176.0);
    this->RecordProperty("bytes_per_narrow", static_cast<int>(narrow.bytes() / 1'000'000));
    this->RecordProperty("bytes_per_wide", static_cast<int>(wide.bytes() / 1'000'000));
}

std::optional<std::size_t> resident_pages() {
    std::ifstream statm{"/proc/self/statm"};
    std::size_t total = 0, resident = 0;
    if (!(statm >> total >> resident)) return std::nullopt;
    return resident;
}

TYPED_TEST(table_test, construction_touches_little_memory) {
    auto const before = resident_pages();
    if (!before) GTEST_SKIP() << "no /proc/self/statm here";
    using huge_table = std::conditional_t<TypeParam::is_shared, shared_flow_table, flow_table>;
    auto const table = this->template make<huge_table>({.narrow = 8'000'000, .wide = 1'000'000});
    EXPECT_GT(table.bytes(), 500'000'000u);
    EXPECT_LT(*resident_pages() - *before, 5000u) << "pages of 4 KiB";
}

/// Every operation on the table and on a plain map; they must always agree.
template <class Test>
void expect_like_a_map(Test& test, std::uint64_t seed, int operations) {
    auto table = test.make({.narrow = 9000, .wide = 0});
    std::mt19937_64 random{seed};
    struct model_flow {
        std::uint32_t reply_port;
        std::uint32_t last_seen;
    };
    constexpr std::uint32_t keys = 8000, timeout = 1000;
    std::unordered_map<std::uint32_t, model_flow> flows;      // by client
    std::unordered_map<std::uint32_t, std::uint32_t> replies; // reply port to client
    std::uint32_t now = 0xffff'0000;                          // wraps on the way
    auto const is_old = [&](model_flow const& f) { return now - f.last_seen >= timeout; };
    auto const forget = [&](std::uint32_t client) {
        replies.erase(flows.at(client).reply_port);
        flows.erase(client);
    };
    auto const reply_tuple = [](std::uint32_t port) {
        return client_to_pod<ipv4>(1, static_cast<std::uint16_t>(port));
    };
    for (int i = 0; i < operations; ++i) {
        if (i % 32 == 0) test.burst();
        if (random() % 64 == 0) now += 3;
        auto const client = static_cast<std::uint32_t>(random() % keys);
        auto const ref = table.find(client_to_vip<ipv4>(client));
        auto const known = flows.find(client);
        ASSERT_EQ(static_cast<bool>(ref), known != flows.end()) << "step " << i;
        switch (random() % 8) {
        case 0:
        case 1:
        case 2: {
            auto const port = static_cast<std::uint32_t>(random() % keys);
            auto const added =
                table.insert(client_to_vip<ipv4>(client), reply_tuple(port),
                             {.service = client, .state = flow_state::udp_assured, .timeout = 1s}, flow_time::of(now));
            if (known != flows.end() && is_old(known->second)) forget(client);
            if (flows.contains(client)) {
                ASSERT_EQ(added.what, insert_outcome::duplicate) << "step " << i;
                break;
            }
            if (auto const other = replies.find(port); other != replies.end() && is_old(flows.at(other->second)))
                forget(other->second);
            if (replies.contains(port)) {
                ASSERT_EQ(added.what, insert_outcome::reply_taken) << "step " << i;
                break;
            }
            ASSERT_EQ(added.what, insert_outcome::inserted) << "step " << i;
            flows[client] = {port, now};
            replies[port] = client;
            break;
        }
        case 3:
            if (!ref) break;
            ASSERT_TRUE(table.erase(ref));
            forget(client);
            break;
        case 4:
            if (!ref) break;
            ASSERT_EQ(table.is_expired(ref, flow_time::of(now)), is_old(known->second)) << "step " << i;
            table.touch(ref, flow_time::of(now), transport_event::packet, 1, {});
            known->second.last_seen = now;
            break;
        case 5: {
            auto const port = static_cast<std::uint32_t>(random() % keys);
            auto const back = table.find(reply_tuple(port).mirrored());
            auto const owner = replies.find(port);
            ASSERT_EQ(static_cast<bool>(back), owner != replies.end()) << "step " << i;
            ASSERT_TRUE(!back || table.body(back).service == owner->second) << "step " << i;
            break;
        }
        default:
            ASSERT_TRUE(!ref || table.template leaves_as<ipv4>(ref) == reply_tuple(known->second.reply_port));
            if (random() % 1000 != 0) break;
            std::size_t old = 0;
            for (auto it = flows.begin(); it != flows.end();) {
                auto const client_of = it->first;
                bool const gone = is_old(it->second);
                ++it;
                if (gone) forget(client_of);
                old += gone ? 1u : 0u;
            }
            ASSERT_EQ(table.sweep(100'000, flow_time::of(now)), old) << "step " << i;
        }
        ASSERT_EQ(table.counters().flows(), flows.size()) << "step " << i;
    }
    std::size_t walked = 0;
    table.for_each([&](flow_ref ref) { walked += flows.contains(table.body(ref).service) ? 1u : 0u; });
    EXPECT_EQ(walked, flows.size());
    EXPECT_GT(flows.size(), 100u);
}
TYPED_TEST(table_test, behaves_like_a_map) { expect_like_a_map(*this, 5, 1'000'000); }

} // namespace
} // namespace kubeproxy::table_tests
