#include "tap_forwarder/operations/data_plane_metrics.hpp"
#include "tap_forwarder/operations/process_metrics.hpp"
#include "tap_forwarder/operations/service_metrics.hpp"

#include "support/packet_builder.hpp"
#include "support/testbed.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>

// What is counted is read off packets that were sent, and promtool reads the text.

namespace examples::metrics_tests {
namespace {

using kubeproxy::build::bytes_of;
using kubeproxy::testing_support::testbed;
namespace seed = kubeproxy::seed;

std::string all_of(testbed& bed) {
    metrics_text out;
    kubeproxy::verdict_counters const* workers[]{&bed.path().verdicts()};
    std::array<std::uint64_t, 32> const bursts{3, 0, 1, 0, 2};
    write_verdict_metrics(out, workers);
    write_flow_metrics(out, bed.flows().counters(), bed.flows().capacity(),
                       census_of(bed.flows(), [](auto const& f) { f(); }));
    write_burst_metrics(out, bursts);
    write_affinity_metrics(out, 3, {.remembered = 5, .evicted = 1});
    write_service_metrics(out, bed.control(), bed.services());
    write_process_metrics(out, std::chrono::system_clock::now());
    return std::move(out).finish();
}

/// Whether the line is there.
testing::AssertionResult has(std::string const& metrics, std::string const& line) {
    if (metrics.find('\n' + line + '\n') != std::string::npos) return testing::AssertionSuccess();
    auto const name = line.substr(0, line.find_first_of("{ "));
    std::string like;
    for (auto at = metrics.find('\n' + name); at != std::string::npos; at = metrics.find('\n' + name, at + 1))
        like += metrics.substr(at + 1, metrics.find('\n', at + 1) - at);
    return testing::AssertionFailure() << line << " is not there, but\n" << like;
}

kubeproxy::seed::octets tcp(std::string const& from, std::string const& to, unsigned port, std::size_t payload = 0) {
    return bytes_of({.source = from,
                     .destination = to,
                     .protocol = 6,
                     .message = seed::tcp(seed::counted(payload), 2, 4711, port)});
}

constexpr auto ku = "ku conf node 192.0.2.1 snat4 192.0.2.1\n"
                    "ku vip 10.96.0.1/32 port 80 target_port 8080 node_port 30080\nku pod 10.96.0.1/32 10.244.0.1\n"
                    "ku vip 2001:db8:96::1/128 port 80 nat4\nku pod 2001:db8:96::1/128 10.244.0.2\n"
                    "ku vip 10.96.0.9/32 port 80\n";

TEST(metrics, count_packets_and_bytes_where_they_belong) {
    testbed bed{ku};
    bed.send(tcp("198.51.100.1", "10.96.0.1", 80, 60));  // 100 bytes
    bed.send(tcp("198.51.100.1", "10.96.0.1", 80));      // 40
    bed.send(tcp("198.51.100.2", "192.0.2.1", 30080));   // masqueraded
    bed.send(tcp("2001:db8::1", "2001:db8:96::1", 80));  // leaves as IPv4: 40 bytes, and a port of ours
    bed.send(tcp("198.51.100.1", "10.96.0.9", 80));      // nobody serves: a reset
    bed.send(tcp("198.51.100.1", "203.0.113.9", 80, 2)); // not ours: 42
    auto const text = all_of(bed);
    EXPECT_TRUE(has(text, R"(kubeproxy_packets_total{verdict="forward",reason=""} 4)"));
    EXPECT_TRUE(has(text, R"(kubeproxy_bytes_total{verdict="forward",reason=""} 220)"));
    EXPECT_TRUE(has(text, R"(kubeproxy_bytes_total{verdict="pass",reason=""} 42)"));
    EXPECT_TRUE(has(text, R"(kubeproxy_packets_total{verdict="reply",reason="no_endpoints"} 1)"));
    EXPECT_TRUE(has(text, R"(kubeproxy_packets_total{verdict="drop",reason="truncated"} 0)"));
    std::string const web = R"({namespace="",service="10.96.0.1/32:80",port="80",protocol="tcp, udp",ip_family="ipv4")";
    EXPECT_TRUE(has(text, "kubeproxy_service_packets_total" + web + "} 3"));
    EXPECT_TRUE(has(text, "kubeproxy_service_bytes_total" + web + "} 180"));
    EXPECT_TRUE(has(text, "kubeproxy_service_flows_total" + web + "} 2"));
    EXPECT_TRUE(has(text, "kubeproxy_backend_packets_total" + web + R"(,backend="10.244.0.1:8080"} 3)"));
    EXPECT_TRUE(has(text, R"(kubeproxy_flows{protocol="tcp",state="syn sent"} 3)"));
    EXPECT_TRUE(has(text, "kubeproxy_flows_created_total 3"));
    EXPECT_TRUE(has(text, R"(kubeproxy_flows_ended_total{cause="expired"} 0)"));
    EXPECT_TRUE(has(text, R"(kubeproxy_source_ports_in_use{protocol="tcp"} 2)"));
    EXPECT_TRUE(has(text, R"(kubeproxy_source_ports_in_use{protocol="udp"} 0)"));
    EXPECT_TRUE(has(text, "kubeproxy_affinity_clients 3"));
    EXPECT_TRUE(has(text, "kubeproxy_snapshot_generation 1"));
    EXPECT_TRUE(has(text, "kubeproxy_snapshot_compile_duration_seconds_count 1"));
    EXPECT_TRUE(has(text, "kubeproxy_services 3"));
}

TEST(metrics, burst_sizes_are_a_histogram) {
    testbed bed{ku};
    auto const text = all_of(bed); // three bursts of 1, one of 3, two of 5
    EXPECT_TRUE(has(text, R"(kubeproxy_burst_packets_bucket{le="1"} 3)"));
    EXPECT_TRUE(has(text, R"(kubeproxy_burst_packets_bucket{le="2"} 3)"));
    EXPECT_TRUE(has(text, R"(kubeproxy_burst_packets_bucket{le="4"} 4)"));
    EXPECT_TRUE(has(text, R"(kubeproxy_burst_packets_bucket{le="8"} 6)"));
    EXPECT_TRUE(has(text, R"(kubeproxy_burst_packets_bucket{le="+Inf"} 6)"));
    EXPECT_TRUE(has(text, "kubeproxy_burst_packets_sum 16"));
    EXPECT_TRUE(has(text, "kubeproxy_burst_packets_count 6"));
}

TEST(metrics, services_of_a_cluster_have_namespace_name_and_port) {
    testbed bed{""};
    kubeproxy::service_configuration web{.name = "shop/we\"b"};
    web.addresses.push_back({*kubeproxy::parse_prefix("10.96.0.1/32"), kubeproxy::service_address_kind::cluster_ip});
    web.ports.push_back(
        {.name = "http", .protocol = kubeproxy::service_protocol::tcp, .port = 80, .target_port = 8080});
    web.slices.push_back({.endpoints = {{.address = *kubeproxy::parse_address("10.244.0.1")}}});
    ASSERT_FALSE(bed.control().configuration().put(web));
    bed.control().publish();
    EXPECT_TRUE(has(all_of(bed), "kubeproxy_backend_packets_total{namespace=\"shop\",service=\"we\\\"b\",port=\"http\","
                                 "protocol=\"tcp\",ip_family=\"ipv4\",backend=\"10.244.0.1:8080\"} 0"));
}

TEST(metrics, promtool_has_nothing_to_say) {
    if (std::system("command -v promtool >/dev/null") != 0) GTEST_SKIP() << "promtool is not installed";
    testbed bed{ku};
    bed.send(tcp("198.51.100.1", "10.96.0.1", 80));
    auto const file = testing::TempDir() + "metrics" + std::to_string(::getpid());
    std::ofstream{file} << all_of(bed);
    EXPECT_EQ(std::system(("promtool check metrics <" + file).c_str()), 0);
    std::ofstream{file} << "# TYPE bad_total gauge\nbad_total 1\n";
    EXPECT_NE(std::system(("promtool check metrics <" + file + " >/dev/null 2>&1").c_str()), 0) << "and it can have";
    std::remove(file.c_str());
}

} // namespace
} // namespace examples::metrics_tests
