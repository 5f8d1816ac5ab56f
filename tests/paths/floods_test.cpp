#include "support/flood.hpp"
#include "support/packet_builder.hpp"
#include "support/testbed.hpp"

#include <gtest/gtest.h>

#include <array>
#include <set>
#include <string>
#include <tuple>

// More flows than there is room for: who keeps a place, who is counted.

namespace kubeproxy::floods_tests {
namespace {

using build::bytes_of;
using flood::answer_to, flood::fast_bed, flood::segment, flood::slower;
using testing_support::octets;
using testing_support::settled;
using testing_support::testbed;
using namespace std::chrono_literals;

constexpr unsigned syn = 0x02, ack = 0x10;

TEST(floods, of_half_open_connections_take_no_place_from_established_ones) {
    constexpr std::size_t established = 1000, flood = 10'000'000 / slower, per_ten_seconds = 100'000 / slower;
    fast_bed bed{"ku vip 90.0.0.0/8 port 80 target_port 8080\nku pod 90.0.0.0/8 10.0.0.1 10.0.0.2 10.0.0.3\n",
                 {.narrow = 65536, .wide = 16}};
    std::vector<octets> pods(established);
    auto const client = [](std::size_t i) { return 0xc633'6400u + static_cast<std::uint32_t>(i % 250); };
    auto const port = [](std::size_t i) { return static_cast<unsigned>(1024 + i); };
    for (std::size_t i = 0; i < established; ++i) {
        auto first = segment(syn, client(i), port(i));
        ASSERT_EQ(bed.send(first, 0s).what, verdict::forward()); // and `first` is what the pod gets
        pods[i].assign(first.begin() + 16, first.begin() + 20);
        auto reply = answer_to(first, syn | ack);
        ASSERT_EQ(bed.send(reply, 0s).relation, flow_relation::reply);
        auto second = segment(ack, client(i), port(i));
        ASSERT_EQ(bed.send(second, 0s).relation, flow_relation::original);
        auto data = answer_to(first, ack);
        ASSERT_EQ(bed.send(data, 0s).relation, flow_relation::reply);
    }
    auto const memory = bed.flows().bytes();
    std::chrono::nanoseconds now{};
    std::size_t lost = 0, moved = 0, refused = 0;
    for (std::size_t n = 0; n < flood; ++n) {
        auto packet = segment(syn, static_cast<std::uint32_t>(0x0b00'0000u + n * 2654435761u % 0x1000'0000u),
                              static_cast<unsigned>(1024 + n % 60000));
        refused += bed.send(packet, now).what != verdict::forward();
        if (n % per_ten_seconds != 0) continue;
        now += 10s;
        for (std::size_t i = 0; i < established; ++i) {
            auto data = segment(ack, client(i), port(i));
            lost += bed.send(data, now).relation != flow_relation::original;
            moved += !std::equal(pods[i].begin(), pods[i].end(), data.begin() + 16);
        }
    }
    EXPECT_EQ(lost, 0u);
    EXPECT_EQ(moved, 0u);
    EXPECT_EQ(refused, 0u) << "without a place a packet still goes where the ring says";
    EXPECT_EQ(bed.flows().bytes(), memory);
    EXPECT_GT(bed.flows().counters().evicted, 0u);
}

TEST(floods, one_address_has_as_many_ports_towards_one_remote_as_there_are) {
    fast_bed bed{
        "ku conf snat4 198.18.0.1\nku vip fd00::/64 port 80 target_port 8080 nat4\nku pod fd00::/64 10.0.0.1\n",
        {.narrow = 16, .wide = 100'000}};
    std::set<unsigned> ports;
    std::size_t forwarded = 0, exhausted = 0;
    auto const connect = [&](unsigned flow, std::chrono::nanoseconds now) {
        auto packet = bytes_of({.source = "2001:db8::" + std::to_string(flow / 50'000 + 1),
                                .destination = "fd00::1",
                                .message = seed::udp(octets(4), 1024 + flow % 50'000, 80)});
        auto again = packet;
        auto const o = bed.send(packet, now);
        if (o.what == verdict::forward()) {
            ++forwarded;
            ports.insert(load_be<std::uint16_t>(packet, 20));
            auto reply = answer_to(packet);
            (void)bed.send(reply, now);
            (void)bed.send(again, now); // assured: it keeps its port
        }
        exhausted += o.what == verdict::drop(drop_reason::ports_exhausted);
    };
    for (unsigned flow = 0; flow < 70'000; ++flow) connect(flow, 0s);
    EXPECT_LE(forwarded, 65'536u);
    EXPECT_GE(forwarded, 60'000u);
    EXPECT_EQ(ports.size(), forwarded) << "no two live flows share a reply tuple";
    EXPECT_EQ(forwarded + exhausted, 70'000u);
    EXPECT_EQ(bed.verdicts().dropped(drop_reason::ports_exhausted), exhausted);
    auto const before = forwarded;
    for (unsigned flow = 0; flow < 1000; ++flow) connect(100'000 + flow, 301s); // replied UDP: 300 s
    EXPECT_EQ(forwarded, before + 1000) << "ports serve again after the timeout";
}

TEST(floods, a_million_connections_to_distinct_remotes_share_four_addresses) {
    constexpr std::size_t connections = 1'000'000 / slower;
    std::string ku = "ku conf snat4 198.18.0.1-198.18.0.4\nku vip fd00::/64 port 80 target_port 8080 nat4\n";
    for (int i = 0; i < 64; ++i) ku += "ku pod fd00::/64 10.0.0." + std::to_string(i) + '\n';
    fast_bed bed{ku, {.narrow = 16, .wide = 1'048'576}};
    auto const plain =
        bytes_of({.source = "2001:db8::", .destination = "fd00::1", .message = seed::udp(octets(4), 1024, 80)});
    std::set<std::tuple<std::uint64_t, std::uint32_t>> seen;
    std::size_t forwarded = 0;
    for (std::size_t flow = 0; flow < connections; ++flow) {
        auto packet = plain;
        flood::change(packet, 46, 20, static_cast<unsigned>(flow / 16 >> 16));
        flood::change(packet, 46, 22, static_cast<unsigned>(flow / 16 & 0xffff));
        flood::change(packet, 46, 40, static_cast<unsigned>(1024 + flow % 16));
        forwarded += bed.send(packet, 0s).what == verdict::forward();
        seen.emplace(load_be<std::uint64_t>(packet, 12), load_be<std::uint32_t>(packet, 20));
    }
    EXPECT_EQ(forwarded, connections);
    EXPECT_EQ(seen.size(), forwarded) << "addresses and ports towards the pods are all different";
}

TEST(floods, new_flows_above_the_limit_are_not_entered_but_still_go_their_way) {
    testbed bed{"ku vip 90.0.0.0/8 port 80\nku pod 90.0.0.0/8 10.0.0.1\n"
                "ku vip fd00::/64 port 80 nat4\nku pod fd00::/64 10.0.0.1\n",
                {.new_flows = {.per_second = 10, .burst = 5}}};
    auto const to_service = [](unsigned port) {
        return bytes_of({.destination = "90.0.0.1", .message = seed::udp(octets(4), port, 80)});
    };
    for (unsigned port = 1; port <= 20; ++port) EXPECT_EQ(bed.send(to_service(port)).what.what, verdict::forward());
    EXPECT_EQ(bed.flows().counters().inserted, 5u);
    auto const needs_state =
        bytes_of({.source = "2001:db8::1", .destination = "fd00::1", .message = seed::udp(octets(4), 4711, 80)});
    EXPECT_EQ(bed.send(needs_state).what.what, verdict::drop(drop_reason::flow_rate_limited));
    EXPECT_EQ(bed.send(needs_state, 1s).what.what, verdict::forward());
}

TEST(floods, a_full_table_forwards_by_the_ring_what_needs_no_state) {
    testbed bed{"ku vip 90.0.0.0/8 port 80\nku pod 90.0.0.0/8 10.0.0.1 10.0.0.2\n"
                "ku vip fd00::/64 port 80 nat4\nku pod fd00::/64 10.0.0.1\n",
                {},
                {.narrow = 64, .wide = 64}};
    auto const established = [&](std::string const& vip, std::string const& client, unsigned port) {
        auto const message = [&](unsigned flags) { return seed::tcp({}, flags, port, 80); };
        auto const request =
            bed.send(bytes_of({.source = client, .destination = vip, .protocol = 6, .message = message(syn)}));
        if (request.what.what != verdict::forward()) return request.what;
        (void)bed.send(answer_to(request.bytes, syn | ack));
        auto const last =
            bed.send(bytes_of({.source = client, .destination = vip, .protocol = 6, .message = message(ack)})).what;
        (void)bed.send(answer_to(request.bytes, ack));
        return last;
    };
    for (unsigned port = 1; port <= 500; ++port) (void)established("90.0.0.1", "192.0.2.1", port);
    EXPECT_EQ(established("90.0.0.1", "192.0.2.1", 501).what, verdict::forward());
    EXPECT_EQ(established("90.0.0.1", "192.0.2.1", 501).relation, flow_relation::none);
    EXPECT_GT(bed.flows().counters().insert_full, 0u);
}

} // namespace
} // namespace kubeproxy::floods_tests
