#include "kubeproxy/flow/port_pool.hpp"
#include "kubeproxy/flow/table.hpp"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <chrono>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace kubeproxy::port_pool_tests {
namespace {

constexpr auto any = [](auto const&) { return true; };
constexpr source_range<ipv4> one_address{ipv4_address(0xc000'0201), ipv4_address(0xc000'0201)};

tuple<ipv4> from(std::uint32_t client, std::uint16_t port, std::uint8_t protocol = ip_protocol::tcp) {
    return {.source = ipv4_address(client), .source_port = port, .protocol = protocol};
}
tuple<ipv4> towards(std::uint32_t remote, std::uint16_t port = 443, std::uint8_t protocol = ip_protocol::tcp) {
    return {.destination = ipv4_address(remote), .destination_port = port, .protocol = protocol};
}
struct by_bytes {
    bool operator()(tuple<ipv4> const& a, tuple<ipv4> const& b) const {
        using bytes = std::array<std::uint8_t, sizeof(tuple<ipv4>)>;
        return std::bit_cast<bytes>(a) < std::bit_cast<bytes>(b);
    }
};
using tuple_set = std::set<tuple<ipv4>, by_bytes>;

TEST(port_space, values_of_a_kind) {
    struct row {
        std::string name;
        detail::port_kind kind;
        port_span excluded;
        std::uint32_t size;
        std::uint16_t first, last;
    };
    using enum detail::port_kind;
    for (auto const& r : std::vector<row>{
             {"identifiers are 16 bits (RFC 792), no port is excluded", identifier, {30000, 32767}, 65536, 0, 65535},
             {"no ports, nothing to choose", none, {30000, 32767}, 1, 0, 0},
             {"1024 to 65535 (RFC 4787 REQ-3)", high, {1, 0}, 64512, 1024, 65535},
             {"without node ports", high, {30000, 32767}, 61744, 1024, 65535},
             {"the first ones excluded", high, {0, 1999}, 63536, 2000, 65535},
             {"the last ones excluded", high, {60000, 65535}, 58976, 1024, 59999},
             {"all excluded", high, {0, 65535}, 0, 0, 0},
             {"even (RFC 4787 REQ-4)", high_even, {30000, 32767}, 30872, 1024, 65534},
             {"odd", high_odd, {30000, 32767}, 30872, 1025, 65535},
             {"odd, excluded from an odd port on", high_odd, {1025, 1027}, 32254, 1029, 65535},
             {"even, excluded up to an even port", high_even, {1024, 1026}, 32254, 1028, 65534},
             {"low, even, never 0", low_even, {1, 0}, 511, 2, 1022},
             {"low, odd", low_odd, {1, 0}, 512, 1, 1023},
         }) {
        auto const space = detail::space_of(r.kind, r.excluded, {});
        ASSERT_EQ(space.size(), r.size) << r.name;
        if (r.size == 0) continue;
        EXPECT_EQ(space[0], r.first) << r.name;
        EXPECT_EQ(space[r.size - 1], r.last) << r.name;
        for (std::uint32_t i = 1; i < space.size(); ++i) ASSERT_LT(space[i - 1], space[i]) << r.name;
        for (std::uint32_t i = 0; i < space.size(); ++i)
            ASSERT_FALSE(r.kind != identifier && space[i] >= r.excluded.first && space[i] <= r.excluded.last) << r.name;
    }
}

TEST(port_space, workers_share_without_overlap) {
    std::set<std::uint16_t> all;
    std::size_t given = 0;
    for (std::uint32_t worker = 0; worker < 7; ++worker) {
        auto const space = detail::space_of(detail::port_kind::high, {30000, 32767}, {worker, 7});
        EXPECT_NEAR(space.size(), 61744 / 7, 1);
        given += space.size();
        for (std::uint32_t i = 0; i < space.size(); ++i) all.insert(space[i]);
    }
    EXPECT_EQ(given, 61744u);
    EXPECT_EQ(all.size(), 61744u) << "each port is one worker's";
}

TEST(port_pool, every_port_once_towards_one_remote_then_none_then_again) {
    port_pool<ipv4> pool{1};
    tuple_set taken;
    std::vector<tuple<ipv4>> in_order;
    auto const is_free = [&](tuple<ipv4> const& t) { return !taken.contains(t); };
    auto const take = [&](std::uint32_t i) {
        auto const chosen =
            pool.choose(one_address, from(0x0a00'0001, static_cast<std::uint16_t>(i)), towards(0xcb00'7101), is_free);
        if (chosen && taken.insert(*chosen).second) in_order.push_back(*chosen);
        return chosen.has_value();
    };
    std::size_t failed = 0;
    for (std::uint32_t i = 0; i < 70'000; ++i) failed += take(i) ? 0u : 1u;
    EXPECT_EQ(taken.size(), 64'512u) << "1024 to 65535, all distinct";
    EXPECT_EQ(failed, 70'000u - 64'512u) << "fails cleanly when all are taken";

    // One port comes free: the pool finds it within a round, because each failure leaves off further on.
    taken.erase(in_order[100]);
    int calls = 0;
    while (!take(1)) ++calls;
    EXPECT_EQ(in_order.back(), in_order[100]);
    EXPECT_LE(calls, 64'512 / 64 + 1);
}

TEST(port_pool, with_a_table_live_flows_keep_their_ports_and_expired_ones_give_them_back) {
    basic_flow_table<single_worker, standard_memory> table{{.narrow = 80'000, .wide = 0}, secret{1}};
    port_pool<ipv4> pool{11};
    new_flow const flow{.state = flow_state::udp_assured, .timeout = std::chrono::seconds{60}};
    auto const connect = [&](std::uint32_t client, flow_time now) {
        auto const original = from(0x0a00'0000 + client, 40'000);
        auto const chosen = pool.choose(one_address, original, towards(0xcb00'7101),
                                        [&](tuple<ipv4> const& t) { return table.reply_is_free(t, now); });
        if (!chosen) return false;
        EXPECT_EQ(table.insert(original, *chosen, flow, now).what, insert_outcome::inserted) << client;
        return true;
    };
    std::uint32_t connected = 0, again = 0;
    for (std::uint32_t i = 0; i < 70'000; ++i) connected += connect(i, flow_time::of(0)) ? 1u : 0u;
    EXPECT_EQ(connected, 64'512u);
    EXPECT_FALSE(connect(80'000, flow_time::of(59'999)));
    for (std::uint32_t i = 0; i < 64'512; ++i) again += connect(100'000 + i, flow_time::of(60'000)) ? 1u : 0u;
    EXPECT_EQ(again, 64'512u) << "after their timeout, without a sweep";
    EXPECT_EQ(table.counters().expired, 64'512u);
}

TEST(port_pool, the_port_longest_unused_comes_next) { // RFC 6056 section 3.1: reuse as late as possible
    port_pool<ipv4> pool{2};
    std::map<std::uint16_t, int> last_used;
    for (int i = 0; i < 3 * 64'512; ++i) {
        auto const chosen = pool.choose(one_address, from(0x0a00'0001, 999), towards(0xcb00'7101), any);
        ASSERT_TRUE(chosen);
        auto const [at, is_new] = last_used.try_emplace(chosen->source_port, i);
        ASSERT_TRUE(is_new || i - at->second == 64'512) << i;
        at->second = i;
    }
}

TEST(port_pool, remotes_start_apart_and_seeds_too) { // RFC 6056 section 3.3.4
    auto const first_port = [](std::uint64_t seed, std::uint32_t remote) {
        return port_pool<ipv4>{seed}.choose(one_address, from(1, 1), towards(remote), any)->source_port;
    };
    std::set<std::uint16_t> by_remote, by_seed;
    for (std::uint32_t i = 0; i < 100; ++i) {
        by_remote.insert(first_port(1, 0xcb00'7100 + i));
        by_seed.insert(first_port(i, 0xcb00'7101));
    }
    EXPECT_GE(by_remote.size(), 97u);
    EXPECT_GE(by_seed.size(), 97u);
    EXPECT_EQ(first_port(5, 6), first_port(5, 6));
}

TEST(port_pool, four_addresses_serve_far_more_than_their_ports_towards_distinct_remotes) {
    port_pool<ipv4> pool{3};
    source_range<ipv4> const four{ipv4_address(0xc000'02fe), ipv4_address(0xc000'0301)}; // across a byte boundary
    tuple_set taken;
    std::set<ipv4::address> addresses;
    for (std::uint32_t i = 0; i < 300'000; ++i) {
        auto const chosen = pool.choose(four, from(0x0a00'0000 + i % 1000, 40'000), towards(0xcb00'0000 + i % 4096),
                                        [&](auto const& t) { return !taken.contains(t); });
        ASSERT_TRUE(chosen) << i;
        ASSERT_TRUE(taken.insert(*chosen).second) << i;
        addresses.insert(chosen->source);
    }
    EXPECT_EQ(addresses, (std::set<ipv4::address>{ipv4_address(0xc000'02fe), ipv4_address(0xc000'02ff),
                                                  ipv4_address(0xc000'0300), ipv4_address(0xc000'0301)}));
}

TEST(port_pool, a_client_keeps_its_address_while_it_has_ports) { // RFC 4787 REQ-2
    port_pool<ipv4> pool{4};
    source_range<ipv4> const two{ipv4_address(0xc000'0201), ipv4_address(0xc000'0202)};
    tuple_set taken;
    auto const is_free = [&](auto const& t) { return !taken.contains(t); };
    std::map<ipv4::address, std::size_t> by_address;
    for (std::uint32_t i = 0; i < 2 * 64'512; ++i) {
        auto const chosen = pool.choose(two, from(0x0a00'0001, 5000), towards(0xcb00'7101), is_free);
        ASSERT_TRUE(chosen) << i;
        taken.insert(*chosen);
        ++by_address[chosen->source];
        EXPECT_EQ(by_address.size(), i < 64'512 ? 1u : 2u);
    }
    EXPECT_EQ(by_address.size(), 2u);
    EXPECT_FALSE(pool.choose(two, from(0x0a00'0001, 5000), towards(0xcb00'7101), is_free));
}

TEST(port_pool, keeps_range_and_parity_of_udp) { // RFC 4787 REQ-3, REQ-4
    port_pool<ipv4> pool{5};
    for (auto const port : std::array<std::uint16_t, 4>{5000, 5001, 600, 601}) {
        auto const chosen =
            pool.choose(one_address, from(1, port, ip_protocol::udp), towards(2, 53, ip_protocol::udp), any);
        ASSERT_TRUE(chosen);
        EXPECT_EQ(chosen->source_port % 2, port % 2);
        EXPECT_EQ(chosen->source_port < 1024, port < 1024);
    }
    auto const only_odd = [](tuple<ipv4> const& t) { return t.source_port % 2 == 1; };
    auto const otherwise =
        pool.choose(one_address, from(1, 5000, ip_protocol::udp), towards(2, 53, ip_protocol::udp), only_odd);
    ASSERT_TRUE(otherwise) << "where possible";
    EXPECT_GE(otherwise->source_port, 1024);
}

TEST(port_pool, never_gives_an_excluded_port) {
    port_pool<ipv4> pool{6};
    auto range = one_address;
    range.excluded = {30000, 32767};
    for (int i = 0; i < 70'000; ++i) {
        auto const port = pool.choose(range, from(1, 999), towards(2), any)->source_port;
        ASSERT_FALSE(port >= 30000 && port <= 32767);
    }
}

TEST(port_pool, echo_identifiers_are_all_used) { // RFC 5508 section 3.1
    port_pool<ipv4> pool{7};
    std::set<std::uint16_t> identifiers;
    for (int i = 0; i < 65'536; ++i)
        identifiers.insert(
            pool.choose(one_address, from(1, 77, ip_protocol::icmp), towards(2, 0, ip_protocol::icmp), any)
                ->source_port);
    EXPECT_EQ(identifiers.size(), 65'536u);
}

TEST(port_pool, a_protocol_without_ports_gets_an_address) {
    port_pool<ipv4> pool{8, {3, 4}};
    auto const chosen = pool.choose(one_address, from(1, 0, 47), towards(2, 0, 47), any);
    ASSERT_TRUE(chosen);
    EXPECT_EQ(chosen->source_port, 0);
    EXPECT_FALSE(pool.choose(one_address, from(1, 0, 47), towards(2, 0, 47), [](auto const&) { return false; }));
}

TEST(port_pool, a_call_probes_a_bounded_number) {
    port_pool<ipv4> pool{9};
    source_range<ipv4> const many{ipv4_address(0xc000'0200), ipv4_address(0xc000'02ff)};
    for (auto const protocol : {ip_protocol::tcp, ip_protocol::udp, ip_protocol::icmp}) {
        std::size_t probes = 0;
        auto const count = [&](tuple<ipv4> const&) {
            ++probes;
            return false;
        };
        EXPECT_FALSE(pool.choose(many, from(1, 600, protocol), towards(2, 9, protocol), count));
        EXPECT_LE(probes, port_pool<ipv4>::max_probes);
        EXPECT_GE(probes, 32u);
    }
}

TEST(port_pool, workers_never_give_the_same) {
    tuple_set taken;
    std::vector<port_pool<ipv4>> pools;
    for (std::uint32_t w = 0; w < 4; ++w) pools.emplace_back(1, worker_share{w, 4});
    for (int i = 0; i < 10'000; ++i)
        for (auto& pool : pools)
            ASSERT_TRUE(taken.insert(*pool.choose(one_address, from(1, 2), towards(3), any)).second);
}

TEST(port_pool, ipv6_addresses_carry_over_bytes) {
    port_pool<ipv6> pool{10};
    source_range<ipv6> range{};
    range.first[0] = std::byte{0x20};
    range.first[15] = std::byte{0xff};
    range.last = range.first;
    range.last[14] = std::byte{1};
    range.last[15] = std::byte{0};
    std::set<ipv6::address> addresses;
    for (std::uint32_t client = 0; client < 64; ++client)
        addresses.insert(pool.choose(range, from(client, 1), tuple<ipv6>{.protocol = ip_protocol::tcp}, any)->source);
    EXPECT_EQ(addresses, (std::set<ipv6::address>{range.first, range.last}));
}

} // namespace
} // namespace kubeproxy::port_pool_tests
