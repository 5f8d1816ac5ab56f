#include "support/cluster_run.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

// Random histories of a cluster, as kubectl prints its objects, with traffic of TCP, UDP and SCTP meanwhile: every
// packet gets what a slow model of kube-proxy's semantics says.

namespace kubeproxy {
namespace {

#ifdef __has_feature // clang's
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define KUBEPROXY_IS_SANITIZED
#endif
#endif
#if defined(KUBEPROXY_IS_SANITIZED) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::size_t histories = 100;
#else
constexpr std::size_t histories = 1000;
#endif
constexpr std::size_t steps_of_a_history = 40;

TEST(cluster_histories, proxy_and_model_agree) {
    auto const count = std::getenv("KUBEPROXY_LONG") != nullptr ? 30 * histories : histories;
    std::map<std::string, std::size_t> met;
    for (std::uint64_t seed = 1; seed <= count; ++seed) {
        cluster::history_run run{seed};
        ASSERT_TRUE(run.run(steps_of_a_history));
        for (auto const& [what, n] : run.tally()) met[what] += n;
    }
    // They would agree about nothing, too.
    for (auto const* const what :
         {"pass", "forward", "reject", "drop", "original", "reply", "masqueraded", "as it was", "hairpin", "bound",
          "unbound", "outlived its endpoint", "selected again", "reopened", "expired", "drained"})
        EXPECT_GT(met[what], count / 10) << what;
    EXPECT_GT(met["bound by another port"], count / 100);
    EXPECT_GT(met["ended"], count / 100) << "connections whose endpoint has drained";
    EXPECT_GT(met["let go"], count / 100) << "clients whose affinity had ended, that another pod of theirs met";
    if (std::getenv("KUBEPROXY_LONG") != nullptr)
        for (auto const& [what, n] : met) std::printf("%9zu %s\n", n, what.c_str());
}

} // namespace
} // namespace kubeproxy
