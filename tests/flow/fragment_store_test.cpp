#include "kubeproxy/flow/fragment_store.hpp"

#include "support/reassembly.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <map>
#include <ostream>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace kubeproxy::fragment_store_tests {
namespace {

using namespace std::chrono_literals;
using reassembly::octets;
using packets = std::vector<octets>;

constexpr std::uint64_t seed = 21;

template <ip_version V>
reassembly::message datagram(std::uint32_t identification, std::size_t size = 160) {
    return reassembly::example_message(sizeof(typename V::address), identification, ip_protocol::udp, size);
}
template <ip_version V>
fragment_key<V> key_of(octets packet) {
    return fragment_key<V>::of(parse_as<V>(packet));
}
template <ip_version V>
hold_result hold(fragment_store<V>& store, octets packet, flow_time now = flow_time{0ms}) {
    return store.hold(parse_as<V>(packet), now); // the store keeps a copy, `packet` ends here
}
template <ip_version V>
packets released(fragment_store<V>& store, fragment_key<V> const& key) {
    packets result;
    auto const count = store.release(key, [&](byte_span p) { result.emplace_back(p.begin(), p.end()); });
    EXPECT_EQ(count, result.size());
    return result;
}

template <class V>
class fragment_stores : public testing::Test {};
struct version_name {
    template <class V>
    static std::string GetName(int) {
        return std::same_as<V, ipv4> ? "ipv4" : "ipv6";
    }
};
using versions = testing::Types<ipv4, ipv6>;
TYPED_TEST_SUITE(fragment_stores, versions, version_name);

TYPED_TEST(fragment_stores, releases_in_order_of_offset_whatever_the_order_they_came_in) {
    auto const parts = reassembly::parts_of(datagram<TypeParam>(7), 32);
    packets const later{parts.begin() + 1, parts.end()};
    ASSERT_EQ(later.size(), 4u);
    std::vector<std::size_t> order{0, 1, 2, 3};
    fragment_store<TypeParam> store{seed, {.slots = 4}};
    do {
        for (auto const i : order) EXPECT_EQ(hold(store, later[i]).why, drop_reason::none);
        EXPECT_EQ(released(store, key_of<TypeParam>(parts[0])), later);
        EXPECT_EQ(store.size(), 0u);
    } while (std::ranges::next_permutation(order).found);
    EXPECT_EQ(store.counters().held, 24u * 4);
    EXPECT_EQ(store.counters().released, 24u * 4);
    EXPECT_TRUE(released(store, key_of<TypeParam>(parts[0])).empty());
}

// The receiver decides: it may drop duplicates and must drop overlaps (RFC 8200 section 4.5), so both reach it.
TYPED_TEST(fragment_stores, duplicates_and_overlaps_are_released_too_equal_offsets_by_arrival) {
    auto const m = datagram<TypeParam>(7);
    auto const a = reassembly::part_of(m, 32, 32), b = reassembly::part_of(m, 64, 96),
               overlapping = reassembly::part_of(m, 32, 64), inside = reassembly::part_of(m, 40, 8);
    fragment_store<TypeParam> store{seed};
    for (auto const& p : {b, inside, a, overlapping, a, b}) EXPECT_EQ(hold(store, p).why, drop_reason::none);
    EXPECT_EQ(released(store, key_of<TypeParam>(a)), (packets{a, overlapping, a, inside, b, b}));
}

TYPED_TEST(fragment_stores, a_message_gets_its_own_parts_only) {
    auto const m = datagram<TypeParam>(7);
    auto other_source = m, other_identification = m; // another flow may use the same identification
    other_source.source.back() = std::byte{9};
    other_identification.identification = 8;
    fragment_store<TypeParam> store{seed};
    auto const part = [](auto const& of) { return reassembly::part_of(of, 32, 32); };
    for (auto const& of : {other_source, m, other_identification}) (void)hold(store, part(of));
    EXPECT_EQ(released(store, key_of<TypeParam>(part(m))), packets{part(m)});
    EXPECT_EQ(store.size(), 2u);
    for (auto const& of : {other_source, other_identification})
        EXPECT_EQ(released(store, key_of<TypeParam>(part(of))), packets{part(of)});
}

TYPED_TEST(fragment_stores, padding_is_not_held_and_the_sink_may_change_what_it_gets) {
    auto const part = reassembly::part_of(datagram<TypeParam>(7), 32, 32);
    auto padded = part;
    padded.resize(part.size() + 10, std::byte{0xee}); // an Ethernet frame has at least 60 bytes
    fragment_store<TypeParam> store{seed};
    (void)hold(store, padded);
    EXPECT_EQ(store.release(key_of<TypeParam>(part),
                            [&](mutable_byte_span p) {
                                EXPECT_TRUE(std::ranges::equal(p, part));
                                std::ranges::fill(p, std::byte{0});
                            }),
              1u);
    (void)hold(store, part);
    EXPECT_EQ(released(store, key_of<TypeParam>(part)), packets{part});
}

TYPED_TEST(fragment_stores, one_bigger_than_a_slot_is_refused) {
    auto const m = datagram<TypeParam>(7);
    auto const fits = reassembly::part_of(m, 32, 32), bigger = reassembly::part_of(m, 32, 40);
    fragment_store<TypeParam> store{seed, {.slots = 2, .slot_size = fits.size()}};
    EXPECT_EQ(hold(store, bigger).why, drop_reason::fragment_store_full);
    EXPECT_EQ(hold(store, fits).why, drop_reason::none);
    EXPECT_EQ(store.counters().refused, 1u);
    EXPECT_EQ(released(store, key_of<TypeParam>(fits)), packets{fits});
}

TYPED_TEST(fragment_stores, one_too_many_of_a_message_is_refused) {
    auto const m = datagram<TypeParam>(7);
    auto const part = reassembly::part_of(m, 32, 32), of_other = reassembly::part_of(datagram<TypeParam>(8), 32, 32);
    fragment_store<TypeParam> store{seed, {.slots = 8, .per_message = 3}};
    for (int i = 0; i < 3; ++i) EXPECT_EQ(hold(store, part).why, drop_reason::none);
    for (int i = 0; i < 9; ++i) EXPECT_EQ(hold(store, part).why, drop_reason::fragment_store_full);
    EXPECT_EQ(hold(store, of_other).why, drop_reason::none);
    EXPECT_EQ(store.counters().refused, 9u);
    EXPECT_EQ(released(store, key_of<TypeParam>(part)).size(), 3u);
}

TYPED_TEST(fragment_stores, the_message_held_longest_makes_room_whole) {
    auto const m = datagram<TypeParam>(7), second = datagram<TypeParam>(8), third = datagram<TypeParam>(9);
    auto const a = reassembly::part_of(m, 32, 32), a2 = reassembly::part_of(m, 64, 32),
               b = reassembly::part_of(second, 32, 32), c = reassembly::part_of(third, 32, 32);
    fragment_store<TypeParam> store{seed, {.slots = 3}};
    for (auto const& p : {a, b, a2}) EXPECT_EQ(hold(store, p).evicted, 0u);
    auto const result = hold(store, c);
    EXPECT_EQ(result.why, drop_reason::none);
    EXPECT_EQ(result.evicted, 2u);
    EXPECT_EQ(store.counters().evicted, 2u);
    EXPECT_TRUE(released(store, key_of<TypeParam>(a)).empty());
    EXPECT_EQ(released(store, key_of<TypeParam>(b)), packets{b});
    EXPECT_EQ(released(store, key_of<TypeParam>(c)), packets{c});
}

struct moment {
    std::string_view rule;
    std::uint32_t held, asked; // milliseconds
    std::size_t expired;
};
std::ostream& operator<<(std::ostream& out, moment const& m) { return out << m.rule; }

class hold_time : public testing::TestWithParam<moment> {};
TEST_P(hold_time, ends) {
    fragment_store<ipv4> store{seed, {.hold_time = 1000ms}};
    (void)hold(store, reassembly::part_of(datagram<ipv4>(7), 32, 32), flow_time::of(GetParam().held));
    EXPECT_EQ(store.expire(flow_time::of(GetParam().asked)), GetParam().expired);
    EXPECT_EQ(store.counters().expired, GetParam().expired);
    EXPECT_EQ(store.size(), 1 - GetParam().expired);
}
INSTANTIATE_TEST_SUITE_P(
    table, hold_time,
    testing::Values(moment{"not at once", 500, 500, 0}, moment{"not at its end", 500, 1500, 0},
                    moment{"behind its end", 500, 1501, 1},
                    moment{"not across the clock's wrap", 0xffff'ff00, 0x0000'0100, 0},
                    moment{"across the clock's wrap, behind its end", 0xffff'ff00, 1000 - 0xff, 1},
                    moment{"not where the clock was set back a little", 2000, 1000, 0},
                    moment{"where the clock was set back more than a hold time: it would be held too long", 2001, 1000,
                           1}));

// A receiver's timer starts with the first part that comes, too (RFC 8200 section 4.5).
TYPED_TEST(fragment_stores, a_message_expires_whole_when_its_first_part_does) {
    auto const m = datagram<TypeParam>(7), other = datagram<TypeParam>(8);
    fragment_store<TypeParam> store{seed, {.hold_time = 1000ms}};
    (void)hold(store, reassembly::part_of(m, 64, 32), flow_time{0ms});
    (void)hold(store, reassembly::part_of(other, 32, 32), flow_time{1ms});
    (void)hold(store, reassembly::part_of(m, 32, 32), flow_time{900ms});
    EXPECT_EQ(store.expire(flow_time{1001ms}), 2u);
    EXPECT_EQ(store.size(), 1u);
    EXPECT_EQ(store.expire(flow_time{1001ms}), 0u);
    EXPECT_EQ(store.expire(flow_time{1002ms}), 1u);
}

TYPED_TEST(fragment_stores, expires_no_more_at_once_than_asked_for) {
    fragment_store<TypeParam> store{seed, {.slots = 100, .hold_time = 1000ms}};
    for (std::uint32_t i = 0; i < 50; ++i)
        for (int twice = 0; twice < 2; ++twice) (void)hold(store, reassembly::part_of(datagram<TypeParam>(i), 32, 32));
    EXPECT_EQ(store.expire(flow_time{2s}, 10), 10u);
    EXPECT_EQ(store.expire(flow_time{2s}, 11), 12u); // the last message whole
    EXPECT_EQ(store.expire(flow_time{2s}, 1000), 78u);
    EXPECT_EQ(store.expire(flow_time{2s}, 1000), 0u);
}

TYPED_TEST(fragment_stores, a_flood_of_messages_stays_within_the_slots_and_the_newest_are_held) {
    fragment_store<TypeParam> store{seed, {.slots = 100, .slot_size = 128}};
    auto const part = [](std::uint32_t i) { return reassembly::part_of(datagram<TypeParam>(i), 32, 32); };
    constexpr std::uint32_t flood = 20'000;
    for (std::uint32_t i = 0; i < flood; ++i) {
        ASSERT_EQ(hold(store, part(i)).why, drop_reason::none);
        ASSERT_LE(store.size(), store.capacity());
    }
    EXPECT_EQ(store.capacity(), 100u);
    EXPECT_EQ(store.counters().evicted, flood - 100);
    for (std::uint32_t i = flood - 100; i < flood; ++i)
        EXPECT_EQ(released(store, key_of<TypeParam>(part(i))), packets{part(i)});
    EXPECT_EQ(store.size(), 0u);
}

/// A list of what is held, in order of arrival.
template <ip_version V>
class store_model {
  public:
    explicit store_model(fragment_store_settings const& s) : settings_{s} {}

    hold_result hold(fragment_key<V> const& key, std::size_t offset, octets const& packet, std::uint32_t now) {
        auto const same = std::ranges::count_if(held_, [&](auto const& h) { return h.key == key; });
        if (packet.size() > settings_.slot_size || static_cast<std::size_t>(same) >= settings_.per_message)
            return {drop_reason::fragment_store_full};
        std::size_t const evicted = held_.size() == settings_.slots ? forget(held_.front().key) : 0;
        held_.push_back({key, offset, packet, now});
        return {drop_reason::none, evicted};
    }
    packets release(fragment_key<V> const& key) {
        std::multimap<std::size_t, octets> in_order;
        for (auto const& h : held_)
            if (h.key == key) in_order.emplace(h.offset, h.packet);
        forget(key);
        packets result;
        for (auto const& [offset, packet] : in_order) result.push_back(packet);
        return result;
    }
    std::size_t expire(std::uint32_t now, std::size_t limit) {
        std::size_t count = 0;
        while (count < limit && !held_.empty() && std::abs(std::int64_t{now} - held_.front().arrived) > 1000)
            count += forget(held_.front().key);
        return count;
    }
    [[nodiscard]] std::size_t size() const { return held_.size(); }

  private:
    std::size_t forget(fragment_key<V> key) {
        return std::erase_if(held_, [&](auto const& h) { return h.key == key; });
    }
    struct entry {
        fragment_key<V> key;
        std::size_t offset;
        octets packet;
        std::uint32_t arrived;
    };
    fragment_store_settings settings_;
    std::vector<entry> held_;
};

TYPED_TEST(fragment_stores, a_store_does_as_its_model) {
    fragment_store_settings const settings{.slots = 12, .slot_size = 100, .per_message = 5, .hold_time = 1000ms};
    fragment_store<TypeParam> store{seed, settings};
    store_model<TypeParam> model{settings};
    std::mt19937 random{seed};
    auto const below = [&random](std::uint32_t limit) { return static_cast<std::uint32_t>(random()) % limit; };
    std::uint32_t now = 100'000;
    for (int step = 0; step < 100'000; ++step) {
        now = below(50) == 0 ? now - below(1500) : now + below(100); // a clock that steps back at times
        std::size_t const offset = 8 + 8 * below(18);
        auto const packet = reassembly::part_of(datagram<TypeParam>(below(6)), offset, 8 + 8 * below(9));
        auto const key = key_of<TypeParam>(packet);
        switch (below(8)) {
        case 0: ASSERT_EQ(released(store, key), model.release(key)) << "step " << step; break;
        case 1: {
            auto const limit = below(6);
            ASSERT_EQ(store.expire(flow_time::of(now), limit), model.expire(now, limit)) << "step " << step;
            break;
        }
        default: {
            auto const result = hold(store, packet, flow_time::of(now));
            auto const expected = model.hold(key, offset, packet, now);
            ASSERT_EQ(result.why, expected.why) << "step " << step;
            ASSERT_EQ(result.evicted, expected.evicted) << "step " << step;
        }
        }
        ASSERT_EQ(store.size(), model.size()) << "step " << step;
    }
    auto const& c = store.counters();
    EXPECT_EQ(c.held, c.released + c.expired + c.evicted + store.size());
    for (auto const count : {c.held, c.released, c.expired, c.refused, c.evicted}) EXPECT_GT(count, 1000u);
}

/// A fragment's way through table and store: what a data path does with it.
template <ip_version V>
class follower {
  public:
    using deliver = std::function<void(octets const&, tuple<V> const&)>;
    follower(fragment_store_settings const& settings, deliver to) : table_{seed}, store_{seed, settings}, to_{to} {}

    void take(octets packet, flow_time now) {
        timeouts += store_.expire(now);
        auto const p = parse_as<V>(packet);
        auto const key = fragment_key<V>::of(p);
        if (p.what != content::later_fragment) {
            auto const message = tuple_of(p);
            table_.note_first(key, message, now);
            to_(packet, message);
            store_.release(key, [&](byte_span held) { to_({held.begin(), held.end()}, message); });
        } else if (auto const message = table_.find(key, now)) {
            to_(packet, *message);
        } else {
            auto const result = store_.hold(p, now);
            no_room += result.evicted + (result.why == drop_reason::none ? 0u : 1u);
        }
    }
    void wait_for_the_rest(flow_time now) {
        while (auto const count = store_.expire(now)) timeouts += count;
    }
    std::size_t no_room = 0, timeouts = 0;

  private:
    fragment_table<V> table_;
    fragment_store<V> store_;
    deliver to_;
};

constexpr std::uint32_t datagram_count = 1000;

/// 1,000 datagrams of 2 to 8 parts, and a duplicate of each tenth part on average.
template <ip_version V>
packets fragmented_datagrams(std::mt19937& random) {
    packets all;
    for (std::uint32_t i = 0; i < datagram_count; ++i) {
        auto const parts = reassembly::parts_of(datagram<V>(i, 65 + random() % 448), 64);
        for (auto const& part : parts) all.insert(all.end(), random() % 10 == 0 ? 2 : 1, part);
    }
    return all;
}

struct shuffled_run {
    std::size_t sent = 0, delivered = 0, no_room = 0, timeouts = 0, assembled = 0;
};

template <ip_version V>
shuffled_run run(packets const& all, fragment_store_settings const& settings) {
    shuffled_run result{.sent = all.size()};
    reassembly::receiver receiver;
    std::vector<int> times(datagram_count);
    follower<V> path{settings, [&](octets const& packet, tuple<V> const& t) {
                         ++result.delivered;
                         EXPECT_EQ(t.source_port, 4000);
                         EXPECT_EQ(t.destination_port, 53);
                         auto const whole = receiver.take(packet);
                         if (!whole) return;
                         EXPECT_EQ(*whole, datagram<V>(whole->identification, whole->payload.size()));
                         ++times.at(whole->identification);
                     }};
    std::uint32_t now = 0xffff'fff0; // wraps on the way
    for (auto const& packet : all) path.take(packet, flow_time::of(now++));
    path.wait_for_the_rest(flow_time::of(now + 100'000));
    result.no_room = path.no_room;
    result.timeouts = path.timeouts;
    for (auto const count : times) {
        EXPECT_LE(count, 1);
        result.assembled += count != 0 ? 1u : 0u;
    }
    return result;
}

TYPED_TEST(fragment_stores, a_thousand_datagrams_in_random_order_reassemble_where_there_is_room) {
    std::mt19937 random{seed};
    auto all = fragmented_datagrams<TypeParam>(random);
    std::ranges::shuffle(all, random);
    auto const r = run<TypeParam>(all, {.slots = 8192, .hold_time = 10s});
    EXPECT_GT(r.sent, 5000u);
    EXPECT_EQ(r.delivered, r.sent);
    EXPECT_EQ(r.no_room + r.timeouts, 0u);
    EXPECT_EQ(r.assembled, datagram_count);
}

TYPED_TEST(fragment_stores, a_thousand_datagrams_that_overtake_each_other_reassemble_with_default_settings) {
    std::mt19937 random{seed};
    std::multimap<std::size_t, octets> by_arrival; // each up to 300 packets late
    for (auto const& packet : fragmented_datagrams<TypeParam>(random))
        by_arrival.emplace(by_arrival.size() + random() % 300, packet);
    packets all;
    for (auto const& [when, packet] : by_arrival) all.push_back(packet);
    auto const r = run<TypeParam>(all, {});
    EXPECT_EQ(r.delivered, r.sent);
    EXPECT_EQ(r.assembled, datagram_count);
}

TYPED_TEST(fragment_stores, a_thousand_datagrams_in_random_order_are_counted_where_there_is_no_room_or_time) {
    for (fragment_store_settings const& settings :
         {fragment_store_settings{}, {.slots = 8192, .hold_time = 500ms}, {.slots = 64, .hold_time = 50ms}}) {
        std::mt19937 random{seed};
        auto all = fragmented_datagrams<TypeParam>(random);
        std::ranges::shuffle(all, random);
        auto const r = run<TypeParam>(all, settings);
        auto const dropped = r.no_room + r.timeouts;
        EXPECT_EQ(r.delivered + dropped, r.sent);
        EXPECT_GT(dropped, 0u);
        EXPECT_LT(r.assembled, datagram_count);
        EXPECT_GE(r.assembled + dropped, datagram_count) << "a datagram was lost without a count";
    }
}

} // namespace
} // namespace kubeproxy::fragment_store_tests
