#include "models/cluster_run.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

// Random histories of a cluster, as kubectl prints its objects, with traffic of TCP, UDP and SCTP meanwhile: every
// packet gets what a slow model of kube-proxy's semantics says.

namespace kubeproxy::cluster_histories_tests {
namespace {

#ifdef __has_feature // clang's
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define KUBEPROXY_IS_SANITIZED
#endif
#endif
#if defined(KUBEPROXY_IS_SANITIZED) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::size_t histories = 800;
#elif defined(__OPTIMIZE__)
constexpr std::size_t histories = 5400; // a minute
#else
constexpr std::size_t histories = 1000;
#endif
constexpr std::size_t steps_of_a_history = 40;

constexpr unsigned parts = 4; ///< that may run at the same time

bool is_long() { return std::getenv("KUBEPROXY_LONG") != nullptr; }

struct expectation {
    char const* what;
    std::size_t histories; ///< in which it is met once, at most
};

/// They would agree about nothing, too.
constexpr std::array met_in_histories{
    expectation{"pass", 10}, expectation{"forward", 10}, expectation{"reject", 10}, expectation{"drop", 10},
    expectation{"original", 10}, expectation{"reply", 10}, expectation{"masqueraded", 10}, expectation{"as it was", 10},
    expectation{"hairpin", 10}, expectation{"unbound", 10}, expectation{"selected again", 10},
    expectation{"reopened", 10}, expectation{"expired", 10}, expectation{"drained", 10}, expectation{"ended", 100},
    // duplicate endpoints
    expectation{"several entries", 10},
    // contested addresses
    expectation{"contested", 10}, expectation{"kept from an older one", 20}, expectation{"released to the next", 10},
    expectation{"taken by a cluster IP or node port", 500},
    // session affinity; "let go": clients whose affinity had ended, that another endpoint of theirs met
    expectation{"bound", 10}, expectation{"bound by another port", 100}, expectation{"let go", 100},
    // identity of a Service port
    expectation{"by a former name", 10},
    // removed endpoints
    expectation{"outlived its endpoint", 10}, expectation{"ended by removal", 10},
    expectation{"answered with a reset", 10},
    // addresses that move
    expectation{"outlived its frontend", 20}, expectation{"followed its frontend", 100}};

class cluster_histories : public testing::TestWithParam<unsigned> {};

TEST_P(cluster_histories, proxy_and_model_agree) {
    auto const count = (is_long() ? 100'000 : histories) / parts;
    std::map<std::string, std::size_t> met;
    for (std::uint64_t i = 0; i < count; ++i) {
        cluster::history_run run{1 + i * parts + GetParam()};
        ASSERT_TRUE(run.run(steps_of_a_history));
        for (auto const& [what, n] : run.tally()) met[what] += n;
    }
    for (auto const& [what, in] : met_in_histories) EXPECT_GE(met[what], count / in) << what;
    if (is_long())
        for (auto const& [what, n] : met) std::printf("%9zu %s\n", n, what.c_str());
}

INSTANTIATE_TEST_SUITE_P(parts, cluster_histories, testing::Range(0u, parts));

} // namespace
} // namespace kubeproxy::cluster_histories_tests
