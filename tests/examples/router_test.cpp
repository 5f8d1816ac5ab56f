#include "examples/router_bench.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <random>
#include <string>
#include <string_view>
#include <vector>

// The router with the library in it, from frame to frame: a client's link (0) and a pods' link (1).

namespace examples::router_tests {
namespace {

using namespace std::chrono_literals;
using namespace router_bench_support;
using kubeproxy::build::bytes_of;
namespace seed = kubeproxy::seed;

constexpr char const* services = "ku conf snat4 10.244.1.1\n"
                                 "ku vip 10.96.0.1/32 port 80 target_port 8080\nku pod 10.96.0.1/32 10.244.1.7\n"
                                 "ku vip 10.96.0.6/32 port 80 nat6\nku pod 10.96.0.6/32 fd00:244::7\n"
                                 "ku vip fd00:96::4/128 port 80 nat4\nku pod fd00:96::4/128 10.244.1.7\n";

class routing : public testing::Test {
  protected:
    routing() { bench_.configure(services); }
    ~routing() override { EXPECT_TRUE(bench_.counters().adds_up()); }

    /// Both sides are known, as after some traffic.
    void introduce() {
        bench_.receive(0, arp_request(client_mac, "192.0.2.2", "192.0.2.1"));
        bench_.receive(1, arp_request(pod_mac, "10.244.1.7", "10.244.1.1"));
        bench_.receive(0, solicitation(client_mac, "2001:db8::2", "2001:db8::1"));
        bench_.receive(1, solicitation(pod_mac, "fd00:244::7", "fd00:244::1"));
        bench_.clear();
    }
    /// The one packet that was sent.
    octets only_packet(std::uint32_t link) {
        EXPECT_EQ(bench_.sent().size(), 1u);
        if (bench_.sent().size() != 1) return {};
        EXPECT_EQ(bench_.sent()[0].link, link);
        return bench_.sent()[0].packet();
    }
    router_bench bench_;
};

octets from_client(std::string const& to, octets const& message, unsigned protocol = 17, unsigned ttl = 64,
                   unsigned fragment = 0x4000) {
    bool const is_ipv6 = to.find(':') != std::string::npos;
    return bytes_of({.source = is_ipv6 ? "2001:db8::2" : "192.0.2.2",
                     .destination = to,
                     .protocol = protocol,
                     .message = message,
                     .ttl = ttl,
                     .fragment = fragment});
}

TEST_F(routing, a_packet_to_a_service_goes_to_the_pod_with_one_hop_less) {
    introduce();
    bench_.receive(0, ip_frame(client_mac, from_client("10.96.0.1", seed::udp(seed::counted(8), 4711, 80))));
    auto const expected = bytes_of({.source = "192.0.2.2",
                                    .destination = "10.244.1.7",
                                    .message = seed::udp(seed::counted(8), 4711, 8080),
                                    .ttl = 63});
    EXPECT_EQ(only_packet(1), expected);
    EXPECT_EQ(bench_.sent()[0].ethernet().destination, pod_mac);
    EXPECT_EQ(bench_.sent()[0].ethernet().source, bench_.mac(1));
}

TEST_F(routing, every_translation_leaves_by_the_pods_link_and_its_reply_by_the_clients) {
    introduce();
    for (std::string const vip : {"10.96.0.1", "10.96.0.6", "fd00:96::4"}) {
        SCOPED_TRACE(vip);
        bench_.clear();
        bench_.receive(0, ip_frame(client_mac, from_client(vip, seed::udp(seed::counted(8), 4711, 80))));
        auto const request = only_packet(1);
        ASSERT_FALSE(request.empty());
        EXPECT_TRUE(kubeproxy::build::transport_checksum_is_valid(request));
        bench_.clear();
        bench_.receive(1, ip_frame(pod_mac, reply_to(request)));
        auto const reply = only_packet(0);
        ASSERT_FALSE(reply.empty());
        EXPECT_EQ(source_of(reply), vip);
        EXPECT_TRUE(kubeproxy::build::transport_checksum_is_valid(reply));
    }
}

// kube-proxy's detectLocalMode BridgeInterface and InterfaceNamePrefix: what comes by another link is masqueraded.
TEST_F(routing, local_pods_are_recognized_by_their_link) {
    introduce();
    struct row {
        kubeproxy::pod_link_names names;
        std::string source;
    };
    auto const* const masqueraded = "10.244.1.1";
    auto const* const kept = "192.0.2.2";
    unsigned port = 4000;
    for (auto const& [names, source] : {row{{"client", false}, kept}, row{{"cl", true}, kept},
                                        row{{"cl", false}, masqueraded}, row{{"pods", false}, masqueraded}}) {
        bench_.recognize_pods_by(names);
        bench_.clear();
        bench_.receive(0, ip_frame(client_mac, from_client("10.96.0.1", seed::udp(octets(8), ++port, 80))));
        EXPECT_EQ(source_of(only_packet(1)), source) << names.name << ' ' << names.is_prefix;
    }
}

TEST_F(routing, the_neighbour_is_asked_for_while_the_packet_waits) {
    bench_.receive(0, ip_frame(client_mac, from_client("10.244.1.7", seed::udp(seed::counted(8)))));
    ASSERT_EQ(bench_.sent().size(), 1u);
    EXPECT_EQ(bench_.sent()[0].ethernet().destination, broadcast_mac);
    auto const question = read_arp(bench_.sent()[0].behind_ethernet());
    ASSERT_TRUE(question);
    EXPECT_EQ(kubeproxy::to_text(question->target), "10.244.1.7");
    EXPECT_EQ(kubeproxy::to_text(question->sender), "10.244.1.1");
    EXPECT_EQ(bench_.counters().waiting, 1u);
    bench_.clear();
    bench_.receive(1, arp_reply(pod_mac, "10.244.1.7", bench_.mac(1), "10.244.1.1"));
    EXPECT_EQ(destination_of(only_packet(1)), "10.244.1.7");
}

TEST_F(routing, a_neighbour_that_does_not_answer_is_an_unreachable_host) {
    introduce();
    bench_.receive(0, ip_frame(client_mac, from_client("10.244.1.9", seed::udp(seed::counted(8)))));
    bench_.clear();
    for (auto const now : {1s, 2s, 3s}) bench_.tick(now);
    auto const error = bench_.last_ip(0);
    ASSERT_GE(error.size(), 28u);
    EXPECT_EQ(octets(error.begin() + 20, error.begin() + 22), seed::of({3, 1})); // RFC 792
    EXPECT_EQ(destination_of(error), "192.0.2.2");
}

TEST_F(routing, arp_and_solicitations_for_our_addresses_are_answered_and_for_others_not) {
    bench_.receive(0, arp_request(client_mac, "192.0.2.2", "192.0.2.1"));
    ASSERT_EQ(bench_.sent().size(), 1u);
    auto const reply = read_arp(bench_.sent()[0].behind_ethernet());
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->what, arp_message::operation::reply);
    EXPECT_EQ(reply->sender_mac, bench_.mac(0));
    EXPECT_EQ(reply->target_mac, client_mac);
    bench_.clear();
    bench_.receive(0, solicitation(client_mac, "2001:db8::2", "2001:db8::1"));
    auto const advertisement = read_neighbour_message(only_packet(0));
    ASSERT_TRUE(advertisement);
    EXPECT_EQ(advertisement->type, neighbour_message::advertisement);
    EXPECT_EQ(advertisement->flags, 0xe000'0000u); // router, solicited, override
    EXPECT_EQ(advertisement->link_layer, bench_.mac(0));
    bench_.clear();
    for (std::string const other : {"192.0.2.3", "10.96.0.1", "10.244.1.1"})
        bench_.receive(0, arp_request(client_mac, "192.0.2.2", other));
    bench_.receive(0, solicitation(client_mac, "2001:db8::2", "fd00:96::4"));
    EXPECT_TRUE(bench_.sent().empty());
}

TEST(routing_for_services, arp_and_solicitations_for_services_are_answered_where_that_is_wanted) {
    router_bench bench{proxied_addresses::services};
    bench.configure(services);
    bench.receive(0, arp_request(client_mac, "192.0.2.2", "10.96.0.1"));
    bench.receive(0, solicitation(client_mac, "2001:db8::2", "fd00:96::4"));
    EXPECT_EQ(bench.sent().size(), 2u);
    bench.receive(0, arp_request(client_mac, "192.0.2.2", "10.96.0.2"));
    EXPECT_EQ(bench.sent().size(), 2u);
}

TEST_F(routing, a_probe_for_a_free_address_is_told_to_all_that_it_is_ours) { // RFC 4861 section 7.2.4
    bench_.receive(0, solicitation(client_mac, "::", "2001:db8::1"));
    auto const answer = read_neighbour_message(only_packet(0));
    ASSERT_TRUE(answer);
    EXPECT_EQ(kubeproxy::to_text(answer->destination), "ff02::1");
    EXPECT_EQ(answer->flags, 0xa000'0000u); // not solicited
}

TEST_F(routing, the_last_hop_ends_here_with_an_error_from_the_clients_gateway) {
    introduce();
    for (std::string const to : {"10.244.1.7", "10.96.0.1", "fd00:96::4"}) {
        bench_.clear();
        bench_.receive(0, ip_frame(client_mac, from_client(to, seed::udp(seed::counted(8), 4711, 80), 17, 1)));
        auto const error = only_packet(0);
        bool const is_ipv6 = to.find(':') != std::string::npos;
        EXPECT_EQ(source_of(error), is_ipv6 ? "2001:db8::1" : "192.0.2.1");
        EXPECT_EQ(error.at(is_ipv6 ? 40 : 20), is_ipv6 ? std::byte{3} : std::byte{11}) << "time exceeded";
    }
    EXPECT_EQ(bench_.counters().of(router_event::hop_limit_exceeded), 3u);
}

TEST_F(routing, a_service_packet_too_long_for_the_pods_link_is_told_in_the_clients_words) {
    router_bench narrow{proxied_addresses::none, 1400};
    narrow.configure(services);
    narrow.receive(0, arp_request(client_mac, "192.0.2.2", "192.0.2.1"));
    narrow.receive(1, arp_request(pod_mac, "10.244.1.7", "10.244.1.1"));
    narrow.clear();
    narrow.receive(0, ip_frame(client_mac, from_client("10.96.0.1", seed::udp(seed::counted(1450), 4711, 80))));
    auto const error = narrow.last_ip(0);
    ASSERT_GE(error.size(), 48u);
    EXPECT_EQ(octets(error.begin() + 20, error.begin() + 22), seed::of({3, 4}));
    EXPECT_EQ(octets(error.begin() + 26, error.begin() + 28), seed::be16(1400));
    octets const quoted(error.begin() + 28, error.end());
    EXPECT_EQ(destination_of(quoted), "10.96.0.1") << "as the client sent it";
    EXPECT_EQ(octets(quoted.begin() + 22, quoted.begin() + 24), seed::be16(80));
    EXPECT_TRUE(narrow.counters().adds_up());
}

TEST_F(routing, what_may_be_cut_is_cut_for_a_narrower_link) {
    router_bench narrow{proxied_addresses::none, 1400};
    narrow.receive(1, arp_request(pod_mac, "10.244.1.7", "10.244.1.1"));
    narrow.clear();
    narrow.receive(0, ip_frame(client_mac, from_client("10.244.1.7", seed::udp(seed::counted(1450)), 17, 64, 0)));
    EXPECT_EQ(narrow.sent().size(), 2u);
    for (auto const& piece : narrow.sent()) EXPECT_LE(piece.packet().size(), 1400u);
    EXPECT_TRUE(narrow.counters().adds_up());
}

TEST_F(routing, a_super_packet_stays_whole_through_every_translation) {
    introduce();
    for (std::string const vip : {"10.96.0.1", "10.96.0.6", "fd00:96::4"}) {
        SCOPED_TRACE(vip);
        bench_.clear();
        auto const packet = from_client(vip, seed::tcp(seed::counted(30'000), 0x02, 4711, 80), 6);
        auto const header = std::size_t{vip.find(':') != std::string::npos ? 40u : 20u};
        bench_.receive(0, super_frame(client_mac, packet, header, 1400));
        auto const whole = only_packet(1);
        ASSERT_GT(whole.size(), 30'000u);
        auto const offloads = bench_.sent()[0].offloads();
        bool const leaves_as_ipv6 = std::to_integer<unsigned>(whole[0]) >> 4 == 6;
        EXPECT_EQ(offloads.gso_type, leaves_as_ipv6 ? vnet_header::gso_tcpv6 : vnet_header::gso_tcpv4);
        EXPECT_EQ(offloads.gso_size, 1400);
        EXPECT_EQ(offloads.flags, vnet_header::needs_checksum);
        EXPECT_EQ(offloads.checksum_start, 14 + (leaves_as_ipv6 ? 40 : 20));
        EXPECT_EQ(offloads.checksum_offset, 16);
    }
}

TEST_F(routing, a_super_packet_that_may_be_cut_becomes_packets_of_the_other_family) {
    introduce();
    auto const packet = from_client("10.96.0.6", seed::udp(seed::counted(8400), 4711, 80), 17, 64, 0);
    bench_.receive(0, super_frame(client_mac, packet, 20, 1400));
    EXPECT_EQ(bench_.sent().size(), 12u) << "six datagrams of 1400 bytes, each in two parts";
    for (auto const& one : bench_.sent()) {
        EXPECT_LE(one.packet().size(), 1280u);
        EXPECT_EQ(one.offloads().flags, 0);
        EXPECT_EQ(one.packet().at(6), std::byte{44}) << "a fragment header: IPv4 routers might have cut it";
    }
    EXPECT_EQ(bench_.counters().of(router_event::segmented), 1u);
}

TEST_F(routing, echo_to_the_router_is_answered) {
    introduce();
    bench_.receive(0,
                   ip_frame(client_mac, from_client("10.244.1.1", seed::icmp(8, 0, 0x12340001, seed::counted(56)), 1)));
    EXPECT_EQ(only_packet(0), bytes_of({.source = "10.244.1.1",
                                        .destination = "192.0.2.2",
                                        .protocol = 1,
                                        .message = seed::icmp(0, 0, 0x12340001, seed::counted(56))}));
    bench_.clear();
    bench_.receive(
        0, ip_frame(client_mac, from_client("2001:db8::1", seed::icmp(128, 0, 0x12340001, seed::counted(56)), 58)));
    EXPECT_EQ(only_packet(0), bytes_of({.source = "2001:db8::1",
                                        .destination = "2001:db8::2",
                                        .protocol = 58,
                                        .message = seed::icmp(129, 0, 0x12340001, seed::counted(56))}));
}

TEST_F(routing, what_the_router_has_no_program_for_is_refused) {
    introduce();
    bench_.receive(0, ip_frame(client_mac, from_client("192.0.2.1", seed::udp(seed::counted(8), 4711, 53))));
    auto const error = only_packet(0);
    EXPECT_EQ(octets(error.begin() + 20, error.begin() + 22), seed::of({3, 3}));
    bench_.clear();
    bench_.receive(0, ip_frame(client_mac, from_client("192.0.2.1", seed::tcp({}, 0x02, 4711, 22), 6)));
    EXPECT_EQ(only_packet(0).at(20 + 13), std::byte{0x14}) << "RST, ACK";
}

TEST_F(routing, no_route_is_told_to_the_sender) {
    introduce();
    bench_.receive(0, ip_frame(client_mac, from_client("203.0.113.9", seed::udp(seed::counted(8)))));
    auto const error = only_packet(0);
    EXPECT_EQ(octets(error.begin() + 20, error.begin() + 22), seed::of({3, 0}));
}

TEST_F(routing, what_is_not_to_be_forwarded_is_dropped_with_its_reason) {
    introduce();
    auto const udp = seed::udp(seed::counted(8));
    auto const packet = [&](std::string const& from, std::string const& to) {
        return bytes_of({.source = from, .destination = to, .message = udp});
    };
    struct {
        router_drop why;
        octets frame;
    } const rows[]{
        {router_drop::not_for_us, ip_frame(client_mac, packet("192.0.2.2", "10.244.1.7"), pod_mac)},
        {router_drop::not_routable, ip_frame(client_mac, packet("192.0.2.2", "10.244.1.7"), broadcast_mac)},
        {router_drop::not_routable, ip_frame(client_mac, packet("192.0.2.2", "224.0.0.251"))},
        {router_drop::not_routable, ip_frame(client_mac, packet("192.0.2.2", "127.0.0.1"))},
        {router_drop::not_routable, ip_frame(client_mac, packet("192.0.2.2", "255.255.255.255"))},
        {router_drop::not_routable, ip_frame(client_mac, packet("2001:db8::2", "fe80::1"))},
        {router_drop::not_routable, ip_frame(client_mac, packet("fe80::2", "fd00:244::7"))},
        {router_drop::bad_source, ip_frame(client_mac, packet("127.0.0.1", "10.244.1.7"))},
        {router_drop::bad_source, ip_frame(client_mac, packet("224.0.0.1", "10.244.1.7"))},
        {router_drop::bad_source, ip_frame(client_mac, packet("::", "fd00:244::7"))},
        {router_drop::reverse_path, ip_frame(client_mac, packet("10.244.1.7", "192.0.2.2"))},
        {router_drop::reverse_path, ip_frame(client_mac, packet("203.0.113.9", "10.244.1.7"))},
        {router_drop::reverse_path, ip_frame(client_mac, packet("192.0.2.1", "10.244.1.7"))},
        {router_drop::reverse_path, ip_frame(client_mac, packet("10.244.1.1", "10.244.1.7"))},
        {router_drop::reverse_path, ip_frame(client_mac, packet("fd00:244::7", "2001:db8::2"))},
        {router_drop::reverse_path, ip_frame(client_mac, packet("2001:db8:9::1", "fd00:244::7"))},
        {router_drop::bad_packet,
         ip_frame(client_mac, seed::with(packet("192.0.2.2", "10.244.1.7"), {{8, seed::of({9})}}))},
        {router_drop::bad_packet, ip_frame(client_mac, seed::cut(packet("192.0.2.2", "10.244.1.7"), 19))},
        {router_drop::not_ip, frame_of(client_mac, bench_.mac(0), 0x8100, seed::counted(60))},
        {router_drop::bad_neighbour, frame_of(client_mac, broadcast_mac, ether_type::arp, seed::counted(27))},
        {router_drop::bad_neighbour, frame_of(client_mac, broadcast_mac, ether_type::arp, seed::counted(28))},
        {router_drop::bad_neighbour, arp_request(client_mac, "10.244.1.9", "192.0.2.1")},
        {router_drop::bad_neighbour, arp_request(client_mac, "192.0.2.1", "192.0.2.1")},
        {router_drop::bad_neighbour, arp_reply(client_mac, "203.0.113.9", our_mac, "192.0.2.1")},
        {router_drop::bad_neighbour, solicitation(client_mac, "fd00:244::9", "2001:db8::1")},
        {router_drop::bad_neighbour, solicitation(client_mac, "2001:db8::1", "2001:db8::1")},
        {router_drop::truncated_frame, seed::counted(23)},
    };
    for (auto const& row : rows) {
        SCOPED_TRACE(std::string{name(row.why)});
        auto const before = bench_.counters().of(row.why);
        bench_.receive(0, row.frame);
        EXPECT_EQ(bench_.counters().of(row.why), before + 1);
        EXPECT_TRUE(bench_.sent().empty());
    }
}

// At most a quarter of the buffers waits for neighbours, so that reading goes on. The test bench needs a free buffer
// for each frame that it receives.
TEST_F(routing, packets_to_unused_addresses_leave_buffers_for_others) {
    introduce();
    auto const to_nobody = [&](std::uint32_t i) {
        return ip_frame(client_mac,
                        from_client("10.244.1." + std::to_string(100 + i % 64), seed::udp(seed::counted(8))));
    };
    constexpr std::uint32_t buffers = 1024, frames = 3 * buffers;
    for (std::uint32_t i = 0; i < frames; ++i) bench_.receive(0, to_nobody(i));
    EXPECT_EQ(bench_.counters().waiting, buffers / 4);
    EXPECT_EQ(bench_.counters().of(router_drop::unresolved), frames - buffers / 4);
    EXPECT_EQ(bench_.counters().of(router_drop::no_buffer), 0u);
    bench_.clear();
    bench_.receive(0, ip_frame(client_mac, from_client("10.244.1.7", seed::udp(seed::counted(8)))));
    EXPECT_EQ(destination_of(only_packet(1)), "10.244.1.7") << "others are not delayed";
    bench_.clear();
    bench_.receive(1, arp_reply(pod_mac, "10.244.1.163", bench_.mac(1), "10.244.1.1"));
    ASSERT_EQ(bench_.sent().size(), 4u) << "the last of those that wait for it: one of 64";
    EXPECT_EQ(destination_of(bench_.sent()[0].packet()), "10.244.1.163");
}

TEST_F(routing, requests_of_one_link_do_not_make_stations_of_another_unreachable) {
    for (std::uint32_t i = 0; i < 5000; ++i) {
        char sender[32];
        std::snprintf(sender, sizeof sender, "fd00:244::1:%x", i);
        bench_.receive(1, solicitation(pod_mac, sender, "fd00:244::1"));
    }
    bench_.receive(0, solicitation(client_mac, "2001:db8::2", "2001:db8::1"));
    bench_.clear();
    bench_.receive(1, ip_frame(pod_mac, bytes_of({.source = "fd00:244::1:7",
                                                  .destination = "2001:db8::2",
                                                  .message = seed::udp(seed::counted(8))})));
    EXPECT_EQ(destination_of(only_packet(0)), "2001:db8::2");
}

TEST(routing_by_source, the_mode_says_which_sources_are_let_in) { // RFC 3704 sections 2.2 and 2.4
    struct {
        reverse_path mode;
        char const* source;
        bool is_let_in;
    } const rows[]{
        {reverse_path::strict, "192.0.2.2", true},    {reverse_path::strict, "10.244.1.9", false},
        {reverse_path::strict, "203.0.113.9", false}, {reverse_path::loose, "10.244.1.9", true},
        {reverse_path::loose, "203.0.113.9", false},  {reverse_path::loose, "192.0.2.1", false},
        {reverse_path::off, "203.0.113.9", true},     {reverse_path::off, "10.244.1.9", true},
        {reverse_path::strict, "2001:db8::2", true},  {reverse_path::strict, "fd00:244::9", false},
        {reverse_path::loose, "fd00:244::9", true},   {reverse_path::loose, "2001:db8:9::1", false},
        {reverse_path::off, "2001:db8:9::1", true},
    };
    for (auto const& row : rows) {
        SCOPED_TRACE(std::string{row.source} + " in mode " + std::to_string(static_cast<int>(row.mode)));
        router_bench bench{proxied_addresses::none, 1500, row.mode};
        bool const is_ipv6 = std::string_view{row.source}.find(':') != std::string_view::npos;
        bench.receive(1, is_ipv6 ? solicitation(pod_mac, "fd00:244::7", "fd00:244::1")
                                 : arp_request(pod_mac, "10.244.1.7", "10.244.1.1"));
        bench.clear();
        bench.receive(0, ip_frame(client_mac, bytes_of({.source = row.source,
                                                        .destination = is_ipv6 ? "fd00:244::7" : "10.244.1.7",
                                                        .message = seed::udp(seed::counted(8))})));
        EXPECT_EQ(bench.sent().size(), row.is_let_in ? 1u : 0u);
        EXPECT_EQ(bench.counters().of(router_drop::reverse_path), row.is_let_in ? 0u : 1u);
        EXPECT_TRUE(bench.counters().adds_up());
    }
}

TEST_F(routing, a_device_that_is_down_is_counted) {
    introduce();
    bench_.refuse(write_result::down);
    bench_.receive(0, ip_frame(client_mac, from_client("10.244.1.7", seed::udp(seed::counted(8)))));
    EXPECT_EQ(bench_.counters().of(router_drop::link_down), 1u);
}

TEST_F(routing, any_frames_at_all_are_accounted_for) {
    introduce();
    auto const seeds = std::vector{
        ip_frame(client_mac, from_client("10.96.0.1", seed::tcp(seed::counted(40), 0x02, 4711, 80), 6)),
        ip_frame(client_mac, from_client("10.96.0.6", seed::udp(seed::counted(40), 4711, 80), 17, 64, 0)),
        ip_frame(client_mac, from_client("fd00:96::4", seed::tcp(seed::counted(40), 0x02, 4711, 80), 6)),
        super_frame(client_mac, from_client("10.96.0.6", seed::tcp(seed::counted(4000), 0x02, 4711, 80), 6), 20, 500),
        arp_request(client_mac, "192.0.2.2", "192.0.2.1"),
        solicitation(client_mac, "2001:db8::2", "2001:db8::1"),
        ip_frame(client_mac, from_client("192.0.2.1", seed::icmp(8, 0, 1, seed::counted(8)), 1))};
    std::mt19937 random{4711};
    for (int i = 0; i < 20'000; ++i) {
        auto frame = seeds[random() % seeds.size()];
        for (auto n = random() % 6; n > 0; --n)
            frame[random() % std::min<std::size_t>(frame.size(), 100)] = static_cast<std::byte>(random());
        if (random() % 8 == 0) frame.resize(random() % frame.size());
        bench_.receive(static_cast<std::uint32_t>(random() % 2), frame, std::chrono::milliseconds{i});
        if (i % 100 == 0) bench_.tick(std::chrono::milliseconds{i});
        bench_.clear();
        ASSERT_TRUE(bench_.counters().adds_up()) << i;
    }
}

} // namespace
} // namespace examples::router_tests
