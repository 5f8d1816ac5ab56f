#include "support/packet_builder.hpp"
#include "support/testbed.hpp"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

// Packets that no well-behaved host sends, and protocols that few hosts speak.

namespace kubeproxy::unusual_packets_tests {
namespace {

using build::bytes_of;
using testing_support::octets;
using testing_support::testbed;
using namespace std::chrono_literals;

constexpr auto across = "ku conf nat64_prefix 64:ff9b::/96 snat4 198.18.0.9\n"
                        "ku vip 91.0.0.1/32 port 80 target_port 8080 nat6\nku pod 91.0.0.1/32 fd00::1\n"
                        "ku vip fd00:64::1/128 port 80 target_port 8080 nat4\nku pod fd00:64::1/128 10.0.0.1\n"
                        "ku vip 90.0.0.1/32 port 80 target_port 8080\nku pod 90.0.0.1/32 10.0.0.2\n";

octets udp_from(std::string const& source, std::string const& vip) {
    return bytes_of({.source = source, .destination = vip, .message = seed::udp(seed::counted(9), 4711, 80)});
}

struct source_case {
    std::string rule, source, vip;
};
void PrintTo(source_case const& c, std::ostream* out) { *out << c.rule; }

class illegal_sources : public testing::TestWithParam<source_case> {};

TEST_P(illegal_sources, do_not_change_family) {
    testbed bed{across};
    auto const in = udp_from(GetParam().source, GetParam().vip);
    auto const out = bed.send(in);
    EXPECT_EQ(out.what.what, verdict::drop(drop_reason::illegal_address));
    EXPECT_EQ(out.bytes, in);
    EXPECT_EQ(bed.path().verdicts().dropped(drop_reason::illegal_address), 1u);
    EXPECT_EQ(bed.flows().counters().inserted, 0u) << "no flow, and so no port";
}

INSTANTIATE_TEST_SUITE_P(
    table, illegal_sources,
    testing::Values(source_case{"RFC 1812 section 5.3.7: 0/8", "0.0.0.1", "91.0.0.1"},
                    source_case{"RFC 1812 section 5.3.7: loopback", "127.0.0.1", "91.0.0.1"},
                    source_case{"RFC 1812 section 5.3.7: class D", "224.0.0.5", "91.0.0.1"},
                    source_case{"RFC 1812 section 5.3.7: class E", "240.1.2.3", "91.0.0.1"},
                    source_case{"RFC 1812 section 5.3.7: broadcast", "255.255.255.255", "91.0.0.1"},
                    source_case{"RFC 3927 section 2.7: link-local", "169.254.1.1", "91.0.0.1"},
                    source_case{"RFC 4291 section 2.5.2: unspecified", "::", "fd00:64::1"},
                    source_case{"RFC 4291 section 2.5.3: loopback", "::1", "fd00:64::1"},
                    source_case{"RFC 4291 section 2.7: multicast", "ff02::1", "fd00:64::1"},
                    source_case{"RFC 4291 section 2.5.6: link-local", "fe80::1", "fd00:64::1"},
                    source_case{"RFC 6052 section 3.1: it stands for 127.0.0.1", "64:ff9b::127.0.0.1", "fd00:64::1"},
                    source_case{"RFC 6052 section 3.1: it stands for class E", "64:ff9b::240.0.0.1", "fd00:64::1"}));

TEST(illegal_sources, legal_ones_and_those_that_keep_their_family_go_on) {
    testbed bed{across};
    EXPECT_EQ(bed.send(udp_from("192.0.2.1", "91.0.0.1")).what.what, verdict::forward());
    EXPECT_EQ(bed.send(udp_from("64:ff9b::192.0.2.1", "fd00:64::1")).what.what, verdict::forward());
    EXPECT_EQ(bed.send(udp_from("127.0.0.1", "90.0.0.1")).what.what, verdict::forward()) << "RFC 7915 is not asked";
    EXPECT_EQ(bed.send(udp_from("127.0.0.1", "91.0.0.2")).what.what, verdict::pass()) << "no service of ours";
}

octets error_about(octets const& quoted, std::string const& source, std::string const& destination) {
    bool const is_ipv4 = source.find(':') == std::string::npos;
    return bytes_of({.source = source,
                     .destination = destination,
                     .protocol = is_ipv4 ? 1u : 58u,
                     .message = seed::icmp(is_ipv4 ? 3 : 1, is_ipv4 ? 3 : 4, 0, quoted)});
}

TEST(illegal_sources, of_icmp_errors_do_not_change_family_either) {
    testbed bed{across};
    auto const out = bed.send(udp_from("192.0.2.1", "91.0.0.1"));
    ASSERT_EQ(out.what.what, verdict::forward());
    auto const from = [&](std::string const& router) {
        return bed.send(error_about(out.bytes, router, "64:ff9b::192.0.2.1")).what.what;
    };
    EXPECT_EQ(from("fe80::1"), verdict::drop(drop_reason::illegal_address)) << "RFC 7915 section 5.1";
    EXPECT_EQ(from("64:ff9b::127.0.0.1"), verdict::drop(drop_reason::illegal_address)) << "RFC 6052 section 3.1";
    EXPECT_EQ(from("2001:db8::9"), verdict::forward());
}

// RFC 1122 section 3.2.2, RFC 5927 section 4.1: an error goes to the source of the packet that it quotes.
TEST(icmp_errors, to_another_host_than_the_quoted_one_are_dropped) {
    testbed bed{across};
    auto const out = bed.send(udp_from("192.0.2.1", "90.0.0.1"));
    auto const mismatch = verdict::drop(drop_reason::quoted_other_source);
    EXPECT_EQ(bed.send(error_about(out.bytes, "10.0.0.2", "192.0.2.66")).what.what, mismatch) << "of a known flow";
    EXPECT_EQ(bed.path().verdicts().dropped(drop_reason::quoted_other_source), 1u);
    EXPECT_EQ(bed.send(error_about(out.bytes, "10.0.0.2", "192.0.2.1")).what.what, verdict::forward());

    auto const reply = bytes_of({.source = "90.0.0.1", .destination = "192.0.2.7", .message = seed::udp({}, 80, 4711)});
    EXPECT_EQ(bed.send(error_about(reply, "192.0.2.7", "90.0.0.2")).what.what, mismatch) << "of no flow";
    auto const foreign = udp_from("192.0.2.1", "198.51.100.1");
    EXPECT_EQ(bed.send(error_about(foreign, "198.51.100.1", "203.0.113.9")).what.what, verdict::pass()) << "not ours";
}

class from_pods : public testing_support::test_packet {
  public:
    using test_packet::test_packet;
    [[nodiscard]] bool maps_stateless_replies() const noexcept { return true; }
};

struct return_case {
    std::string rule, vip, pod, client;
    verdict expected;
};
void PrintTo(return_case const& c, std::ostream* out) { *out << c.rule; }

class stateless_returns : public testing::TestWithParam<return_case> {};

TEST_P(stateless_returns, reject_illegal_addresses) {
    auto const& c = GetParam();
    service_source services;
    controller control{services};
    std::string const length = c.vip.find(':') == std::string::npos ? "/32" : "/128";
    std::string const family = c.pod.find(':') == std::string::npos ? "nat4" : "nat6";
    ASSERT_TRUE(control
                    .apply("ku conf nat64_prefix 64:ff9b::/96\nku vip " + c.vip + length +
                           " port 80 target_port 8080 " + family + "\nku pod " + c.vip + length + ' ' + c.pod +
                           "\nku set interface " + family + " in tap0\n")
                    .ok());
    flow_table flows{{64, 64}, secret{1}};
    proxy<from_pods> path{flows, services};
    from_pods packet{bytes_of({.source = c.pod, .destination = c.client, .message = seed::udp(octets(9), 8080, 4711)})};
    outcome what;
    path.process(std::span{&packet, 1}, 0s, [&](from_pods&, outcome const& o) { what = o; });
    EXPECT_EQ(what.what, c.expected);
}

constexpr auto dropped = verdict::drop(drop_reason::illegal_address);

INSTANTIATE_TEST_SUITE_P(
    table, stateless_returns,
    testing::Values(return_case{"NAT46", "90.0.0.1", "fd01::1", "64:ff9b::192.0.2.1", verdict::forward()},
                    return_case{"NAT46 to 127.0.0.1", "90.0.0.1", "fd01::1", "64:ff9b::127.0.0.1", dropped},
                    return_case{"NAT46 to broadcast", "90.0.0.1", "fd01::1", "64:ff9b::255.255.255.255", dropped},
                    return_case{"NAT46 to 0.0.0.0", "90.0.0.1", "fd01::1", "64:ff9b::", dropped},
                    return_case{"NAT44 to multicast", "90.0.0.1", "10.0.0.1", "224.0.0.251", dropped},
                    return_case{"NAT44 to loopback", "90.0.0.1", "10.0.0.1", "127.0.0.1", dropped},
                    return_case{"NAT66 to multicast", "fd00::1", "fd01::1", "ff02::1", dropped},
                    return_case{"NAT66 to loopback", "fd00::1", "fd01::1", "::1", dropped}));

// RFC 3828, RFC 4340: protocols with ports, through a service for all protocols.
TEST(udp_lite_and_dccp, are_told_by_their_ports_and_have_right_checksums) {
    testbed bed{
        "ku conf nat64_prefix 64:ff9b::/96 snat4 198.18.0.9\n"
        "ku vip 91.0.0.1/32 nat6\nku pod 91.0.0.1/32 fd00::1\n"
        "ku vip fd00:64::1/128 nat4\nku pod fd00:64::1/128 10.0.0.1\n"
        "ku vip 90.0.0.1/32\nku pod 90.0.0.1/32 10.0.0.2\nku vip fd00:66::1/128\nku pod fd00:66::1/128 fd00::2\n"};
    for (std::string const vip : {"90.0.0.1", "91.0.0.1", "fd00:64::1", "fd00:66::1"})
        for (unsigned const protocol : {33u, 136u}) {
            SCOPED_TRACE(vip + " protocol " + std::to_string(protocol));
            std::string const client = vip[0] == '9' ? "192.0.2.1" : "2001:db8::1";
            auto const message = [&](unsigned from, unsigned to) {
                return protocol == 33 ? seed::dccp(seed::counted(7), from, to)
                                      : seed::udp_lite(seed::counted(7), 8, from, to);
            };
            auto const out = bed.send(
                bytes_of({.source = client, .destination = vip, .protocol = protocol, .message = message(4711, 5000)}));
            ASSERT_EQ(out.what.what, verdict::forward());
            EXPECT_EQ(out.what.relation, flow_relation::fresh);
            EXPECT_TRUE(build::transport_checksum_is_valid(out.bytes));
            auto const other = bed.send(
                bytes_of({.source = client, .destination = vip, .protocol = protocol, .message = message(4712, 5000)}));
            EXPECT_EQ(other.what.relation, flow_relation::fresh) << "another port, another flow";
        }
}

// As in Linux, where only protocols with ports or identifiers get another tuple when theirs is in use
// (net/netfilter/nf_nat_core.c, nf_nat_l4proto_unique_tuple()). The packet of a connection whose replies would be those
// of another one is dropped (nf_conntrack_core.c, __nf_conntrack_confirm() and nf_ct_resolve_clash()).
TEST(protocols_without_ports, two_addresses_of_a_service_lead_a_client_to_one_pod_one_at_a_time) {
    testbed bed{"ku vip 90.0.0.1/32\nku pod 90.0.0.1/32 10.0.0.1\nku vip 90.0.0.2/32\nku pod 90.0.0.2/32 10.0.0.1\n"};
    auto const esp = [](std::string const& client, std::string const& vip) {
        return bytes_of({.source = client, .destination = vip, .protocol = 50, .message = seed::counted(40)});
    };
    EXPECT_EQ(bed.send(esp("192.0.2.1", "90.0.0.1")).what.what, verdict::forward());
    EXPECT_EQ(bed.send(esp("192.0.2.1", "90.0.0.2")).what.what, verdict::drop(drop_reason::ports_exhausted));
    EXPECT_EQ(bed.send(esp("192.0.2.2", "90.0.0.2")).what.what, verdict::forward()) << "another client";
    EXPECT_EQ(bed.send(esp("192.0.2.1", "90.0.0.2"), 1h).what.what, verdict::forward()) << "when the first one ended";
}

unsigned identification_of(octets const& p) {
    return std::to_integer<unsigned>(p[4]) << 8 | std::to_integer<unsigned>(p[5]);
}

struct merge_case {
    std::string name, ku, vip, clients; ///< clients: prefix of their addresses
};
void PrintTo(merge_case const& c, std::ostream* out) { *out << c.name; }

class merged_sources : public testing::TestWithParam<merge_case> {};

octets part_from(std::string const& client, std::string const& vip, unsigned id, unsigned units, bool more) {
    auto const message = units == 0 ? seed::udp(seed::counted(16), 4711, 80) : seed::counted(24);
    if (client.find(':') != std::string::npos)
        return bytes_of({.source = client,
                         .destination = vip,
                         .message = message,
                         .extensions = {seed::fragment(units, more, 0x70000 | id)}});
    return bytes_of({.source = client,
                     .destination = vip,
                     .message = message,
                     .identification = id,
                     .fragment = units | (more ? 0x2000u : 0u)});
}

// RFC 6864 section 5.3: as if the datagrams were sourced by the device that rewrites them.
TEST_P(merged_sources, have_identifications_that_do_not_meet) {
    auto const& c = GetParam();
    testbed bed{c.ku};
    std::map<unsigned, std::set<unsigned>> of_client;
    std::set<unsigned> all;
    constexpr unsigned clients = 20;
    for (unsigned const units : {0u, 3u, 6u})
        for (unsigned client = 1; client <= clients; ++client) {
            auto const out = bed.send(part_from(c.clients + std::to_string(client), c.vip, 0x1234, units, units != 6));
            ASSERT_EQ(out.what.what, verdict::forward());
            ASSERT_TRUE(out.what.masqueraded);
            EXPECT_TRUE(build::header_checksum_is_valid(out.bytes));
            of_client[client].insert(identification_of(out.bytes));
            all.insert(identification_of(out.bytes));
        }
    for (auto const& [client, identifications] : of_client)
        EXPECT_EQ(identifications.size(), 1u) << "all parts of a datagram have one";
    EXPECT_EQ(all.size(), clients);
}

TEST_P(merged_sources, are_dropped_where_identifications_would_repeat) { // RFC 6864 section 4.3
    auto const& c = GetParam();
    testbed bed{c.ku};
    std::set<unsigned> given;
    std::size_t exhausted = 0;
    for (unsigned id = 0; id < 65'536; ++id)
        for (unsigned client = 1; client <= 2; ++client) {
            if (client == 2 && id % 8 != 0) continue;
            auto const out = bed.send(part_from(c.clients + std::to_string(client), c.vip, id, 0, true));
            if (out.what.what == verdict::drop(drop_reason::identifications_exhausted)) {
                ++exhausted;
                continue;
            }
            ASSERT_EQ(out.what.what, verdict::forward());
            ASSERT_TRUE(given.insert(identification_of(out.bytes)).second) << id;
        }
    EXPECT_GE(exhausted, 65'536u / 8);
    EXPECT_EQ(bed.path().verdicts().dropped(drop_reason::identifications_exhausted), exhausted);
}

INSTANTIATE_TEST_SUITE_P(
    table, merged_sources,
    testing::Values(merge_case{"nat64",
                               "ku conf snat4 198.18.0.9\nku vip fd00:64::1/128 port 80 nat4\n"
                               "ku pod fd00:64::1/128 10.0.0.1\n",
                               "fd00:64::1", "2001:db8::"},
                    merge_case{"masquerade",
                               "ku conf snat4 198.18.0.9 node 192.168.0.1\nku vip 90.0.0.1/32 port 80 node_port 80\n"
                               "ku pod 90.0.0.1/32 10.0.0.1\n",
                               "192.168.0.1", "192.0.2."}),
    [](auto const& one) { return one.param.name; });

TEST(merged_sources, others_keep_their_identification) {
    testbed bed{"ku vip 90.0.0.1/32 port 80\nku pod 90.0.0.1/32 10.0.0.1\n"};
    for (unsigned const units : {0u, 3u}) {
        auto const out = bed.send(part_from("192.0.2.1", "90.0.0.1", 0x1234, units, true));
        EXPECT_EQ(identification_of(out.bytes), 0x1234u) << "the source stays, and so does what its host chose";
    }
}

} // namespace
} // namespace kubeproxy::unusual_packets_tests
