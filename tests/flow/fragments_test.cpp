#include "kubeproxy/flow/fragments.hpp"

#include "support/reassembly.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <ostream>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace kubeproxy::fragments_tests {
namespace {

using namespace std::chrono_literals;
using reassembly::octets;

constexpr std::uint64_t seed = 20;

template <ip_version V>
constexpr std::size_t address_size = sizeof(typename V::address);

template <ip_version V>
reassembly::message datagram(std::uint32_t identification, std::uint8_t protocol = ip_protocol::udp) {
    return reassembly::example_message(address_size<V>, identification, protocol);
}

template <ip_version V>
fragment_key<V> key_of(octets packet) {
    return fragment_key<V>::of(parse_as<V>(packet));
}
template <ip_version V>
fragment_key<V> key_of(std::uint32_t identification) {
    return key_of<V>(reassembly::part_of(datagram<V>(identification), 32, 32));
}
template <ip_version V>
tuple<V> with_ports(fragment_key<V> const& key, std::uint16_t source, std::uint16_t destination,
                    std::uint8_t protocol = ip_protocol::udp) {
    return {key.source, key.destination, source, destination, protocol};
}

template <class V>
class fragments : public testing::Test {};
struct version_name {
    template <class V>
    static std::string GetName(int) {
        return std::same_as<V, ipv4> ? "ipv4" : "ipv6";
    }
};
using versions = testing::Types<ipv4, ipv6>;
TYPED_TEST_SUITE(fragments, versions, version_name);

TYPED_TEST(fragments, parts_of_a_message_share_their_key_and_no_other_message_has_it) {
    using V = TypeParam;
    auto const m = datagram<V>(7);
    auto const key = key_of<V>(reassembly::part_of(m, 0, 32));
    EXPECT_EQ(key_of<V>(reassembly::part_of(m, 32, 32)), key);

    auto other_source = m, other_destination = m, other_identification = m, reply = m;
    other_source.source = reassembly::example_address(address_size<V>, 3);
    other_destination.destination = reassembly::example_address(address_size<V>, 3);
    other_identification.identification = 8;
    std::swap(reply.source, reply.destination);
    for (auto const& other : {other_source, other_destination, other_identification, reply})
        EXPECT_FALSE(key_of<V>(reassembly::part_of(other, 32, 32)) == key);
}

TEST(fragment_key, of_ipv4_has_the_protocol) { // RFC 791 section 3.2
    auto const udp = reassembly::part_of(datagram<ipv4>(7), 32, 32);
    auto const tcp = reassembly::part_of(datagram<ipv4>(7, ip_protocol::tcp), 32, 32);
    EXPECT_FALSE(key_of<ipv4>(udp) == key_of<ipv4>(tcp));
}

TEST(fragment_key, of_ipv6_has_all_32_bits_and_no_next_header) { // RFC 8200 section 4.5
    auto const low = reassembly::part_of(datagram<ipv6>(0x0000'0007), 32, 32);
    auto const high = reassembly::part_of(datagram<ipv6>(0x0001'0007), 32, 32);
    EXPECT_FALSE(key_of<ipv6>(low) == key_of<ipv6>(high));
    auto const other_next_header = reassembly::part_of(datagram<ipv6>(7, ip_protocol::destination_options), 32, 32);
    EXPECT_EQ(key_of<ipv6>(low), key_of<ipv6>(other_next_header));
}

TYPED_TEST(fragments, a_later_one_has_the_tuple_of_the_first) {
    using V = TypeParam;
    constexpr auto icmp = V::icmp_protocol;
    for (auto const protocol : {ip_protocol::udp, ip_protocol::tcp, ip_protocol::sctp, icmp}) {
        auto m = datagram<V>(7, protocol);
        if (protocol == icmp) m.payload[0] = static_cast<std::byte>(icmp_type<V>::echo_request);
        auto first = reassembly::part_of(m, 0, 32), later = reassembly::part_of(m, 32, 32);
        auto const p = parse_as<V>(first);
        auto const message = tuple_of(p);

        fragment_table<V> table{seed};
        EXPECT_FALSE(table.find(key_of<V>(later), flow_time{0ms}));
        table.note_first(fragment_key<V>::of(p), message, flow_time{0ms});
        EXPECT_EQ(table.find(key_of<V>(later), flow_time{1ms}), message) << "protocol " << int{protocol};
        EXPECT_FALSE(table.find(key_of<V>(8), flow_time{1ms}));
    }
}

TEST(fragment_table, an_ipv6_message_has_the_protocol_behind_its_extension_headers) { // RFC 8200 section 4.5
    auto m = datagram<ipv6>(7, ip_protocol::destination_options);
    m.payload.insert(m.payload.begin(), {std::byte{ip_protocol::udp}, std::byte{0}, std::byte{1}, std::byte{4},
                                         std::byte{0}, std::byte{0}, std::byte{0}, std::byte{0}}); // PadN
    auto first = reassembly::part_of(m, 0, 32), later = reassembly::part_of(m, 32, 40);
    auto const p = parse_ipv6(first);
    fragment_table<ipv6> table{seed};
    table.note_first(fragment_key<ipv6>::of(p), tuple_of(p), flow_time{0ms});
    auto const key = key_of<ipv6>(later);
    EXPECT_EQ(table.find(key, flow_time{0ms}), with_ports(key, 4000, 53, ip_protocol::udp));
}

struct moment {
    std::string_view rule;
    std::uint32_t noted, asked; // milliseconds
    bool found;
};
std::ostream& operator<<(std::ostream& out, moment const& m) { return out << m.rule; }

class fragment_lifetime : public testing::TestWithParam<moment> {};
TEST_P(fragment_lifetime, ends) {
    fragment_table<ipv4> table{seed, {.messages = 64, .lifetime = 30s}};
    auto const key = key_of<ipv4>(7);
    table.note_first(key, with_ports(key, 1, 2), flow_time::of(GetParam().noted));
    EXPECT_EQ(table.find(key, flow_time::of(GetParam().asked)).has_value(), GetParam().found);
}
INSTANTIATE_TEST_SUITE_P(table, fragment_lifetime,
                         testing::Values(moment{"at once", 1000, 1000, true}, moment{"at its end", 1000, 31000, true},
                                         moment{"behind its end", 1000, 31001, false},
                                         moment{"across the clock's wrap", 0xffff'ff00, 0x0000'0100, true},
                                         moment{"across the clock's wrap, behind its end", 0xffff'ff00, 30'000 - 0xff,
                                                false},
                                         moment{"the clock was set back a little", 50'000, 20'000, true},
                                         moment{"the clock was set back more than a lifetime", 50'001, 20'000, false},
                                         moment{"half the clock's period later: not as if the clock had been set back",
                                                0, 0x8000'0001, false}));

TYPED_TEST(fragments, a_first_one_that_repeats_lives_on) {
    fragment_table<TypeParam> table{seed, {.messages = 64, .lifetime = 30s}};
    auto const key = key_of<TypeParam>(7);
    auto const message = with_ports(key, 4000, 53);
    table.note_first(key, message, flow_time{0s});
    table.note_first(key, message, flow_time{20s});
    EXPECT_EQ(table.find(key, flow_time{50s}), message);
    EXPECT_EQ(table.counters().noted, 1u);
    EXPECT_EQ(table.counters().repeated, 1u);
    EXPECT_EQ(table.counters().replaced, 0u);
}

// Identifications are used again (RFC 4963), and overlaps are the receiver's to discard (RFC 5722).
TYPED_TEST(fragments, a_first_one_with_other_ports_replaces_the_message) {
    fragment_table<TypeParam> table{seed, {.messages = 64, .lifetime = 30s}};
    auto const key = key_of<TypeParam>(7);
    std::vector<tuple<TypeParam>> const others{with_ports(key, 4001, 53), with_ports(key, 4001, 54),
                                               with_ports(key, 4001, 54, ip_protocol::tcp)};
    table.note_first(key, with_ports(key, 4000, 53), flow_time{0s});
    for (auto const& other : others) {
        table.note_first(key, other, flow_time{1s});
        EXPECT_EQ(table.find(key, flow_time{1s}), other);
    }
    EXPECT_EQ(table.counters().noted, 1u);
    EXPECT_EQ(table.counters().replaced, others.size());

    table.note_first(key, with_ports(key, 1, 2), flow_time{60s}); // the former message is forgotten by then
    EXPECT_EQ(table.counters().noted, 2u);
    EXPECT_EQ(table.counters().replaced, others.size());
}

TYPED_TEST(fragments, the_oldest_message_makes_room) {
    fragment_table<TypeParam> table{seed, {.messages = 8, .lifetime = 30s}};
    ASSERT_EQ(table.capacity(), 8u);
    std::vector<fragment_key<TypeParam>> keys;
    for (std::uint32_t i = 0; i < 10; ++i) keys.push_back(key_of<TypeParam>(i));
    for (std::size_t i = 0; i < 8; ++i)
        table.note_first(keys[i], with_ports(keys[i], 1, 2), flow_time{std::chrono::seconds{i}});
    table.note_first(keys[0], with_ports(keys[0], 1, 2), flow_time{9s}); // younger than 1 now
    table.note_first(keys[8], with_ports(keys[8], 1, 2), flow_time{10s});
    EXPECT_EQ(table.counters().evicted, 1u);
    for (auto const i : {0u, 2u, 3u, 4u, 5u, 6u, 7u, 8u}) EXPECT_TRUE(table.find(keys[i], flow_time{10s})) << i;
    EXPECT_FALSE(table.find(keys[1], flow_time{10s}));

    table.note_first(keys[9], with_ports(keys[9], 1, 2), flow_time{33s}); // 2 is forgotten already: no eviction
    EXPECT_EQ(table.counters().evicted, 1u);
    for (auto const i : {0u, 3u, 4u, 5u, 6u, 7u, 8u, 9u}) EXPECT_TRUE(table.find(keys[i], flow_time{33s})) << i;
}

TYPED_TEST(fragments, a_flood_of_messages_evicts_and_every_newest_one_is_known) {
    fragment_table<TypeParam> table{seed, {.messages = 1000, .lifetime = 30s}};
    EXPECT_EQ(table.capacity(), 1024u);
    constexpr std::uint32_t flood = 50'000;
    auto key = key_of<TypeParam>(0);
    auto const now = flow_time{1s};
    std::vector<fragment_key<TypeParam>> keys;
    for (std::uint32_t i = 0; i < flood; ++i) {
        key.identification = i;
        table.note_first(key, with_ports(key, 1, 2), now);
        ASSERT_TRUE(table.find(key, now)) << i;
        keys.push_back(key);
    }
    auto const known = std::ranges::count_if(keys, [&](auto const& k) { return table.find(k, now).has_value(); });
    EXPECT_EQ(table.counters().noted, flood);
    EXPECT_EQ(table.counters().evicted + static_cast<std::uint64_t>(known), flood);
    EXPECT_LE(known, 1024);
    EXPECT_GE(known, 1000) << "the keys do not spread over the buckets";
}

TYPED_TEST(fragments, keys_that_share_a_bucket_under_one_seed_do_not_under_another) {
    using V = TypeParam;
    detail::fragment_hash<V> const known_to_the_attacker{1};
    std::vector<fragment_key<V>> keys;
    for (auto key = key_of<V>(0); keys.size() < 64; ++key.identification)
        if (known_to_the_attacker(key) % 128 == 0) keys.push_back(key);
    auto const survivors = [&](std::uint64_t s) {
        fragment_table<V> table{s, {.messages = 1024, .lifetime = 30s}};
        for (auto const& k : keys) table.note_first(k, with_ports(k, 1, 2), flow_time{0s});
        return std::ranges::count_if(keys, [&](auto const& k) { return table.find(k, flow_time{0s}).has_value(); });
    };
    EXPECT_EQ(survivors(1), 8); // one bucket
    EXPECT_GE(survivors(2), 60);
}

// 4 messages a bucket on average, of 8 that fit: by Poisson's distribution 0.8 % are evicted.
TYPED_TEST(fragments, identifications_that_count_up_spread_over_the_buckets) {
    constexpr std::uint32_t messages = 4096;
    for (std::uint64_t s = 0; s < 32; ++s) {
        fragment_table<TypeParam> table{s, {.messages = 2 * messages, .lifetime = 30s}};
        for (auto key = key_of<TypeParam>(0); key.identification < messages; ++key.identification)
            table.note_first(key, with_ports(key, 1, 2), flow_time{0s});
        EXPECT_LT(table.counters().evicted, messages * 2 / 100) << "seed " << s;
    }
}

/// What a table of one bucket must know: the eight messages noted last, within their lifetime.
template <ip_version V>
class table_model {
  public:
    explicit table_model(std::uint32_t lifetime) : lifetime_{lifetime} {}
    void note_first(fragment_key<V> const& key, tuple<V> const& message, std::uint32_t now) {
        forget(now);
        auto const id = key.identification;
        if (!known_.contains(id) && known_.size() == 8) {
            ++evicted_;
            known_.erase(std::ranges::min_element(known_, {}, [](auto const& k) { return k.second.noted; }));
        }
        known_[id] = {now, message};
    }
    std::optional<tuple<V>> find(fragment_key<V> const& key, std::uint32_t now) {
        forget(now);
        auto const found = known_.find(key.identification);
        return found == known_.end() ? std::nullopt : std::optional{found->second.message};
    }
    [[nodiscard]] std::uint64_t evicted() const { return evicted_; }

  private:
    void forget(std::uint32_t now) {
        std::erase_if(known_, [&](auto const& k) { return now - k.second.noted > lifetime_; });
    }
    struct entry {
        std::uint32_t noted = 0;
        tuple<V> message;
    };
    std::uint32_t lifetime_;
    std::map<std::uint32_t, entry> known_;
    std::uint64_t evicted_ = 0;
};

TYPED_TEST(fragments, a_table_does_as_its_model) {
    constexpr std::uint32_t lifetime = 100;
    fragment_table<TypeParam> table{seed, {.messages = 8, .lifetime = std::chrono::milliseconds{lifetime}}};
    table_model<TypeParam> model{lifetime};
    std::mt19937 random{seed};
    auto key = key_of<TypeParam>(0);
    std::size_t found = 0;
    auto const below = [&random](std::uint32_t limit) { return static_cast<std::uint32_t>(random()) % limit; };
    for (std::uint32_t step = 0, now = 0; step < 200'000; ++step) {
        now += 1 + (below(64) == 0 ? below(200) : below(8));
        key.identification = below(17);
        if (below(2) == 0) {
            auto const message = with_ports(key, static_cast<std::uint16_t>(below(3)), 53);
            table.note_first(key, message, flow_time::of(now));
            model.note_first(key, message, now);
        }
        auto const expected = model.find(key, now);
        ASSERT_EQ(table.find(key, flow_time::of(now)), expected) << "step " << step;
        found += expected ? 1u : 0u;
    }
    EXPECT_EQ(table.counters().evicted, model.evicted());
    EXPECT_GT(model.evicted(), 1000u);
    EXPECT_GT(found, 100'000u);
}

} // namespace
} // namespace kubeproxy::fragments_tests
