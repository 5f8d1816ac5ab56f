#include "kubeproxy/wire/packet_buffer.hpp"

#include "support/seed_packets.hpp"

#include <algorithm>
#include <cstddef>

#include <gtest/gtest.h>

namespace kubeproxy::packet_buffer_tests {
namespace {

using seed::octets;

octets contents(span_packet const& packet) { return {packet.bytes().begin(), packet.bytes().end()}; }

/// A host with offloads, as virtio describes them.
class offloading_packet : public span_packet {
  public:
    using span_packet::span_packet;
    [[nodiscard]] checksum_state transport_checksum() const noexcept { return checksum_state::partial; }
    [[nodiscard]] std::size_t gso_size() const noexcept { return 1448; }
};

struct packet_that_cannot_grow {
    [[nodiscard]] mutable_byte_span bytes() noexcept { return {}; }
};
struct packet_that_may_throw : span_packet {
    void grow_front(std::size_t n) { span_packet::grow_front(n); } // not noexcept
};

static_assert(packet_buffer<span_packet> && packet_buffer<offloading_packet>);
static_assert(!packet_buffer<packet_that_cannot_grow>);
static_assert(!packet_buffer<packet_that_may_throw>, "the data path does not throw");

TEST(packet_buffer, a_packet_starts_behind_its_headroom) {
    auto memory = seed::counted(10);
    span_packet const packet{memory, 4};
    EXPECT_EQ(packet.headroom(), 4u);
    EXPECT_EQ(contents(packet), seed::of({4, 5, 6, 7, 8, 9}));
}

TEST(packet_buffer, growing_and_shrinking_the_front_are_opposite) {
    auto memory = seed::counted(10);
    span_packet packet{memory, 4};
    packet.grow_front(3);
    EXPECT_EQ(packet.headroom(), 1u);
    EXPECT_EQ(contents(packet), seed::of({1, 2, 3, 4, 5, 6, 7, 8, 9}));
    packet.shrink_front(3);
    EXPECT_EQ(packet.headroom(), 4u);
    EXPECT_EQ(contents(packet), seed::of({4, 5, 6, 7, 8, 9}));
    packet.shrink_front(6);
    EXPECT_EQ(packet.headroom(), 10u);
    EXPECT_TRUE(packet.bytes().empty());
    packet.grow_front(10);
    EXPECT_EQ(contents(packet), seed::counted(10)) << "all of the memory, no more";
}

TEST(packet_buffer, truncation_leaves_the_front) {
    auto memory = seed::counted(10);
    span_packet packet{memory, 4};
    packet.truncate(2);
    EXPECT_EQ(contents(packet), seed::of({4, 5}));
    EXPECT_EQ(packet.headroom(), 4u);
    packet.grow_front(1);
    EXPECT_EQ(contents(packet), seed::of({3, 4, 5}));
    packet.truncate(0);
    EXPECT_TRUE(packet.bytes().empty());
}

TEST(packet_buffer, bytes_are_the_host_s_own) {
    auto memory = seed::counted(4);
    span_packet const packet{memory, 1};
    packet.bytes()[0] = std::byte{99};
    EXPECT_EQ(memory, seed::of({0, 99, 2, 3}));
}

TEST(packet_buffer, no_memory_is_an_empty_packet) {
    span_packet packet{{}, 0};
    packet.grow_front(0);
    packet.shrink_front(0);
    packet.truncate(0);
    EXPECT_TRUE(packet.bytes().empty());
}

TEST(packet_buffer, a_host_without_offloads_says_nothing_about_them) {
    auto memory = seed::counted(4);
    EXPECT_EQ(transport_checksum_of(span_packet{memory, 0}), checksum_state::complete);
    EXPECT_EQ(gso_size_of(span_packet{memory, 0}), 0u);
    EXPECT_EQ(transport_checksum_of(offloading_packet{memory, 0}), checksum_state::partial);
    EXPECT_EQ(gso_size_of(offloading_packet{memory, 0}), 1448u);
}

} // namespace
} // namespace kubeproxy::packet_buffer_tests
