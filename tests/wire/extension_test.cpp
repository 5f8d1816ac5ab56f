#include "kubeproxy/wire/extension.hpp"

#include "support/seed_packets.hpp"

#include <cstdint>
#include <ostream>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace kubeproxy {

// Found by GoogleTest next to the types.
static bool operator==(extension_chain const& a, extension_chain const& b) {
    return a.flaw == b.flaw && a.protocol == b.protocol && a.transport == b.transport &&
           a.fragment_header == b.fragment_header && a.segments_left == b.segments_left &&
           a.extension_after_fragment == b.extension_after_fragment;
}
static std::ostream& operator<<(std::ostream& out, extension_chain const& c) {
    return out << "flaw " << name(c.flaw) << ", protocol " << int{c.protocol} << " at " << c.transport
               << ", fragment at " << c.fragment_header << ", segments left at " << c.segments_left
               << ", extension after fragment " << c.extension_after_fragment;
}

namespace extension_tests {
namespace {

using seed::fragment;
using seed::options;
using seed::routing;

struct walk_case {
    std::string_view rule;
    seed::ipv6_packet packet;
    extension_chain expected;
};

constexpr auto bad = drop_reason::bad_extension_header;

void expect_walks(std::vector<walk_case> const& rows) {
    for (auto const& row : rows) {
        auto const bytes = seed::bytes_of(row.packet);
        EXPECT_EQ(walk_extensions(bytes), row.expected) << row.rule;
    }
}

TEST(extension, headers_are_walked_to_the_transport) {
    expect_walks({
        {"RFC 8200 section 4: no extension header", {}, {.protocol = 17, .transport = 40}},
        {"RFC 8200 section 4.3: Hop-by-Hop Options of 8 octets",
         {.extensions = {options(0)}},
         {.protocol = 17, .transport = 48}},
        {"RFC 8200 section 4.3: the length is in 8 octets, not including the first 8",
         {.extensions = {options(0, 3)}},
         {.protocol = 17, .transport = 72}},
        {"RFC 8200 section 4.3: the longest header",
         {.extensions = {options(0, 255)}},
         {.protocol = 17, .transport = 40 + 2048}},
        {"RFC 8200 section 4.6: Destination Options", {.extensions = {options(60)}}, {.protocol = 17, .transport = 48}},
        {"RFC 8200 section 4.1: Destination Options may stand twice",
         {.protocol = 6, .extensions = {options(60), routing(0), options(60)}, .payload = seed::tcp({})},
         {.protocol = 6, .transport = 40 + 8 + 24 + 8}},
        {"RFC 8200 section 4.1: the recommended order",
         {.extensions = {options(0), options(60), routing(0), fragment(0, 1), options(60)}},
         {.protocol = 17,
          .transport = 40 + 8 + 8 + 24 + 8 + 8,
          .fragment_header = 40 + 8 + 8 + 24,
          .extension_after_fragment = true}},
        {"RFC 6275 section 6.1.1: Mobility Header",
         {.protocol = 59, .extensions = {options(135)}, .payload = {}},
         {.protocol = 59, .transport = 48}},
        {"RFC 7401 section 5.1: Host Identity Protocol",
         {.protocol = 59, .extensions = {options(139, 4)}, .payload = {}},
         {.protocol = 59, .transport = 80}},
        {"RFC 5533 section 5.1: Shim6", {.extensions = {options(140)}}, {.protocol = 17, .transport = 48}},
    });
}

TEST(extension, what_ends_the_walk) {
    expect_walks({
        {"RFC 4302 section 2: AH is not skipped, it covers what follows",
         {.protocol = 51, .extensions = {options(0)}, .payload = seed::counted(24)},
         {.protocol = 51, .transport = 48}},
        {"RFC 4303 section 2: what is behind ESP is encrypted",
         {.protocol = 50, .payload = seed::counted(24)},
         {.protocol = 50, .transport = 40}},
        {"RFC 8200 section 4.7: No Next Header",
         {.protocol = 59, .extensions = {options(60)}, .payload = {}},
         {.protocol = 59, .transport = 48}},
        {"RFC 8200 section 4.7: octets behind No Next Header are passed on",
         {.protocol = 59, .payload = seed::counted(5)},
         {.protocol = 59, .transport = 40}},
        {"IANA: a protocol that is not known", {.protocol = 253, .payload = {}}, {.protocol = 253, .transport = 40}},
        {"RFC 2473 section 3: a packet in a packet is payload",
         {.protocol = 41, .extensions = {options(60)}, .payload = seed::bytes_of(seed::ipv6_packet{})},
         {.protocol = 41, .transport = 48}},
    });
}

TEST(extension, segments_left) { // RFC 8200 section 4.4; its offset is the pointer of RFC 7915 section 5.1
    expect_walks({
        {"no segments left", {.extensions = {routing(0)}}, {.protocol = 17, .transport = 64}},
        {"one segment left", {.extensions = {routing(1)}}, {.protocol = 17, .transport = 64, .segments_left = 43}},
        {"RFC 8200 section 4.4: any type of route",
         {.extensions = {routing(255, 0, 253)}},
         {.protocol = 17, .transport = 48, .segments_left = 43}},
        {"behind other headers",
         {.extensions = {options(0, 1), routing(2)}},
         {.protocol = 17, .transport = 80, .segments_left = 40 + 16 + 3}},
        {"RFC 8200 section 4: headers are processed in order, so the first unfinished route counts",
         {.extensions = {routing(0), routing(3), routing(1)}},
         {.protocol = 17, .transport = 112, .segments_left = 40 + 24 + 3}},
        {"options whose octets look like a route",
         {.extensions = {{60, seed::of({0, 0, 43, 9, 43, 9, 43, 9})}}},
         {.protocol = 17, .transport = 48}},
    });
}

TEST(extension, fragments) {
    expect_walks({
        {"RFC 6946: an atomic fragment",
         {.extensions = {fragment(0, 0)}},
         {.protocol = 17, .transport = 48, .fragment_header = 40}},
        {"RFC 8200 section 4.5: the first fragment",
         {.extensions = {fragment(0, 1)}},
         {.protocol = 17, .transport = 48, .fragment_header = 40}},
        {"RFC 8200 section 4.5: behind a later one stands data",
         {.extensions = {fragment(181, 0)}, .payload = seed::counted(3)},
         {.protocol = 17, .transport = 48, .fragment_header = 40}},
        {"RFC 8200 section 4.5: what looks like headers in a later one is data",
         {.protocol = 60, .extensions = {fragment(1, 1)}, .payload = seed::of({44, 0, 1, 4, 0, 0, 0, 0})},
         {.protocol = 60, .transport = 48, .fragment_header = 40}},
        {"RFC 8200 section 4.5: headers before the fragment header are in every fragment",
         {.extensions = {options(0), routing(0), fragment(181, 1)}, .payload = seed::counted(8)},
         {.protocol = 17, .transport = 80, .fragment_header = 72}},
        {"RFC 7915 section 5.1.1: an extension header behind the fragment header",
         {.extensions = {fragment(0, 0), options(60)}},
         {.protocol = 17, .transport = 56, .fragment_header = 40, .extension_after_fragment = true}},
        {"RFC 8200 section 4.5: the second octet is reserved, not a length",
         {.extensions = {{44, seed::of({0, 200, 0, 1, 0, 0, 0, 9})}}},
         {.protocol = 17, .transport = 48, .fragment_header = 40}},
    });
}

TEST(extension, headers_out_of_place) {
    expect_walks({
        {"RFC 8200 section 4.1: Hop-by-Hop Options stand first",
         {.extensions = {options(60), options(0)}},
         {.flaw = bad, .protocol = 0, .transport = 48}},
        {"RFC 8200 section 4.1: Hop-by-Hop Options stand once",
         {.extensions = {options(0), options(0)}},
         {.flaw = bad, .protocol = 0, .transport = 48}},
        {"RFC 8200 section 4.1: Hop-by-Hop Options are not part of what is fragmented",
         {.extensions = {fragment(0, 1), options(0)}},
         {.flaw = bad, .protocol = 0, .transport = 48, .fragment_header = 40}},
        {"RFC 8200 section 4.1: one fragment header",
         {.extensions = {fragment(0, 0), fragment(0, 0)}},
         {.flaw = bad, .protocol = 44, .transport = 48, .fragment_header = 40}},
        {"RFC 8200 section 4.1: one fragment header, others between",
         {.extensions = {fragment(0, 1), options(60), fragment(1, 1)}},
         {.flaw = bad, .protocol = 44, .transport = 56, .fragment_header = 40, .extension_after_fragment = true}},
    });
}

/// Names the first header of a chain of which the packet holds only these octets.
struct overrun_case {
    std::string_view rule;
    unsigned first;
    seed::octets behind;
    std::uint32_t transport;
};

TEST(extension, headers_that_the_packet_does_not_hold) {
    std::vector<overrun_case> const rows{
        {"none of it", 0, {}, 40},
        {"none of a fragment header", 44, {}, 40},
        {"7 of its 8 octets", 60, seed::of({17, 0, 1, 4, 0, 0, 0}), 40},
        {"7 of a fragment header's 8 octets", 44, seed::of({17, 0, 0, 0, 0, 0, 0}), 40},
        {"a length that reaches one octet too far", 60, seed::cut(seed::of({17, 1, 1, 12}), 15), 40},
        {"the longest length", 43, seed::cut(seed::of({17, 255, 0, 0}), 2047), 40},
        {"nothing behind a whole header", 0, seed::of({60, 0, 1, 4, 0, 0, 0, 0}), 48},
        {"RFC 2675: a jumbogram's payload length of 0", 0, {}, 40},
    };
    for (auto const& row : rows) {
        auto const bytes = seed::bytes_of(seed::ipv6_packet{.protocol = row.first, .payload = row.behind});
        auto const chain = walk_extensions(bytes);
        EXPECT_EQ(chain.flaw, bad) << row.rule;
        EXPECT_EQ(chain.transport, row.transport) << row.rule;
    }
}

TEST(extension, a_header_may_end_with_the_packet) {
    for (unsigned units : {0u, 1u, 255u}) {
        auto const bytes =
            seed::bytes_of(seed::ipv6_packet{.protocol = 59, .extensions = {options(60, units)}, .payload = {}});
        auto const chain = walk_extensions(bytes);
        EXPECT_EQ(chain.flaw, drop_reason::none);
        EXPECT_EQ(chain.transport, bytes.size());
    }
}

TEST(extension, the_longest_chain_there_is) { // 8191 headers fill the largest payload length
    constexpr std::size_t headers = 8191;
    seed::octets bytes(40 + 65535);
    for (std::size_t i = 0; i < headers; ++i) bytes[40 + 8 * i] = static_cast<std::byte>(60);
    bytes = seed::with(bytes, {{0, seed::of({0x60})}, {4, seed::be16(65535)}, {6, seed::of({60})}});
    auto chain = walk_extensions(bytes);
    EXPECT_EQ(chain.flaw, bad) << "seven octets are no header";
    EXPECT_EQ(chain.transport, 40 + 8 * headers);

    bytes[40 + 8 * (headers - 1)] = std::byte{59};
    chain = walk_extensions(bytes);
    EXPECT_EQ(chain, (extension_chain{.protocol = 59, .transport = 40 + 8 * headers}));
}

} // namespace
} // namespace extension_tests
} // namespace kubeproxy
