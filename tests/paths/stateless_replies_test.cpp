#include "support/packet_builder.hpp"
#include "support/testbed.hpp"

#include <gtest/gtest.h>

#include <string>

// `ku set interface`: replies of flows that nobody knows, mapped by their backend as the ancestor did.

namespace kubeproxy::returns_tests {
namespace {

using build::bytes_of;
using testing_support::octets;
using namespace std::chrono_literals;

class from_pods : public testing_support::test_packet {
  public:
    using test_packet::test_packet;
    [[nodiscard]] bool maps_stateless_replies() const noexcept { return true; }
};

struct return_case {
    std::string name, ku, pod, client;
    std::string vip; ///< the source of what comes out; empty: the packet passes
    std::string client_out;
};
void PrintTo(return_case const& c, std::ostream* out) { *out << c.name; }

/// NAT64 makes one up for a packet that may be cut further on (RFC 7915 section 5.1).
unsigned identification_of(octets const& p) {
    bool const is_ipv4 = std::to_integer<unsigned>(p[0]) >> 4 == 4;
    return is_ipv4 ? std::to_integer<unsigned>(p[4]) << 8 | std::to_integer<unsigned>(p[5]) : 0u;
}

class returns : public testing::TestWithParam<return_case> {};

TEST_P(returns, without_a_flow) {
    auto const& c = GetParam();
    service_source services;
    controller control{services};
    ASSERT_TRUE(control.apply(c.ku).ok());
    flow_table flows{{64, 64}, secret{1}};
    proxy<from_pods> path{flows, services};
    auto const reply =
        bytes_of({.source = c.pod, .destination = c.client, .message = seed::udp(octets(9), 8080, 4711)});
    from_pods packet{reply};
    outcome what;
    path.process(std::span{&packet, 1}, 0s, [&](from_pods&, outcome const& o) { what = o; });
    octets const out(packet.bytes().begin(), packet.bytes().end());
    if (c.vip.empty()) {
        EXPECT_EQ(what.what, verdict::pass());
        EXPECT_EQ(out, reply);
        return;
    }
    EXPECT_EQ(what.what, verdict::forward());
    EXPECT_EQ(out, bytes_of({.source = c.vip,
                             .destination = c.client_out,
                             .message = seed::udp(octets(9), 80, 4711),
                             .identification = identification_of(out),
                             .fragment = c.client == c.client_out ? 0x4000u : 0u}));
}

constexpr auto one = "ku vip 90.0.0.1/32 port 80 target_port 8080\nku pod 90.0.0.1/32 10.0.0.1\n";

INSTANTIATE_TEST_SUITE_P(
    table, returns,
    testing::Values(
        return_case{"nat44", std::string{one} + "ku set interface nat4 in tap0\n", "10.0.0.1", "192.0.2.1", "90.0.0.1",
                    "192.0.2.1"},
        return_case{"not_set", one, "10.0.0.1", "192.0.2.1", "", ""},
        return_case{"set_for_the_other_family", std::string{one} + "ku set interface nat6 in tap0\n", "10.0.0.1",
                    "192.0.2.1", "", ""},
        return_case{"another_pod", std::string{one} + "ku set interface nat4 in tap0\n", "10.0.0.2", "192.0.2.1", "",
                    ""},
        return_case{
            "a_prefix_is_no_door",
            "ku vip 90.0.0.0/8 port 80 target_port 8080\nku pod 90.0.0.0/8 10.0.0.1\nku set interface nat4 in tap0\n",
            "10.0.0.1", "192.0.2.1", "", ""},
        return_case{"two_doors_are_ambiguous",
                    std::string{one} + "ku vip 90.0.0.2/32 port 81 target_port 8080\nku pod 90.0.0.2/32 10.0.0.1\nku "
                                       "set interface nat4 in tap0\n",
                    "10.0.0.1", "192.0.2.1", "", ""},
        return_case{
            "nat66",
            "ku vip fd00::1/128 port 80 target_port 8080\nku pod fd00::1/128 fd01::1\nku set interface nat6 in tap0\n",
            "fd01::1", "2001:db8::1", "fd00::1", "2001:db8::1"},
        return_case{"nat46",
                    "ku conf nat64_prefix 64:ff9b::/96\nku vip 90.0.0.1/32 port 80 target_port 8080 nat6\nku pod "
                    "90.0.0.1/32 fd01::1\nku set interface nat6 in tap0\n",
                    "fd01::1", "64:ff9b::192.0.2.1", "90.0.0.1", "192.0.2.1"},
        return_case{"nat64_needs_its_flow",
                    "ku vip fd00::1/128 port 80 target_port 8080 nat4\nku pod fd00::1/128 10.0.0.1\nku set interface "
                    "nat4 in tap0\n",
                    "10.0.0.1", "198.18.0.1", "", ""}),
    [](auto const& info_of) { return info_of.param.name; });

} // namespace
} // namespace kubeproxy::returns_tests
