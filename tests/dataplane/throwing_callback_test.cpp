#include "support/conversation.hpp"
#include "support/packet_builder.hpp"
#include "support/testbed.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <limits>
#include <span>
#include <string>
#include <vector>

// A host's callback may throw: the exception leaves process() or tick(), and the worker is as usable as before. It is
// outside its read-side section, so that replaced services are freed, and it keeps no pointer to a packet of the burst.

namespace kubeproxy::throwing_callback_tests {
namespace {

using build::bytes_of;
using testing_support::octets;
using testing_support::test_packet;
using namespace std::chrono_literals;

struct host_error {};

constexpr auto never = std::numeric_limits<std::size_t>::max();
constexpr auto services = "ku conf node 192.0.2.9 node 2001:db8::9 removed reset\n"
                          "ku vip 90.0.0.1/32 port 80 target_port 8080\nku pod 90.0.0.1/32 10.0.0.1\n"
                          "ku vip 91.0.0.1/32 port 80 target_port 8080 nat6\nku pod 91.0.0.1/32 fd00::1\n";

octets datagram(std::string const& destination, unsigned port, std::size_t size = 8, unsigned flags = 0x4000) {
    return bytes_of(
        {.destination = destination, .message = seed::udp(seed::counted(size), port, 80), .fragment = flags});
}
/// A datagram in two parts of 64 bytes of data and less, first and later.
std::vector<octets> parts(unsigned id) {
    auto const whole = datagram("90.0.0.1", 4711, 100);
    auto const part = [&](std::ptrdiff_t from, std::ptrdiff_t to, unsigned fragment) {
        return bytes_of({.destination = "90.0.0.1",
                         .message = octets(whole.begin() + 20 + from, whole.begin() + 20 + to),
                         .identification = id,
                         .fragment = fragment});
    };
    return {part(0, 64, 0x2000), part(64, 108, 8)};
}

class throwing_callback : public testing::Test {
  protected:
    throwing_callback() { EXPECT_TRUE(control_.apply(services).ok()); }

    /// \return whether process() threw the host's error: the callbacks do in their call number ..._throws_at, from 1
    bool process(std::vector<octets> const& bytes, std::size_t settle_throws_at = never,
                 std::size_t spare_throws_at = never) {
        std::vector<test_packet> packets(bytes.begin(), bytes.end());
        std::size_t settled = 0, spared = 0;
        auto const settle = [&](test_packet&, outcome const& o) {
            if (o.what != verdict::drop(drop_reason::fragment_held)) {
                ++told_;
                if (o.what == verdict::forward()) ++forwarded_;
            }
            if (++settled == settle_throws_at) throw host_error{};
        };
        auto const spare = [&](test_packet& like, std::size_t size) {
            auto const* const first = packets.data();
            EXPECT_TRUE(&like >= first && &like < first + packets.size()) << "a packet of another burst";
            if (++spared == spare_throws_at) throw host_error{};
            return &spares_.emplace_back(octets(size));
        };
        try {
            proxy_.process(std::span{packets}, now_, settle, spare);
        } catch (host_error const&) {
            return true;
        }
        return false;
    }

    void expect_usable() {
        expect_counters();
        EXPECT_TRUE(control_.apply("ku pod 90.0.0.1/32 10.0.0.2\n").ok());
        EXPECT_EQ(control_.collect(), 1u) << "the worker is outside, so the replaced services are freed";
        EXPECT_TRUE(control_.apply("ku pod 90.0.0.1/32 10.0.0.2 del\n").ok());
        auto const before = forwarded_;
        EXPECT_FALSE(process(std::vector<octets>(40, datagram("90.0.0.1", 1))));
        EXPECT_EQ(forwarded_, before + 40) << "the next packets are processed as ever";
        expect_counters();
    }
    /// Counters say what the host was told.
    void expect_counters() {
        auto const& verdicts = proxy_.verdicts();
        EXPECT_EQ(verdicts.packets(action::forward), forwarded_);
        EXPECT_EQ(verdicts.packets(action::forward) + verdicts.packets(action::pass) + verdicts.packets(action::reply) +
                      verdicts.packets(action::drop),
                  told_);
        EXPECT_EQ(sources_.service_traffic(0).packets + sources_.service_traffic(1).packets, forwarded_);
    }

    service_source sources_;
    controller control_{sources_};
    flow_table flows_{{1024, 1024}, secret{1}};
    proxy<test_packet> proxy_{flows_, sources_};
    std::chrono::nanoseconds now_ = 1s;
    std::deque<test_packet> spares_;
    std::uint64_t told_ = 0, forwarded_ = 0;
};

TEST_F(throwing_callback, that_settles_a_packet_of_any_place_and_verdict) {
    auto const ours = datagram("90.0.0.1", 4711), others = datagram("203.0.113.1", 4711);
    octets const no_packet(3);
    std::vector<octets> const burst{ours, others, no_packet, ours, ours};
    for (std::size_t at = 1; at <= burst.size(); ++at) {
        SCOPED_TRACE(at);
        auto const before = told_;
        EXPECT_TRUE(process(burst, at));
        EXPECT_EQ(told_, before + at) << "the packets after it are not settled";
        expect_usable();
    }
}

TEST_F(throwing_callback, in_a_later_burst_of_a_call) {
    EXPECT_TRUE(process(std::vector<octets>(100, datagram("90.0.0.1", 4711)), 70));
    EXPECT_EQ(told_, 70u) << "the third burst of 32";
    expect_usable();
}

/// RFC 7915 section 4: an IPv4 packet without DF that outgrows the smallest MTU of IPv6 is cut.
TEST_F(throwing_callback, about_pieces_of_a_packet) {
    auto const large = datagram("91.0.0.1", 4711, 4000, 0);
    ASSERT_FALSE(process({large}));
    auto const pieces = spares_.size() + 1;
    ASSERT_GT(pieces, 2u);
    for (std::size_t at = 1; at <= pieces; ++at) EXPECT_TRUE(process({large}, at)) << at;
    for (std::size_t at = 1; at < pieces; ++at) EXPECT_TRUE(process({large}, never, at)) << at;
    expect_usable();
}

/// An early fragment follows its first one in the same burst, by a pointer to that. When the burst ends early, the
/// fragment waits on, and is counted when its time is over.
TEST_F(throwing_callback, before_early_fragments_are_released) {
    auto const message = parts(7);
    ASSERT_FALSE(process({message[1]}));
    EXPECT_TRUE(process({message[0]}, 1));
    EXPECT_FALSE(process({datagram("90.0.0.1", 1)}));
    EXPECT_TRUE(spares_.empty()) << "nothing is released behind a packet of the burst that is gone";
    now_ += 2s;
    EXPECT_FALSE(process({datagram("90.0.0.1", 1)}));
    EXPECT_EQ(proxy_.verdicts().dropped(drop_reason::fragment_timeout), 1u);
    ++told_; // not by settle: its copy was the proxy's
    expect_usable();
}

TEST_F(throwing_callback, while_early_fragments_are_released) {
    auto const message = parts(7);
    ASSERT_FALSE(process({message[1]}));
    EXPECT_TRUE(process({message[0]}, never, 1)) << "when asked for a buffer";
    ASSERT_FALSE(process({parts(8)[1]}));
    EXPECT_TRUE(process({parts(8)[0]}, 2)) << "when told of the early one";
    EXPECT_EQ(forwarded_, 3u);
    expect_usable();
    now_ += 2s;
    EXPECT_FALSE(process({datagram("90.0.0.1", 1)}));
    EXPECT_EQ(proxy_.verdicts().dropped(drop_reason::fragment_timeout), 0u) << "none is still there";
}

/// RFC 9293 section 3.10.7.4: probes make the ends of a removed endpoint's connection speak.
TEST_F(throwing_callback, of_tick) {
    using build::conversation, build::segment;
    conversation const client{6, {"192.0.2.1", 4711}, {"90.0.0.1", 80}};
    conversation const pod{6, {"10.0.0.1", 8080}, {"192.0.2.1", 4711}};
    ASSERT_FALSE(process({packet_of(client, segment::open)}));
    ASSERT_FALSE(process({packet_of(pod, segment::accept), packet_of(client, segment::data)}));
    ASSERT_TRUE(control_.apply("ku pod 90.0.0.1/32 10.0.0.1 del\n").ok());
    std::size_t made = 0, probes = 0;
    auto const make = [&](std::size_t size) {
        if (++made == 1) throw host_error{};
        return &spares_.emplace_back(octets(size));
    };
    auto const settle = [&](test_packet&, outcome const&) {
        if (++probes == 1) throw host_error{};
    };
    EXPECT_THROW(proxy_.tick(now_, settle, make), host_error) << "when asked for a buffer";
    EXPECT_THROW(proxy_.tick(now_, settle, make), host_error) << "when told of a probe";
    EXPECT_EQ(control_.collect(), 1u) << "the worker is outside";
    EXPECT_NO_THROW(proxy_.tick(now_, settle, make));
    EXPECT_EQ(probes, 3u) << "and probes both ends";
}

} // namespace
} // namespace kubeproxy::throwing_callback_tests
