#include "support/conversation.hpp"
#include "support/testbed.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

// A client that uses one source port for a pod and for a service in front of it (proxy_settings::track_direct). The
// pod sees two connections with the same addresses and ports, unless the later one gets another source port, as
// conntrack gives it (and as VPP-1281 asks for).

namespace kubeproxy::direct_connections_tests {
namespace {

using build::conversation;
using build::segment;
using build::side;
using testing_support::octets;
using testing_support::testbed;
using namespace std::chrono_literals;

constexpr proxy_settings with_direct{.track_direct = true};

struct direct_case {
    char const* name;
    unsigned protocol;
    char const* client;
    char const* vip;
    char const* pod;
};
void PrintTo(direct_case const& c, std::ostream* out) { *out << c.name; }

direct_case const all[] = {{"tcp44", 6, "192.0.2.1", "10.96.0.1", "10.244.1.7"},
                           {"udp44", 17, "192.0.2.1", "10.96.0.1", "10.244.1.7"},
                           {"sctp44", 132, "192.0.2.1", "10.96.0.1", "10.244.1.7"},
                           {"tcp66", 6, "2001:db8::1", "fd00:96::1", "fd00:244::7"},
                           {"udp66", 17, "2001:db8::1", "fd00:96::1", "fd00:244::7"}};

class direct_connections : public testing::TestWithParam<direct_case> {
  protected:
    [[nodiscard]] static std::string host_prefix() {
        return std::string{GetParam().vip} + (side{GetParam().vip, 0}.is_ipv6() ? "/128" : "/32");
    }
    [[nodiscard]] static std::string ku() {
        std::string const name[] = {"tcp", "udp", "sctp"};
        auto const protocol = GetParam().protocol == 6 ? name[0] : GetParam().protocol == 17 ? name[1] : name[2];
        return "ku vip " + host_prefix() + " protocol " + protocol + " port 80 target_port 80\nku pod " +
               host_prefix() + ' ' + GetParam().pod + '\n';
    }
    [[nodiscard]] static conversation direct() {
        return {GetParam().protocol, {GetParam().client, 4000}, {GetParam().pod, 80}};
    }
    [[nodiscard]] static conversation by_service() {
        return {GetParam().protocol, {GetParam().client, 4000}, {GetParam().vip, 80}};
    }

    /// What the pod sees of the packet, or nothing where it is not forwarded.
    [[nodiscard]] conversation at_pod(conversation const& from_client, segment what) {
        auto const sent = bed.send(packet_of(from_client, what));
        EXPECT_EQ(sent.what.what, verdict::forward());
        EXPECT_TRUE(build::is_whole(sent.bytes));
        return build::read(sent.bytes);
    }
    void expect_answered(conversation const& seen_by_pod, conversation const& sent_by_client) {
        for (auto const what : {segment::accept, segment::data}) {
            auto const answer = bed.send(packet_of(seen_by_pod.back(), what));
            EXPECT_EQ(answer.what.what, verdict::forward());
            EXPECT_EQ(build::read(answer.bytes), sent_by_client.back());
            EXPECT_TRUE(build::is_whole(answer.bytes));
        }
    }
    /// The pod sees the earlier connection as the client's own, and the later one from another port of the client.
    void expect_both_work(conversation const& earlier, conversation const& later) {
        auto const first = at_pod(earlier, segment::open);
        EXPECT_EQ(first, direct());
        expect_answered(first, earlier);

        auto const second = at_pod(later, segment::open);
        EXPECT_EQ(second.destination, direct().destination);
        EXPECT_EQ(second.source.address, GetParam().client);
        EXPECT_NE(second.source.port, 4000u);
        expect_answered(second, later);
        expect_answered(first, earlier);
        EXPECT_EQ(at_pod(earlier, segment::data), first);
        EXPECT_EQ(at_pod(later, segment::data), second);
    }

    testbed bed{ku(), with_direct};
};

TEST_P(direct_connections, the_service_is_asked_later) { expect_both_work(direct(), by_service()); }

TEST_P(direct_connections, the_pod_is_asked_later) { expect_both_work(by_service(), direct()); }

/// Kubernetes: a Service's changes are none of a connection's that does not go through it.
TEST_P(direct_connections, go_on_when_the_service_is_gone) {
    (void)at_pod(by_service(), segment::open);
    auto const moved = at_pod(direct(), segment::open);
    expect_answered(moved, direct());
    bed.configure("ku vip " + host_prefix() + " port 80 del\n");
    EXPECT_EQ(at_pod(direct(), segment::data), moved);
    expect_answered(moved, direct());
}

TEST_P(direct_connections, are_counted_for_no_service) {
    (void)at_pod(direct(), segment::open);
    auto const sent = bed.send(packet_of(direct(), segment::data));
    EXPECT_EQ(sent.what.relation, flow_relation::original);
    EXPECT_EQ(sent.what.service, no_service);
    EXPECT_EQ(sent.what.backend, no_backend);
    EXPECT_EQ(bed.flows().counters().inserted, 1u);
}

TEST_P(direct_connections, a_forged_checksum_opens_no_flow_and_passes) {
    auto packet = packet_of(direct(), segment::open);
    packet.back() ^= std::byte{1};
    auto const sent = bed.send(packet);
    EXPECT_EQ(sent.what.what, verdict::pass());
    EXPECT_EQ(sent.bytes, packet);
    EXPECT_EQ(bed.flows().counters().inserted, 0u);
}

/// What README lists under "Not supported" for hosts that do not ask for it.
TEST_P(direct_connections, pass_untracked_by_default) {
    testbed plain{ku()};
    auto const packet = packet_of(direct(), segment::open);
    auto const sent = plain.send(packet);
    EXPECT_EQ(sent.what.what, verdict::pass());
    EXPECT_EQ(sent.bytes, packet);
    EXPECT_EQ(plain.flows().counters().inserted, 0u);
}

TEST_P(direct_connections, other_destinations_have_no_flow) {
    conversation const elsewhere{GetParam().protocol,
                                 {GetParam().client, 4000},
                                 {side{GetParam().pod, 0}.is_ipv6() ? "fd00:244::8" : "10.244.1.8", 80}};
    auto const packet = packet_of(elsewhere, segment::open);
    auto const sent = bed.send(packet);
    EXPECT_EQ(sent.what.what, verdict::pass());
    EXPECT_EQ(sent.bytes, packet);
    EXPECT_EQ(bed.flows().counters().inserted, 0u);
}

INSTANTIATE_TEST_SUITE_P(table, direct_connections, testing::ValuesIn(all),
                         [](auto const& one) { return one.param.name; });

/// RFC 792: an error about a connection finds the sender by the port that it sent with.
TEST(direct_connections_errors, quote_what_the_client_sent) {
    testbed bed{"ku vip 10.96.0.1/32 port 80 target_port 80\nku pod 10.96.0.1/32 10.244.1.7\n", with_direct};
    conversation const direct{17, {"192.0.2.1", 4000}, {"10.244.1.7", 80}};
    (void)bed.send(packet_of({17, {"192.0.2.1", 4000}, {"10.96.0.1", 80}}, segment::open));
    auto const moved = bed.send(packet_of(direct, segment::open));
    ASSERT_NE(build::read(moved.bytes).source.port, 4000u);
    build::packet error{.source = "10.244.1.7", .destination = "192.0.2.1", .protocol = 1};
    error.message = seed::icmp(3, 3, 0, moved.bytes);
    auto const told = bed.send(bytes_of(error));
    EXPECT_EQ(told.what.what, verdict::forward());
    octets const quotation(told.bytes.begin() + 28, told.bytes.end());
    EXPECT_EQ(build::read(quotation), direct);
}

/// A later Service with the pod's own address: UDP follows it with the next packet, TCP stays.
TEST(direct_connections_edits, an_address_that_becomes_a_service_takes_udp_over) {
    for (unsigned const protocol : {6u, 17u}) {
        SCOPED_TRACE(protocol);
        testbed bed{"ku vip 10.96.0.1/32 port 80 target_port 80\nku pod 10.96.0.1/32 10.244.1.7\n", with_direct};
        conversation const direct{protocol, {"192.0.2.1", 4000}, {"10.244.1.7", 80}};
        (void)bed.send(packet_of(direct, segment::open));
        (void)bed.send(packet_of(direct.back(), segment::accept));
        bed.configure("ku vip 10.244.1.7/32 port 80 target_port 80\nku pod 10.244.1.7/32 10.244.1.9\n");
        auto const next = bed.send(packet_of(direct, segment::data));
        EXPECT_EQ(build::read(next.bytes).destination.address, protocol == 6 ? "10.244.1.7" : "10.244.1.9");
    }
}

} // namespace
} // namespace kubeproxy::direct_connections_tests
