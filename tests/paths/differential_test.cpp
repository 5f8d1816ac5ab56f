#include "models/slow_model_run.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

// The whole path against a slow model of it, packet by packet, on random traffic through all four translations:
// verdict, relation and every octet that comes out. What the model learns from the path is said in slow_model.hpp.

namespace kubeproxy::differential_tests {
namespace {

using slow::differential_run;
using slow::run_case;

std::size_t how_many_times() { return std::getenv("KUBEPROXY_LONG") != nullptr ? 50 : 2; }

constexpr std::size_t packets_of_a_run = 20'000;

class differential : public testing::TestWithParam<run_case> {};

TEST_P(differential, path_and_model_agree) {
    for (std::size_t i = 0; i < how_many_times() && !HasFailure(); ++i) {
        auto c = GetParam();
        c.seed += 1000 * i;
        differential_run run{c};
        run.run(packets_of_a_run);
    }
}

run_case const cases[] = {
    {.name = "everyday", .seed = 1, .mix = {}},
    {.name = "other_services", .seed = 2, .mix = {}},
    {.name = "many_new_flows", .seed = 3, .mix = {.fresh = 70}},
    {.name = "long_talks", .seed = 4, .mix = {.fresh = 4, .errors = 2, .fragments = 0, .odd = 0}},
    {.name = "errors", .seed = 5, .mix = {.errors = 50}},
    {.name = "fragments", .seed = 6, .mix = {.fragments = 60}},
    {.name = "fragments_without_spares", .seed = 7, .mix = {.fragments = 60}, .has_spares = false},
    {.name = "pods_come_and_go", .seed = 8, .mix = {}, .changes_pods = true},
    {.name = "silences", .seed = 11, .mix = {.fresh = 10, .errors = 3, .fragments = 2}, .has_silences = true},
    {.name = "small_ipv6_links", .seed = 9, .mix = {.fragments = 15}, .ipv6_mtu = 1280},
    {.name = "large_ipv6_links", .seed = 10, .mix = {.odd = 30}, .changes_pods = true, .ipv6_mtu = 9000},
};

// The runs above would agree about nothing, too. What they must have met; of what is forwarded, the families of the
// packet as it came and as it left:
constexpr char const* often[]{"44 fresh",
                              "44 original",
                              "44 reply",
                              "44 related",
                              "44 fresh masqueraded",
                              "44 reply masqueraded",
                              "44 related masqueraded",
                              "66 fresh",
                              "66 original",
                              "66 reply",
                              "66 related",
                              "66 fresh masqueraded",
                              "66 reply masqueraded",
                              "66 related masqueraded",
                              "46 fresh",
                              "46 original",
                              "64 reply",
                              "46 related",
                              "64 related",
                              "64 fresh masqueraded",
                              "64 original masqueraded",
                              "46 reply masqueraded",
                              "64 related masqueraded",
                              "46 related masqueraded",
                              "pass none"};
constexpr char const* sometimes[]{"reply no_endpoints",
                                  "reply backend_removed",
                                  "reply source_route",
                                  "reply too_big",
                                  "reply extension_after_fragment",
                                  "reply zero_udp_checksum",
                                  "drop truncated",
                                  "drop bad_length",
                                  "drop truncated_transport",
                                  "drop tiny_fragment",
                                  "drop bad_ipv4_checksum",
                                  "drop bad_icmp_checksum",
                                  "drop bad_transport_checksum",
                                  "drop icmp_type",
                                  "drop icmp_fragment",
                                  "drop sctp_fragment",
                                  "drop protocol_unsupported",
                                  "drop quoted_truncated",
                                  "drop quoted_icmp_error",
                                  "drop backend_removed",
                                  "drop ports_exhausted",
                                  "drop reject_forbidden",
                                  "drop fragment_held",
                                  "drop no_spare_packet"};

TEST(differential_traffic, meets_every_kind_of_outcome) {
    std::map<std::string, std::size_t> all;
    for (std::uint64_t const seed : {8u, 1008u, 2008u, 3008u}) {
        differential_run run{{.name = "tally", .seed = seed, .mix = {.errors = 15}, .changes_pods = true}};
        run.run(packets_of_a_run);
        for (auto const& [what, n] : run.tally()) all[what] += n;
    }
    for (auto const* const what : often) EXPECT_GT(all[what], 100u) << what;
    for (auto const* const what : sometimes) EXPECT_GT(all[what], 0u) << what;
    if (std::getenv("KUBEPROXY_LONG") != nullptr)
        for (auto const& [what, n] : all) std::printf("%8zu %s\n", n, what.c_str());
}

INSTANTIATE_TEST_SUITE_P(mixes, differential, testing::ValuesIn(cases), [](auto const& one) { return one.param.name; });

} // namespace
} // namespace kubeproxy::differential_tests
