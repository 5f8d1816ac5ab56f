#include "kubeproxy/nat/rewrite.hpp"
#include "kubeproxy/nat/split.hpp"

#include "support/digest.hpp"
#include "support/seed_packets.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <iostream>
#include <map>
#include <random>
#include <string>
#include <vector>

/// Damaged packets through every rewriter: whatever the bytes are, a refused packet is as it was, and a forwarded
/// one is a packet again that shows what it was to show. The sanitizers watch. The digests that this prints are the
/// same on every machine: tests/other_machines compares them.
namespace kubeproxy::hostile_packets_tests {
namespace {

using seed::octets;
using testing_support::digest;

template <ip_version V>
tuple<V> random_tuple(std::mt19937& random) {
    tuple<V> t;
    for (auto& b : t.source) b = static_cast<std::byte>(random());
    for (auto& b : t.destination) b = static_cast<std::byte>(random());
    t.source_port = static_cast<std::uint16_t>(random());
    t.destination_port = static_cast<std::uint16_t>(random());
    return t;
}

template <ip_version From, ip_version To>
rewrite_result run(span_packet& packet, parsed<From> const& p, tuple<To>& after, std::mt19937& random) {
    translation_settings const settings{.decrement_ttl = random() % 2 == 0,
                                        .lowest_ipv6_mtu = static_cast<std::uint16_t>(1280 + random() % 300)};
    rewriter<From, To> const rewrite{settings};
    if (p.what == content::icmp_error)
        return rewrite.error(packet, p, {after.source, after.destination, random_tuple<To>(random)});
    auto const before = tuple_of(p);
    after.protocol = before.protocol;
    return rewrite(packet, p, after, changes_of(before, after));
}

template <ip_version To>
void expect_a_packet(mutable_byte_span bytes, tuple<To> const& after, bool const is_icmp_error) {
    auto const result = parse(bytes);
    auto const* const p = std::get_if<parsed<To>>(&result);
    ASSERT_NE(p, nullptr);
    EXPECT_EQ(p->bytes.size(), bytes.size()) << "nothing follows the packet";
    auto const shown = tuple_of(*p);
    EXPECT_EQ(shown.source, after.source);
    EXPECT_EQ(shown.destination, after.destination);
    EXPECT_TRUE(p->flaw == drop_reason::none) << name(p->flaw);
    EXPECT_EQ(p->what == content::icmp_error, is_icmp_error);
    if (p->what == content::ports) {
        EXPECT_EQ(shown.source_port, after.source_port);
        EXPECT_EQ(shown.destination_port, after.destination_port);
    }
    if constexpr (std::same_as<To, ipv6>) {
        octets piece(1280);
        auto const plan = plan_split(bytes, piece.size());
        for (std::size_t i = 1; i < plan.pieces; ++i) EXPECT_LE(write_piece(bytes, plan, i, piece), piece.size());
    }
}

/// \param headroom is on the heap with the packet, so that a byte too far is seen
template <ip_version From, ip_version To>
drop_reason try_one(octets const& in, std::size_t headroom, std::mt19937& random, digest& all) {
    octets memory(headroom + in.size());
    std::ranges::copy(in, memory.begin() + static_cast<std::ptrdiff_t>(headroom));
    span_packet packet{memory, headroom};
    auto const result = parse(packet.bytes());
    auto const* const p = std::get_if<parsed<From>>(&result);
    if (p == nullptr) return drop_reason::bad_version;
    auto after = random_tuple<To>(random);
    bool const is_icmp_error = p->what == content::icmp_error;
    auto const outcome = run<From, To>(packet, *p, after, random);
    if (outcome.done())
        expect_a_packet<To>(packet.bytes(), after, is_icmp_error);
    else
        EXPECT_TRUE(std::ranges::equal(packet.bytes(), in)) << name(outcome.why) << " changed the packet";
    all.add(static_cast<std::uint8_t>(outcome.why));
    all.add(packet.bytes());
    return outcome.why;
}

/// Makes the checksums right again that would stop a damaged packet at the door.
void repair(octets& packet) {
    auto const result = parse(packet);
    auto const* const p = std::get_if<parsed<ipv4>>(&result);
    if (p == nullptr) return;
    ipv4_editor const ip{p->bytes};
    ip.set_checksum(0);
    ip.set_checksum(checksum_of(sum_of(ip.header())));
    if (p->what != content::icmp_error) return;
    store_be(p->payload(), icmp_at::checksum, std::uint16_t{0});
    store_be(p->payload(), icmp_at::checksum, checksum_of(sum_of(p->payload())));
}

void damage(octets& packet, std::mt19937& random) {
    for (auto changes = random() % 4; changes > 0 && !packet.empty(); --changes)
        packet[random() % std::min<std::size_t>(packet.size(), 96)] = static_cast<std::byte>(random());
    if (random() % 8 == 0) packet.resize(random() % (packet.size() + 1));
    if (random() % 8 == 0) packet.resize(packet.size() + random() % 64);
    if (random() % 2 == 0) repair(packet);
}

template <ip_version From, ip_version To>
void try_many(unsigned count) {
    std::mt19937 random{7915};
    auto const kinds = seed::all_kinds();
    std::map<std::string, unsigned> outcomes;
    digest all;
    for (unsigned i = 0; i < count; ++i) {
        auto packet = kinds[random() % kinds.size()].bytes;
        damage(packet, random);
        std::array const headrooms{rewriter<From, To>::headroom, std::size_t{28}, std::size_t{0}};
        auto const why = try_one<From, To>(packet, headrooms[random() % headrooms.size()], random, all);
        ++outcomes[std::string{name(why)}];
        if (testing::Test::HasFailure()) {
            ADD_FAILURE() << "packet " << i;
            return;
        }
    }
    for (auto const& [why, times] : outcomes) std::cout << (why == "none" ? "forwarded" : why) << ' ' << times << '\n';
    std::cout << "digest of " << From::number << " to " << To::number << ": " << all << '\n';
    EXPECT_GT(outcomes["none"], count / 20);
}

TEST(hostile_packets, from_4_to_4) { try_many<ipv4, ipv4>(100'000); }
TEST(hostile_packets, from_4_to_6) { try_many<ipv4, ipv6>(100'000); }
TEST(hostile_packets, from_6_to_4) { try_many<ipv6, ipv4>(100'000); }
TEST(hostile_packets, from_6_to_6) { try_many<ipv6, ipv6>(100'000); }

} // namespace
} // namespace kubeproxy::hostile_packets_tests
