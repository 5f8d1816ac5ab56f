#include "kubeproxy/nat/split.hpp"

#include "support/packet_builder.hpp"

#include <gtest/gtest.h>

#include <map>
#include <vector>

/// Pieces are put together again by octets and offsets alone (RFC 8200 section 4.5).
namespace kubeproxy::split_tests {
namespace {

using build::bytes_of;
using seed::counted;
using seed::octets;

octets packet_of(std::size_t payload, unsigned offset_in_units, unsigned more) {
    return bytes_of({.source = "2001:db8::1",
                     .destination = "2001:db8::2",
                     .protocol = 47,
                     .message = counted(payload),
                     .traffic_class = 0x2e,
                     .extensions = {seed::fragment(offset_in_units, more, 0xfeed'beef)}});
}

std::vector<octets> pieces_of(octets packet, std::size_t mtu) {
    auto const plan = plan_split(packet, mtu);
    std::vector<octets> pieces(plan.pieces, octets(mtu));
    for (std::size_t i = 1; i < plan.pieces; ++i) pieces[i].resize(write_piece(packet, plan, i, pieces[i]));
    span_packet first{packet, 0};
    if (plan.pieces > 1) keep_first_piece(first, plan);
    pieces[0].assign(first.bytes().begin(), first.bytes().end());
    return pieces;
}

std::size_t number(octets const& b, std::size_t at, std::size_t size) {
    std::size_t value = 0;
    for (std::size_t i = 0; i < size; ++i) value = value << 8 | std::to_integer<std::size_t>(b.at(at + i));
    return value;
}

TEST(split, pieces_make_the_packet) {
    for (std::size_t const mtu : {1280u, 1281u, 1400u, 1500u})
        for (std::size_t const size : {1233u, 1240u, 1452u, 2465u, 8999u})
            for (unsigned const more : {0u, 1u}) {
                SCOPED_TRACE(testing::Message() << size << " bytes, MTU " << mtu << ", more " << more);
                constexpr unsigned offset = 100;
                auto const whole = packet_of(size, offset, more);
                auto const pieces = pieces_of(whole, mtu);
                octets payload;
                for (std::size_t i = 0; i < pieces.size(); ++i) {
                    auto const& p = pieces[i];
                    EXPECT_LE(p.size(), mtu);
                    EXPECT_EQ(number(p, 4, 2), p.size() - 40) << "payload length";
                    EXPECT_EQ(octets(p.begin() + 6, p.begin() + 42), octets(whole.begin() + 6, whole.begin() + 42));
                    EXPECT_EQ(number(p, 44, 4), 0xfeed'beef) << "identification";
                    EXPECT_EQ(number(p, 42, 2) >> 3, offset + payload.size() / 8) << "offset";
                    bool const is_last = i + 1 == pieces.size();
                    EXPECT_EQ(number(p, 42, 2) & 1, is_last ? more : 1u) << "more fragments";
                    EXPECT_TRUE(is_last || (p.size() - 48) % 8 == 0);
                    payload.insert(payload.end(), p.begin() + 48, p.end());
                }
                EXPECT_EQ(payload, counted(size));
            }
}

TEST(split, what_fits_or_cannot_be_cut_is_one_piece) {
    EXPECT_EQ(plan_split(packet_of(1232, 0, 0), 1280).pieces, 1u);
    EXPECT_EQ(plan_split(packet_of(1233, 0, 0), 1280).pieces, 2u);
    auto const without =
        bytes_of({.source = "2001:db8::1", .destination = "2001:db8::2", .message = seed::udp(counted(1400))});
    EXPECT_EQ(plan_split(without, 1280).pieces, 1u) << "no fragment header";
    EXPECT_EQ(plan_split(packet_of(1233, 0, 0), 55).pieces, 1u) << "no room for eight bytes";
    EXPECT_EQ(plan_split(packet_of(16, 0, 0), 56).pieces, 2u);
}

} // namespace
} // namespace kubeproxy::split_tests
