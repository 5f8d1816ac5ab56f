#include "support/packet_builder.hpp"
#include "support/reassembly.hpp"
#include "support/testbed.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <string>

// Fragmented messages through the whole path: every part goes where the first one goes.

namespace kubeproxy::fragments_tests {
namespace {

using build::bytes_of;
using testing_support::octets;
using testing_support::settled;
using testing_support::testbed;
using namespace std::chrono_literals;

constexpr auto services = "ku conf nat64_prefix 64:ff9b::/96 snat4 198.18.0.9\n"
                          "ku vip 90.0.0.0/8 port 80 target_port 8080\nku pod 90.0.0.0/8 10.0.0.1 10.0.0.2 10.0.0.3\n"
                          "ku vip 91.0.0.0/8 port 80 target_port 8080 nat6\nku pod 91.0.0.0/8 fd00::1\n"
                          "ku vip fd00:96::/64 port 80 target_port 8080\nku pod fd00:96::/64 fd00::1 fd00::2\n"
                          "ku vip fd00:64::/64 port 80 target_port 8080 nat4\nku pod fd00:64::/64 10.0.0.1\n";

/// The parts of a UDP datagram over IPv4, `size` bytes of data in parts of 64 bytes or more.
std::vector<octets> parts4(std::string const& vip, unsigned id, std::size_t size, std::size_t part) {
    auto whole = bytes_of({.destination = vip, .message = seed::udp(seed::counted(size), 4711, 80)});
    octets const message(whole.begin() + 20, whole.end()); // with its checksum
    std::vector<octets> parts;
    for (std::size_t at = 0; at < message.size(); at += part) {
        auto const end = std::min(at + part, message.size());
        bool const more = end < message.size();
        parts.push_back(bytes_of({.destination = vip,
                                  .message = octets(message.begin() + static_cast<std::ptrdiff_t>(at),
                                                    message.begin() + static_cast<std::ptrdiff_t>(end)),
                                  .identification = id,
                                  .fragment = static_cast<unsigned>(at / 8) | (more ? 0x2000u : 0u)}));
    }
    return parts;
}

octets destination_of(octets const& p) { return {p.begin() + 16, p.begin() + 20}; }

TEST(fragments, in_order_all_parts_go_to_one_pod) {
    testbed bed{services};
    auto const out = bed.send(parts4("90.0.0.1", 7, 1000, 256));
    ASSERT_EQ(out.size(), 4u);
    for (auto const& part : out) {
        EXPECT_EQ(part.what.what, verdict::forward());
        EXPECT_EQ(destination_of(part.bytes), destination_of(out[0].bytes));
        EXPECT_TRUE(build::header_checksum_is_valid(part.bytes));
    }
}

TEST(fragments, early_parts_wait_for_the_first_and_follow_it_in_order) {
    testbed bed{services};
    bed.give_spares();
    auto const parts = parts4("90.0.0.1", 7, 1000, 256);
    auto const early = bed.send(std::vector<octets>{parts[3], parts[1]});
    for (auto const& s : early) EXPECT_EQ(s.what.what, verdict::drop(drop_reason::fragment_held));
    EXPECT_EQ(bed.path().verdicts().packets(action::drop), 0u) << "nothing is lost yet";
    auto const out = bed.send(parts[0], 5ms);
    EXPECT_EQ(out.what.what, verdict::forward());
    ASSERT_EQ(bed.extra().size(), 2u);
    auto const expected = bed.extra();
    EXPECT_EQ(expected[0].what.what, verdict::forward());
    EXPECT_EQ(octets(expected[0].bytes.begin() + 20, expected[0].bytes.end()),
              octets(parts[1].begin() + 20, parts[1].end()));
    EXPECT_EQ(octets(expected[1].bytes.begin() + 20, expected[1].bytes.end()),
              octets(parts[3].begin() + 20, parts[3].end()));
    EXPECT_EQ(bed.path().verdicts().packets(action::forward), 3u);
}

TEST(fragments, an_early_part_whose_first_does_not_come_is_counted) {
    testbed bed{services};
    bed.give_spares();
    auto const parts = parts4("90.0.0.1", 7, 1000, 256);
    (void)bed.send(parts[1]);
    (void)bed.send(bytes_of({.destination = "192.0.2.99"}), 1500ms);
    EXPECT_EQ(bed.path().verdicts().dropped(drop_reason::fragment_timeout), 1u);
    (void)bed.send(parts[0], 2s);
    EXPECT_TRUE(bed.extra().empty());
}

TEST(fragments, a_host_without_spare_buffers_loses_early_parts_with_that_reason) {
    testbed bed{services};
    EXPECT_EQ(bed.send(parts4("90.0.0.1", 7, 1000, 256)[1]).what.what, verdict::drop(drop_reason::no_spare_packet));
}

TEST(fragments, of_others_pass_in_any_order_and_at_once) {
    testbed bed{services};
    bed.give_spares();
    auto parts = parts4("203.0.113.9", 7, 1000, 256);
    std::ranges::reverse(parts);
    for (auto const& part : parts) {
        auto const out = bed.send(part);
        EXPECT_EQ(out.what.what, verdict::pass());
        EXPECT_EQ(out.bytes, part);
    }
}

TEST(fragments, replies_follow_their_first_fragment_too) {
    testbed bed{services};
    bed.give_spares();
    auto const request = bed.send(bytes_of({.destination = "90.0.0.1", .message = seed::udp(octets(9), 4711, 80)}));
    auto const pod = destination_of(request.bytes);
    auto parts = parts4("192.0.2.1", 9, 600, 256);
    for (auto& part : parts) { // from the pod, port 8080, to the client's port
        for (std::size_t i = 0; i < 4; ++i) part[12 + i] = pod[i];
        part = seed::with(part, {{10, seed::be16(0)}});
        part = seed::with(part, {{10, seed::internet_checksum(octets(part.begin(), part.begin() + 20))}});
    }
    parts[0] = seed::with(parts[0], {{20, seed::joined({seed::be16(8080), seed::be16(4711)})}});
    EXPECT_EQ(bed.send(parts[1]).what.what, verdict::drop(drop_reason::fragment_held)) << "it comes from a backend";
    EXPECT_EQ(bed.send(parts[0]).what.relation, flow_relation::reply);
    ASSERT_EQ(bed.extra().size(), 1u);
    EXPECT_EQ(bed.extra()[0].what.what, verdict::forward());
    EXPECT_EQ(octets(bed.extra()[0].bytes.begin() + 12, bed.extra()[0].bytes.begin() + 16), seed::of({90, 0, 0, 1}));
    EXPECT_EQ(bed.send(parts[2]).what.what, verdict::forward());
}

TEST(fragments, a_thousand_datagrams_in_random_order_and_one_in_ten_parts_twice_reassemble_at_the_pods) {
    constexpr unsigned datagrams = 1000;
    testbed bed{services, {.fragments = {.store = {.slots = 8192, .hold_time = 10s}}}};
    bed.give_spares();
    std::mt19937 random{11};
    std::vector<octets> sent;
    for (unsigned id = 1; id <= datagrams; ++id)
        for (auto const& part : parts4("90.0.0." + std::to_string(id % 200), id, 600 + id, 256)) {
            sent.push_back(part);
            if (random() % 10 == 0) sent.push_back(part);
        }
    std::ranges::shuffle(sent, random);

    reassembly::receiver pods;
    std::set<std::uint32_t> whole;
    auto const arrive = [&](settled const& s) {
        if (s.what.what != verdict::forward()) return;
        EXPECT_TRUE(build::header_checksum_is_valid(s.bytes));
        auto const message = pods.take(s.bytes);
        if (!message) return;
        EXPECT_TRUE(whole.insert(message->identification).second);
        auto const data = seed::counted(600 + message->identification);
        EXPECT_TRUE(std::equal(data.begin(), data.end(), message->payload.begin() + 8, message->payload.end()));
        auto const pseudo =
            seed::joined({message->source, message->destination, seed::be16(17), seed::be16(message->payload.size())});
        EXPECT_EQ(seed::internet_checksum(seed::joined({pseudo, message->payload})), seed::be16(0));
    };
    for (std::size_t at = 0; at < sent.size(); at += 32) {
        auto const end = std::min(at + 32, sent.size());
        auto const first = sent.begin() + static_cast<std::ptrdiff_t>(at);
        for (auto const& s : bed.send(std::vector<octets>(first, first + static_cast<std::ptrdiff_t>(end - at)),
                                      std::chrono::milliseconds{at / 32}))
            arrive(s);
        for (auto const& s : bed.extra()) arrive(s);
    }
    EXPECT_EQ(whole.size(), datagrams);
    EXPECT_EQ(bed.path().verdicts().packets(action::drop), 0u);
    EXPECT_EQ(bed.path().verdicts().packets(action::forward), sent.size()) << "every part is accounted for, once";
}

// RFC 7915 section 4: an IPv4 packet that may be fragmented, and is too long as IPv6, leaves in pieces.
TEST(fragments, a_long_packet_that_becomes_ipv6_is_cut_where_it_may_be) {
    testbed bed{services};
    bed.give_spares();
    auto const packet = bytes_of({.destination = "91.0.0.1",
                                  .message = seed::udp(seed::counted(1400), 4711, 80),
                                  .identification = 0x1234,
                                  .fragment = 0});
    auto const out = bed.send(packet);
    ASSERT_EQ(out.what.what, verdict::forward());
    ASSERT_EQ(bed.extra().size(), 1u);
    auto const &first = out.bytes, &second = bed.extra()[0].bytes;
    EXPECT_LE(first.size(), 1280u);
    EXPECT_EQ(first.size() + second.size(), 1400u + 8 + 2 * 48);
    EXPECT_EQ(first[6], std::byte{44}); // fragment header
    EXPECT_EQ(octets(first.begin() + 44, first.begin() + 48), seed::be32(0x1234));
    EXPECT_EQ(octets(second.begin() + 44, second.begin() + 48), seed::be32(0x1234));
    octets whole(first.begin() + 48, first.end());
    whole.insert(whole.end(), second.begin() + 48, second.end());
    EXPECT_EQ(whole.size(), 1408u);
    EXPECT_TRUE(std::ranges::equal(octets(whole.begin() + 8, whole.end()), seed::counted(1400)));
    EXPECT_EQ(bed.path().verdicts().packets(action::forward), 2u);
}

TEST(fragments, without_spare_buffers_a_packet_that_must_be_cut_is_dropped) {
    testbed bed{services};
    auto const packet =
        bytes_of({.destination = "91.0.0.1", .message = seed::udp(seed::counted(1400), 4711, 80), .fragment = 0});
    EXPECT_EQ(bed.send(packet).what.what, verdict::drop(drop_reason::no_spare_packet));
}

// RFC 791 section 3.1: DF forbids to cut what is a part already, too (RFC 7915 section 4, RFC 6864 section 4).
TEST(fragments, a_part_with_df_that_becomes_ipv6_leaves_whole_or_is_answered) {
    testbed bed{services};
    bed.give_spares();
    auto const part_of = [](std::size_t size, unsigned fragment) {
        return bytes_of({.destination = "91.0.0.1",
                         .message = seed::with(seed::udp(seed::counted(size - 8), 4711, 80), {{6, seed::be16(0x1234)}}),
                         .identification = 7,
                         .fragment = fragment});
    };
    auto const first = bed.send(part_of(1400, 0x6000));
    EXPECT_EQ(first.what.what, verdict::forward());
    EXPECT_EQ(first.bytes.size(), 1448u) << "40 of IPv6, 8 of the fragment header";
    EXPECT_TRUE(bed.extra().empty());
    auto const later = bed.send(part_of(1400, 0x6000 | 175));
    EXPECT_EQ(later.bytes.size(), 1448u);
    EXPECT_TRUE(bed.extra().empty());
    auto const widest = bed.send(part_of(1448, 0x6000));
    EXPECT_EQ(widest.bytes.size(), 1496u) << "the longest multiple of 8 that fits 1500";
    EXPECT_TRUE(bed.extra().empty());

    auto const out = bed.send(part_of(1456, 0x6000));
    EXPECT_EQ(out.what.what, verdict::reply(drop_reason::too_big));
    EXPECT_EQ(octets(out.bytes.begin() + 20, out.bytes.begin() + 22), seed::of({3, 4})); // RFC 1191
    EXPECT_EQ(octets(out.bytes.begin() + 26, out.bytes.begin() + 28), seed::be16(1472)) << "8 less for its header";
    EXPECT_TRUE(bed.extra().empty());

    auto const without_df = bed.send(part_of(1400, 0x2000));
    EXPECT_EQ(without_df.what.what, verdict::forward());
    EXPECT_EQ(bed.extra().size(), 1u) << "without DF it is cut";
}

TEST(fragments, a_long_packet_that_must_not_be_cut_is_answered) {
    testbed bed{services};
    auto const packet = bytes_of({.destination = "91.0.0.1", .message = seed::udp(seed::counted(1460), 4711, 80)});
    auto const out = bed.send(packet);
    EXPECT_EQ(out.what.what, verdict::reply(drop_reason::too_big));
    ASSERT_GE(out.bytes.size(), 28u);
    EXPECT_EQ(octets(out.bytes.begin() + 20, out.bytes.begin() + 22), seed::of({3, 4})); // RFC 792, RFC 1191
    EXPECT_EQ(octets(out.bytes.begin() + 26, out.bytes.begin() + 28), seed::be16(1480)); // 1500 less the growth
}

} // namespace
} // namespace kubeproxy::fragments_tests
