#include "support/conversation.hpp"
#include "support/testbed.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

// Connections that send nothing, whose endpoint was removed or has drained: both ends get a reset that they accept.

namespace kubeproxy::silent_connections_tests {
namespace {

using build::conversation;
using build::octets;
using build::segment;
using testing_support::test_packet;
using testing_support::testbed;
using namespace std::chrono_literals;

std::uint32_t number_at(octets const& b, std::size_t at) {
    std::uint32_t n = 0;
    for (std::size_t i = 0; i < 4; ++i) n = n << 8 | std::to_integer<std::uint32_t>(b.at(at + i));
    return n;
}

/// One end of an established connection that has nothing to say (RFC 9293 section 3.10.7.4, RFC 5961 section 3).
struct tcp_end {
    conversation way; ///< of what it sends
    std::uint32_t next_to_send, next_expected;
    std::uint32_t window = 65535;
    bool is_reset = false;
    unsigned heard = 0;

    /// \return its answer; empty: it has none
    octets hear(octets const& packet) {
        ++heard;
        EXPECT_TRUE(build::is_whole(packet));
        EXPECT_EQ(build::read(packet), way.back());
        if (is_reset) return {};
        std::size_t const tcp = way.source.is_ipv6() ? 40 : 20;
        auto const sequence = number_at(packet, tcp + 4);
        bool const is_rst = (std::to_integer<unsigned>(packet.at(tcp + 13)) & 0x04) != 0;
        if (is_rst && sequence == next_expected) {
            is_reset = true;
            return {};
        }
        if (!is_rst && sequence - next_expected < window) return {}; // a bare ACK
        build::packet ack{.source = way.source.address, .destination = way.destination.address, .protocol = 6};
        ack.message = seed::tcp({}, 0x10, way.source.port, way.destination.port);
        auto const put = [&](std::size_t at, std::uint32_t n) {
            for (std::size_t i = 0; i < 4; ++i) ack.message.at(at + i) = static_cast<std::byte>(n >> (24 - 8 * i));
        };
        put(4, next_to_send);
        put(8, next_expected);
        return build::bytes_of(ack);
    }
};

struct silent_case {
    char const* name;
    char const* vip;
    char const* words; ///< of the `ku vip` line
    char const* pod;
    char const* client;
    std::uint32_t expected_by_client, expected_by_pod;
};
void PrintTo(silent_case const& c, std::ostream* out) { *out << c.name; }

class silent_connections : public testing::TestWithParam<silent_case> {
  protected:
    void establish() {
        auto const& t = GetParam();
        conversation const from_client{6, {t.client, 4000}, {t.vip, 80}};
        auto const opened = bed.send(packet_of(from_client, segment::open), now);
        ASSERT_EQ(opened.what.what, verdict::forward());
        auto const at_pod = build::read(opened.bytes);
        ASSERT_EQ(bed.send(packet_of(at_pod.back(), segment::accept), now).what.what, verdict::forward());
        ASSERT_EQ(bed.send(packet_of(from_client, segment::data), now).what.what, verdict::forward());
        client = {from_client, t.expected_by_pod, t.expected_by_client};
        pod = {at_pod.back(), t.expected_by_client, t.expected_by_pod};
    }
    /// What the host does ten times a second. \return probes
    unsigned tick() {
        now += 100ms;
        std::deque<test_packet> made;
        std::vector<octets> out;
        bed.path().tick(
            now,
            [&](test_packet& p, outcome const& o) {
                EXPECT_EQ(o.what, verdict::forward());
                auto const bytes = p.bytes();
                out.emplace_back(bytes.begin(), bytes.end());
            },
            [&](std::size_t size) { return &made.emplace_back(octets(size)); });
        for (auto const& packet : out) deliver(packet);
        return static_cast<unsigned>(out.size());
    }
    void deliver(octets const& packet) {
        auto& to = build::read(packet) == client.way.back() ? client : pod;
        auto const answer = to.hear(packet);
        if (answer.empty()) return;
        auto const got = bed.send(answer, now);
        ASSERT_TRUE(got.what.what == verdict::forward() ||
                    got.what.what == verdict::reply(drop_reason::backend_removed));
        deliver(got.bytes);
    }
    [[nodiscard]] std::string lines(char const* more) const {
        auto const& t = GetParam();
        auto const prefix = std::string{t.vip} + (std::string{t.vip}.find(':') == std::string::npos ? "/32" : "/128");
        return std::string{"ku vip "} + prefix + " port 80 " + t.words + "\nku pod " + prefix + ' ' + t.pod + more +
               '\n';
    }

    testbed bed{"ku conf node 192.0.2.1 node 2001:db8::1 removed reset\n" + lines("")};
    std::chrono::nanoseconds now = 1s;
    tcp_end client{}, pod{};
};

TEST_P(silent_connections, of_removed_endpoints_are_reset_within_seconds) {
    establish();
    for (int i = 0; i < 20; ++i) EXPECT_EQ(tick(), 0u) << "nothing was removed";
    bed.configure(lines(" del").substr(lines(" del").find("ku pod")));
    for (int i = 0; i < 40; ++i) tick();
    EXPECT_TRUE(client.is_reset);
    EXPECT_TRUE(pod.is_reset);
    auto const heard = client.heard + pod.heard;
    for (int i = 0; i < 40; ++i) EXPECT_EQ(tick(), 0u) << "once";
    EXPECT_EQ(client.heard + pod.heard, heard);
}

TEST_P(silent_connections, are_left_alone_where_removed_endpoints_keep_them) {
    bed.configure("ku conf removed keep\n");
    establish();
    bed.configure(lines(" del").substr(lines(" del").find("ku pod")));
    for (int i = 0; i < 40; ++i) EXPECT_EQ(tick(), 0u);
    bed.configure("ku conf removed reset\n");
    for (int i = 0; i < 40; ++i) tick();
    EXPECT_TRUE(client.is_reset && pod.is_reset) << "the setting holds for what was removed before, too";
}

INSTANTIATE_TEST_SUITE_P(
    table, silent_connections,
    testing::Values(silent_case{"ipv4", "90.0.0.1", "", "10.0.0.1", "198.51.100.9", 1000, 2000},
                    silent_case{"ipv6", "2001:db8:90::1", "", "2001:db8::a", "2001:db8:1::9", 1000, 2000},
                    silent_case{"ipv6_to_ipv4", "2001:db8:90::1", "nat4", "10.0.0.1", "2001:db8:1::9", 1000, 2000},
                    silent_case{"ipv4_to_ipv6", "90.0.0.1", "nat6", "2001:db8::a", "198.51.100.9", 1000, 2000},
                    silent_case{"a_probe_falls_into_a_window", "90.0.0.1", "", "10.0.0.1", "198.51.100.9",
                                0x5555'5555u - 9, 0x5555'5550u},
                    silent_case{"numbers_wrap_round", "90.0.0.1", "", "10.0.0.1", "198.51.100.9", 0xffff'fff0u, 5}),
    [](auto const& one) { return std::string{one.param.name}; });

} // namespace
} // namespace kubeproxy::silent_connections_tests
