#include "support/packet_builder.hpp"
#include "support/testbed.hpp"

#include <gtest/gtest.h>

#include <string>

// A client speaks to a service and its pod answers: whole packets in, whole packets out, in all four translations.

namespace kubeproxy::four_translations_tests {
namespace {

using build::bytes_of;
using build::packet;
using testing_support::octets;
using testing_support::testbed;

struct translation {
    std::string name;
    std::string ku;
    std::string client, vip, pod;
    std::string client_at_pod; ///< how the pod sees the client
};

void PrintTo(translation const& t, std::ostream* out) { *out << t.name; }

translation const all[] = {{"nat44", "ku vip 10.96.0.0/16 port 80 target_port 8080\nku pod 10.96.0.0/16 10.244.1.7\n",
                            "192.0.2.1", "10.96.0.1", "10.244.1.7", "192.0.2.1"},
                           {"nat66", "ku vip fd00:96::/64 port 80 target_port 8080\nku pod fd00:96::/64 fd00:244::7\n",
                            "2001:db8::1", "fd00:96::1", "fd00:244::7", "2001:db8::1"},
                           {"nat46",
                            "ku conf nat64_prefix 64:ff9b::/96\n"
                            "ku vip 10.96.0.0/16 port 80 target_port 8080 nat6\nku pod 10.96.0.0/16 fd00:244::7\n",
                            "192.0.2.1", "10.96.0.1", "fd00:244::7", "64:ff9b::192.0.2.1"},
                           {"nat64",
                            "ku conf snat4 198.18.0.9\n"
                            "ku vip fd00:96::/64 port 80 target_port 8080 nat4\nku pod fd00:96::/64 10.244.1.7\n",
                            "2001:db8::1", "fd00:96::1", "10.244.1.7", "198.18.0.9"}};

class four_translations : public testing::TestWithParam<translation> {};

octets message(unsigned protocol, unsigned source_port, unsigned destination_port, std::size_t size) {
    if (protocol == 6) return seed::tcp(seed::counted(size), 0x02, source_port, destination_port);
    return seed::udp(seed::counted(size), source_port, destination_port);
}

std::size_t header_size(octets const& p) { return std::to_integer<unsigned>(p[0]) >> 4 == 4 ? 20 : 40; }

unsigned source_port(octets const& p) {
    auto const at = header_size(p);
    return std::to_integer<unsigned>(p[at]) << 8 | std::to_integer<unsigned>(p[at + 1]);
}

/// NAT64 makes up the identification of a packet that may be fragmented further on (RFC 7915 section 5.1).
unsigned identification(octets const& p) {
    return header_size(p) == 20 ? std::to_integer<unsigned>(p[4]) << 8 | std::to_integer<unsigned>(p[5]) : 0;
}

void expect_conversation(translation const& t, unsigned protocol, std::size_t size) {
    SCOPED_TRACE(std::to_string(protocol) + ", payload " + std::to_string(size));
    testbed bed{t.ku};
    bool const pod_is_ipv4 = t.pod.find(':') == std::string::npos;
    bool const changes_family = pod_is_ipv4 != (t.client.find(':') == std::string::npos);

    auto const request = bed.send(bytes_of({.source = t.client,
                                            .destination = t.vip,
                                            .protocol = protocol,
                                            .message = message(protocol, 4711, 80, size)}));
    ASSERT_EQ(request.what.what, verdict::forward());
    EXPECT_EQ(request.what.relation, flow_relation::fresh);
    auto const port = changes_family && pod_is_ipv4 ? source_port(request.bytes) : 4711u;
    EXPECT_NE(port, 0u);
    bool const is_short = changes_family && pod_is_ipv4; // no longer than 1260 bytes: DF is clear
    EXPECT_EQ(request.bytes, bytes_of({.source = t.client_at_pod,
                                       .destination = t.pod,
                                       .protocol = protocol,
                                       .message = message(protocol, port, 8080, size),
                                       .identification = identification(request.bytes),
                                       .fragment = is_short ? 0u : 0x4000u}));
    EXPECT_TRUE(build::transport_checksum_is_valid(request.bytes));
    EXPECT_TRUE(build::header_checksum_is_valid(request.bytes));

    auto const reply = bed.send(bytes_of({.source = t.pod,
                                          .destination = t.client_at_pod,
                                          .protocol = protocol,
                                          .message = message(protocol, 8080, port, size)}));
    ASSERT_EQ(reply.what.what, verdict::forward());
    EXPECT_EQ(reply.what.relation, flow_relation::reply);
    EXPECT_EQ(reply.bytes, bytes_of({.source = t.vip,
                                     .destination = t.client,
                                     .protocol = protocol,
                                     .message = message(protocol, 80, 4711, size),
                                     .identification = identification(reply.bytes),
                                     .fragment = changes_family && !pod_is_ipv4 ? 0u : 0x4000u}));
    auto const again = bed.send(bytes_of({.source = t.client,
                                          .destination = t.vip,
                                          .protocol = protocol,
                                          .message = message(protocol, 4711, 80, size)}));
    EXPECT_EQ(again.what.relation, flow_relation::original);
    EXPECT_EQ(source_port(again.bytes), port);
}

TEST_P(four_translations, request_and_reply_come_out_whole) {
    for (unsigned const protocol : {6u, 17u})
        for (std::size_t const size : {0u, 1u, 20u, 21u, 1000u}) expect_conversation(GetParam(), protocol, size);
}

TEST_P(four_translations, a_reply_of_an_unknown_flow_passes_unchanged) {
    testbed bed{GetParam().ku};
    auto const reply = bytes_of({.source = GetParam().pod,
                                 .destination = GetParam().client_at_pod,
                                 .message = seed::udp(seed::counted(9), 8080, 4711)});
    auto const settled = bed.send(reply);
    EXPECT_EQ(settled.what.what, verdict::pass());
    EXPECT_EQ(settled.bytes, reply);
}

TEST_P(four_translations, another_port_of_the_vip_passes_unchanged) {
    testbed bed{GetParam().ku};
    auto const other = bytes_of(
        {.source = GetParam().client, .destination = GetParam().vip, .message = seed::udp(seed::counted(9), 4711, 81)});
    auto const settled = bed.send(other);
    EXPECT_EQ(settled.what.what, verdict::pass());
    EXPECT_EQ(settled.bytes, other);
}

TEST_P(four_translations, both_directions_in_one_burst_see_the_flow_that_the_burst_made) {
    testbed bed{GetParam().ku};
    auto const request = bytes_of(
        {.source = GetParam().client, .destination = GetParam().vip, .message = seed::udp(seed::counted(9), 4711, 80)});
    auto const settled = bed.send(std::vector<octets>{request, request, request});
    EXPECT_EQ(settled[0].what.relation, flow_relation::fresh);
    EXPECT_EQ(settled[1].what.relation, flow_relation::original);
    EXPECT_EQ(settled[2].bytes, settled[0].bytes);
    EXPECT_EQ(bed.flows().counters().inserted, 1u);
}

TEST_P(four_translations, a_service_without_pods_answers_port_unreachable) {
    testbed bed{GetParam().ku};
    auto const vip_line = GetParam().ku.substr(GetParam().ku.find("ku vip"));
    auto const vip = vip_line.substr(7, vip_line.find(' ', 7) - 7);
    bed.configure("ku pod " + vip + " " + GetParam().pod + " del\n");
    auto const request = bytes_of(
        {.source = GetParam().client, .destination = GetParam().vip, .message = seed::udp(seed::counted(9), 4711, 80)});
    auto const settled = bed.send(request);
    EXPECT_EQ(settled.what.what, verdict::reply(drop_reason::no_endpoints));
    EXPECT_EQ(bed.path().verdicts().replied(drop_reason::no_endpoints), 1u);
    EXPECT_TRUE(build::transport_checksum_is_valid(settled.bytes));
    auto const at = header_size(settled.bytes);
    bool const is_ipv4 = at == 20;
    EXPECT_EQ(std::to_integer<unsigned>(settled.bytes[at]), is_ipv4 ? 3u : 1u);     // RFC 792, RFC 4443 section 3.1
    EXPECT_EQ(std::to_integer<unsigned>(settled.bytes[at + 1]), is_ipv4 ? 3u : 4u); // port unreachable
    EXPECT_EQ(octets(settled.bytes.begin() + static_cast<std::ptrdiff_t>(at) + 8, settled.bytes.end()), request);
}

INSTANTIATE_TEST_SUITE_P(table, four_translations, testing::ValuesIn(all),
                         [](auto const& one) { return one.param.name; });

} // namespace
} // namespace kubeproxy::four_translations_tests
