#include "support/packet_builder.hpp"
#include "support/testbed.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <semaphore>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

// Two workers have packets of the same new flow at the same time, and the services change between the moments at which
// their bursts begin: they choose a backend by different snapshots.

namespace kubeproxy::workers_disagree_tests {
namespace {

using build::bytes_of;
using testing_support::octets;
using testing_support::test_packet;

/// Calls a function between the lookup of the packet's flow, which found nothing, and the insertion of the flow: when
/// the checksum is asked for after the packet's link has been asked for.
class paused_packet : public test_packet {
  public:
    paused_packet(octets const& bytes, std::function<void()> pause) : test_packet{bytes}, pause_{std::move(pause)} {}

    [[nodiscard]] bool is_from_local_pod() const noexcept {
        is_selected_ = true;
        return false;
    }
    [[nodiscard]] checksum_state transport_checksum() const noexcept {
        if (is_selected_ && pause_) std::exchange(pause_, nullptr)();
        return checksum_state::complete;
    }

  private:
    mutable bool is_selected_ = false;
    mutable std::function<void()> pause_;
};

using worker = proxy<paused_packet, shared_flow_table>;

struct service_case {
    char const* name;
    char const* vip;
    char const* client;
};
void PrintTo(service_case const& c, std::ostream* out) { *out << c.name; }

class workers_disagree : public testing::TestWithParam<service_case> {
  protected:
    workers_disagree() {
        EXPECT_TRUE(control_
                        .apply("ku conf snat4 198.18.0.1\nku vip " + vip() + " port 80 target_port 80 nat4\nku pod " +
                               vip() + " 10.0.0.1\n")
                        .ok());
    }
    [[nodiscard]] static std::string vip() {
        return std::string{GetParam().vip} +
               (std::string_view{GetParam().vip}.find(':') != std::string_view::npos ? "/128" : "/32");
    }

    struct result {
        outcome what;
        std::string pod;
    };
    static result send(worker& path, std::function<void()> pause) {
        paused_packet packet{bytes_of({.source = GetParam().client,
                                       .destination = GetParam().vip,
                                       .message = seed::udp(octets(8), 4000, 80)}),
                             std::move(pause)};
        result r;
        path.process(std::span{&packet, 1}, std::chrono::seconds{1}, [&](paused_packet& p, outcome const& o) {
            auto const to = std::as_const(p).bytes();
            r = {o, std::to_string(std::to_integer<int>(to[16])) + '.' + std::to_string(std::to_integer<int>(to[19]))};
        });
        return r;
    }

    /// Sends the packet by both workers; `late` begins after the change, and `early` enters the flow while `late` is
    /// about to. Returns what became of the packet of `late`.
    result meet(std::string const& change) {
        std::binary_semaphore has_begun{0}, may_enter{0};
        std::thread early{[&] {
            auto const sent = send(early_, [&] { has_begun.release(), may_enter.acquire(); });
            EXPECT_EQ(sent.what.what, verdict::forward());
            EXPECT_EQ(sent.pod, "10.1");
        }};
        has_begun.acquire();
        EXPECT_TRUE(control_.apply(change).ok());
        bool has_met = false;
        auto const sent = send(late_, [&] { has_met = true, may_enter.release(), early.join(); });
        EXPECT_TRUE(has_met);
        if (early.joinable()) may_enter.release(), early.join();
        return sent;
    }

    service_source services_;
    shared_flow_table flows_{{64, 64}, secret{1}, services_};
    shared_affinity_table clients_{64, secret{1}};
    controller control_{services_};
    worker early_{flows_, clients_, services_, {.share = {0, 2}}};
    worker late_{flows_, clients_, services_, {.share = {1, 2}}};
};

TEST_P(workers_disagree, a_packet_does_not_follow_a_flow_to_a_pod_that_was_gone_before_its_burst) {
    auto const sent = meet("ku pod " + vip() + " 10.0.0.1 del\nku pod " + vip() + " 10.0.0.2\n");
    EXPECT_EQ(sent.what.what, verdict::forward());
    EXPECT_EQ(sent.what.relation, flow_relation::fresh);
    EXPECT_EQ(sent.pod, "10.2");
    EXPECT_EQ(send(early_, {}).pod, "10.2") << "the later choice stays";
    EXPECT_EQ(flows_.counters().flows(), 1u);
}

TEST_P(workers_disagree, a_packet_follows_the_flow_where_both_have_its_backend) {
    auto const sent = meet("ku pod " + vip() + " 10.0.0.2\n");
    EXPECT_EQ(sent.what.what, verdict::forward());
    EXPECT_EQ(sent.what.relation, flow_relation::original);
    EXPECT_EQ(sent.pod, "10.1");
    EXPECT_EQ(flows_.counters().inserted, 1u);
}

INSTANTIATE_TEST_SUITE_P(sources, workers_disagree,
                         testing::Values(service_case{"nat44_keeps_the_source", "192.0.2.1", "198.51.100.1"},
                                         service_case{"nat64_changes_the_source", "fd00::1", "2001:db8::1"}),
                         [](auto const& test) { return std::string{test.param.name}; });

} // namespace
} // namespace kubeproxy::workers_disagree_tests
