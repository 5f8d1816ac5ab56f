#include "kubeproxy/handover/file.hpp"
#include "kubeproxy/handover/transfer.hpp"

#include "support/packet_builder.hpp"
#include "support/testbed.hpp"
#include "support/threads.hpp"

#include <gtest/gtest.h>

#include <string>
#include <variant>
#include <vector>

// One process saves its flows, another takes them over: packets go on as if nothing had happened.

namespace kubeproxy::flow_transfer_tests {
namespace {
using testing_support::overlap_meter, testing_support::repeat_until_overlapped, testing_support::run_together;

using namespace std::chrono_literals;
using build::bytes_of;
using testing_support::octets;
using testing_support::testbed;

struct translation {
    std::string name;
    std::string conf, vip_prefix, pod, words;
    std::string client, vip;
    std::string client_at_pod; ///< empty: an address of ours
};
void PrintTo(translation const& t, std::ostream* out) { *out << t.name; }

translation const all[] = {
    {"nat44", "", "10.96.0.0/16", "10.244.1.7", "", "192.0.2.1", "10.96.0.1", "192.0.2.1"},
    {"nat66", "", "fd00:96::/64", "fd00:244::7", "", "2001:db8::1", "fd00:96::1", "2001:db8::1"},
    {"nat46", "ku conf nat64_prefix 64:ff9b::/96\n", "10.96.0.0/16", "fd00:244::7", "nat6", "192.0.2.1", "10.96.0.1",
     "64:ff9b::192.0.2.1"},
    {"nat64", "ku conf snat4 198.18.0.9\n", "fd00:96::/64", "10.244.1.7", "nat4", "2001:db8::1", "fd00:96::1",
     "198.18.0.9"},
};

std::string ku_of(translation const& t) {
    return t.conf + "ku vip " + t.vip_prefix + " port 80 target_port 8080 " + t.words + "\nku pod " + t.vip_prefix +
           ' ' + t.pod + '\n';
}
/// The same with others before it, so that every index is another one.
std::string ku_moved(translation const& t) {
    return "ku vip 203.0.113.0/24 port 80\nku pod 203.0.113.0/24 10.9.9.1 10.9.9.2 10.9.9.3\n" + ku_of(t);
}

flow_time at(std::chrono::nanoseconds now) {
    return flow_time{std::chrono::duration_cast<std::chrono::milliseconds>(now)};
}

std::vector<std::byte> saved(testbed& bed, std::chrono::nanoseconds now) {
    return flow_file_of(images_of(bed.flows(), *bed.control().current(), at(now)));
}
restore_counts restored(testbed& bed, std::vector<std::byte> const& file, std::chrono::nanoseconds now) {
    auto const images = read_flow_file(file);
    if (auto const* wrong = std::get_if<flow_file_error>(&images)) {
        ADD_FAILURE() << wrong->reason;
        return {};
    }
    return restore_flows(bed.flows(), std::get<flow_images>(images), *bed.control().current(), at(now));
}

octets from_client(translation const& t, unsigned flags, unsigned port = 4711) {
    return bytes_of(
        {.source = t.client, .destination = t.vip, .protocol = 6, .message = seed::tcp({}, flags, port, 80)});
}
octets from_pod(translation const& t, unsigned flags, unsigned to) {
    return bytes_of({.source = t.pod,
                     .destination = t.client_at_pod,
                     .protocol = 6,
                     .message = seed::tcp({}, flags, 8080, to),
                     .identification = 0x4321,
                     .fragment = 0x4000});
}
unsigned source_port(octets const& p) {
    std::size_t const at = std::to_integer<unsigned>(p[0]) >> 4 == 4 ? 20 : 40;
    return std::to_integer<unsigned>(p[at]) << 8 | std::to_integer<unsigned>(p[at + 1]);
}

constexpr unsigned syn = 0x02, syn_ack = 0x12, ack = 0x10;

/// Opens a connection; the port that the pod sees.
unsigned establish(testbed& bed, translation const& t, std::chrono::nanoseconds now = 0s, unsigned port = 4711) {
    auto const first = bed.send(from_client(t, syn, port), now);
    EXPECT_EQ(first.what.what, verdict::forward());
    auto const seen = source_port(first.bytes);
    EXPECT_EQ(bed.send(from_pod(t, syn_ack, seen), now).what.what, verdict::forward());
    EXPECT_EQ(bed.send(from_client(t, ack, port), now).what.what, verdict::forward());
    return seen;
}

class flow_transfer : public testing::TestWithParam<translation> {};
INSTANTIATE_TEST_SUITE_P(family_pairs, flow_transfer, testing::ValuesIn(all),
                         [](auto const& each) { return each.param.name; });

TEST_P(flow_transfer, a_connection_goes_on_in_the_next_process) {
    auto const& t = GetParam();
    testbed before{ku_of(t)}, after{ku_moved(t)};
    auto const seen = establish(before, t);
    auto const file = saved(before, 10s);
    EXPECT_EQ(restored(after, file, 5000s), (restore_counts{.restored = 1}));

    auto const there = after.send(from_client(t, ack), 5001s), there_before = before.send(from_client(t, ack), 11s);
    EXPECT_EQ(there.what.relation, flow_relation::original);
    EXPECT_EQ(there.bytes, there_before.bytes);
    auto const back = after.send(from_pod(t, ack, seen), 5001s), back_before = before.send(from_pod(t, ack, seen), 11s);
    EXPECT_EQ(back.what.relation, flow_relation::reply);
    EXPECT_EQ(back.bytes, back_before.bytes);
    EXPECT_EQ(after.services().backend_traffic(there.what.backend).packets, 2u);
    EXPECT_EQ(*after.control().current()->services[there.what.service].name,
              t.vip_prefix.find(':') == std::string::npos ? t.vip_prefix + ":80" : '[' + t.vip_prefix + "]:80");
}

TEST_P(flow_transfer, states_and_lifetimes_are_carried_relative_to_now) {
    auto const& t = GetParam();
    testbed before{ku_of(t)}, after{ku_of(t)};
    establish(before, t, 0s, 1001);
    before.send(from_client(t, syn, 1002), 0s);
    auto const file = saved(before, 100s); // half-open for 240 s, established for 7440 s
    ASSERT_EQ(restored(after, file, 9000s).restored, 2u);
    after.send(from_client(t, ack, 9999), 9000s + 139s); // sweeps
    EXPECT_EQ(after.flows().counters().expired, 0u);
    EXPECT_EQ(after.send(from_client(t, ack, 1001), 9000s + 7339s).what.relation, flow_relation::original);
    EXPECT_EQ(after.send(from_client(t, ack, 1002), 9000s + 7339s).what.relation, flow_relation::fresh);
}

TEST_P(flow_transfer, what_expired_meanwhile_is_left_out) {
    auto const& t = GetParam();
    testbed before{ku_of(t)}, after{ku_of(t)};
    before.send(from_client(t, syn), 0s);
    EXPECT_EQ(images_of(before.flows(), *before.control().current(), at(240s)).flows.size(), 0u);
    auto images = images_of(before.flows(), *before.control().current(), at(239s));
    ASSERT_EQ(images.flows.size(), 1u);
    images.flows[0].silent = images.flows[0].timeout;
    EXPECT_EQ(restore_flows(after.flows(), images, *after.control().current(), at(0s)), (restore_counts{.expired = 1}));
}

TEST_P(flow_transfer, flows_of_removed_services_and_pods_stay_behind) {
    auto const& t = GetParam();
    testbed before{ku_of(t)};
    establish(before, t);
    auto const file = saved(before, 0s);
    auto const remove_pod = "ku pod " + t.vip_prefix + ' ' + t.pod + " del\n";
    auto const remove_vip = "ku vip " + t.vip_prefix + " del\n";
    for (auto const& change : {remove_pod, remove_vip, remove_vip + "ku vip " + t.vip_prefix + " port 81 " + t.words}) {
        testbed after{ku_of(t) + change};
        EXPECT_EQ(restored(after, file, 0s), (restore_counts{.orphaned = 1})) << change;
        EXPECT_EQ(after.flows().counters().flows(), 0u);
    }
    before.configure(remove_pod);
    auto const images = images_of(before.flows(), *before.control().current(), at(0s));
    EXPECT_TRUE(images.flows.empty());
    EXPECT_EQ(images.left_out, 1u);
}

TEST_P(flow_transfer, orphans_wait_for_their_service) {
    auto const& t = GetParam();
    testbed before{ku_of(t)}, after{""};
    establish(before, t);
    auto images = images_of(before.flows(), *before.control().current(), at(0s));
    after.control().publish();
    std::vector<flow_image> orphans;
    EXPECT_EQ(restore_flows(after.flows(), images, *after.control().current(), at(0s), &orphans).orphaned, 1u);
    ASSERT_EQ(orphans, images.flows);
    images.flows.swap(orphans);
    after.configure(ku_of(t));
    EXPECT_EQ(restore_flows(after.flows(), images, *after.control().current(), at(0s)).restored, 1u);
    EXPECT_EQ(after.send(from_client(t, ack)).what.relation, flow_relation::original);
}

TEST_P(flow_transfer, a_flow_that_is_there_already_stays) {
    auto const& t = GetParam();
    testbed before{ku_of(t)};
    establish(before, t);
    EXPECT_EQ(restored(before, saved(before, 1s), 1s), (restore_counts{.refused = 1}));
    EXPECT_EQ(before.flows().counters().flows(), 1u);
    testbed small{ku_of(t), {}, {1, 1}};
    auto const port = establish(small, t, 0s, 5555);
    (void)small.send(from_pod(t, ack, port), 0s); // a handshake alone would make room
    EXPECT_EQ(restored(small, saved(before, 1s), 1s), (restore_counts{.refused = 1})) << "an established one fills it";
}

TEST(flow_transfer_ports, of_masqueraded_flows_are_not_given_to_others) {
    auto const& t = all[3];
    testbed before{ku_of(t)}, after{ku_of(t)}, fresh{ku_of(t)};
    auto const port = establish(before, t);
    auto other = t;
    other.client = "2001:db8::2";
    EXPECT_EQ(source_port(fresh.send(from_client(other, syn)).bytes), port) << "a new process begins with this port";
    ASSERT_EQ(restored(after, saved(before, 0s), 0s).restored, 1u);
    EXPECT_NE(source_port(after.send(from_client(other, syn)).bytes), port);
    auto const back = after.send(from_pod(t, ack, port));
    EXPECT_EQ(back.bytes, before.send(from_pod(t, ack, port)).bytes) << "to the first client";
}

TEST(flow_transfer_policy, masquerade_guarded_addresses_and_echo) {
    std::string const ku = "ku conf node 192.0.2.1\n"
                           "ku vip 10.96.0.1/32 port 80 node_port 30080\n"
                           "ku vip 10.96.0.2/32\n"
                           "ku pod 10.96.0.1/32 10.244.0.1 10.244.0.2\nku pod 10.96.0.2/32 10.244.0.3\n";
    testbed before{ku}, after{ku};
    auto const node_port = bytes_of({.source = "198.51.100.1",
                                     .destination = "192.0.2.1",
                                     .protocol = 6,
                                     .message = seed::tcp({}, syn, 4711, 30080)});
    auto const echo = bytes_of({.source = "198.51.100.1",
                                .destination = "10.96.0.2",
                                .protocol = 1,
                                .message = seed::icmp(8, 0, 0x12340001, seed::counted(8))});
    auto const masqueraded = before.send(node_port), pinged = before.send(echo);
    ASSERT_TRUE(masqueraded.what.masqueraded);
    ASSERT_EQ(pinged.what.what, verdict::forward());
    ASSERT_EQ(restored(after, saved(before, 0s), 0s).restored, 2u);
    auto const again = after.send(node_port);
    EXPECT_TRUE(again.what.masqueraded);
    EXPECT_EQ(again.what.relation, flow_relation::original);
    EXPECT_EQ(again.bytes, masqueraded.bytes);
    EXPECT_EQ(after.send(echo).what.relation, flow_relation::original);
    EXPECT_EQ(after.send(echo).bytes, pinged.bytes);
}

TEST(flow_transfer_shared, goes_on_beside_workers) {
    auto const& t = all[0];
    repeat_until_overlapped(2, 20, [&](overlap_meter& meter) {
        service_source services;
        shared_flow_table flows{{4096, 64}, secret{1}, services};
        shared_affinity_table clients{64, secret{1}};
        controller control{services};
        ASSERT_TRUE(control.apply(ku_of(t)).ok());
        flow_images images;
        {
            proxy<testing_support::test_packet, shared_flow_table> path{flows, clients, services};
            auto const send = [&](unsigned port) {
                testing_support::test_packet one{from_client(t, syn, port)};
                path.process(std::span{&one, 1}, 0s, [](auto&, outcome const&) {});
            };
            for (unsigned port = 1; port <= 2000; ++port) send(port);
            run_together(2, [&](std::size_t which) {
                if (which == 0)
                    for (int walk = 0; walk < 20; ++walk) {
                        meter.step(0);
                        images = images_of(flows, *control.current(), at(0s));
                    }
                else
                    for (unsigned port = 2001; port <= 3000; ++port) {
                        meter.step(1);
                        send(port);
                    }
            });
        }
        EXPECT_GE(images.flows.size(), 2000u);
        shared_flow_table other{{4096, 64}, secret{1}, services};
        EXPECT_EQ(restore_flows(other, images, *control.current(), at(0s)).restored, images.flows.size());
        EXPECT_EQ(other.counters().flows(), images.flows.size());
    });
}

} // namespace
} // namespace kubeproxy::flow_transfer_tests
