#include "support/packet_builder.hpp"
#include "support/testbed.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>

namespace kubeproxy::host_contract_tests {
namespace {
using testing_support::test_packet;
using namespace std::chrono_literals;

using shared_proxy = proxy<test_packet, shared_flow_table>;

/// The text of the error that making a proxy of these ends with; empty if there is none.
std::string error_of(shared_flow_table& flows, service_source& services) {
    shared_affinity_table clients{64, secret{1}};
    try {
        shared_proxy const proxy{flows, clients, services};
    } catch (std::invalid_argument const& error) {
        return error.what();
    }
    return "";
}

// A worker of another domain could read a flow record while it is reused (Hart et al., IPDPS 2006: memory is reused
// after every thread was quiescent in the same domain).

TEST(host_contract, a_table_knows_the_domain_of_its_source) {
    service_source services;
    shared_flow_table const by_source{{64, 64}, secret{1}, services};
    shared_flow_table const by_domain{{64, 64}, secret{1}, services.quiescence()};
    flow_table const own{{64, 64}, secret{1}};
    EXPECT_EQ(by_source.quiescence(), &services.quiescence());
    EXPECT_EQ(by_domain.quiescence(), &services.quiescence());
    EXPECT_EQ(own.quiescence(), nullptr);
}

TEST(host_contract, a_proxy_of_a_table_and_a_source_of_one_domain_is_made) {
    service_source services;
    shared_flow_table by_source{{64, 64}, secret{1}, services}, by_domain{{64, 64}, secret{1}, services.quiescence()};
    EXPECT_EQ(error_of(by_source, services), "");
    EXPECT_EQ(error_of(by_domain, services), "");
}

TEST(host_contract, a_proxy_of_a_table_and_a_source_of_different_domains_fails_and_takes_no_place) {
    service_source services, other;
    quiescent_domain bare;
    shared_flow_table of_other{{64, 64}, secret{1}, other}, of_bare{{64, 64}, secret{1}, bare};
    for (std::size_t i = 0; i <= quiescent_domain::max_workers; ++i) {
        EXPECT_NE(error_of(of_other, services).find("different quiescent domains"), std::string::npos);
        EXPECT_NE(error_of(of_bare, services).find("shared_flow_table{size, secret, services}"), std::string::npos);
    }
    EXPECT_TRUE(services.has_room() && other.has_room());
}

template <class Error, class Make>
std::string error_of(Make make) {
    try {
        static_cast<void>(make());
    } catch (Error const& error) {
        return error.what();
    }
    return "";
}

// flow_ref has 30 bits for the number of a record, and some records are in reserve.
TEST(host_contract, a_table_of_more_flows_than_can_be_numbered_fails) {
    constexpr auto max = std::uint32_t{1} << 29;
    for (flow_table_size const size : {flow_table_size{max + 1, 64}, {64, max + 1}, {64, 0xffff'ffff}}) {
        auto const error = error_of<std::length_error>([&] { return flow_table{size, secret{1}}; });
        EXPECT_NE(error.find("at most 2^29 (536870912) flows"), std::string::npos) << error;
        auto const shared = error_of<std::length_error>([&] {
            quiescent_domain domain;
            return shared_flow_table{size, secret{1}, domain}.capacity();
        });
        EXPECT_EQ(shared, error);
    }
}

// Shares of workers do not overlap (RFC 6056, RFC 6864): the index of one is less than their count.
TEST(host_contract, a_share_that_is_none_fails) {
    service_source services;
    flow_table flows{{64, 64}, secret{1}};
    for (worker_share const share :
         {worker_share{0, 0}, {1, 1}, {2, 1}, {5, 4}, {0, 4097}, {0xffff'ffff, 0xffff'ffff}}) {
        auto const error = error_of<std::invalid_argument>([&] {
            return proxy<test_packet>{flows, services, {.share = share}}.verdicts().packets(action::pass);
        });
        auto const said = "worker_share{" + std::to_string(share.index) + ", " + std::to_string(share.count) + "}";
        EXPECT_EQ(error.substr(0, said.size()), said);
        EXPECT_EQ(error_of<std::invalid_argument>([&] { return port_pool<ipv4>{1, share}; }), error);
        EXPECT_EQ(error_of<std::invalid_argument>([&] { return identification_pool{1, share, 1s}; }), error);
    }
    EXPECT_TRUE(services.has_room());
    for (worker_share const share : {worker_share{0, 1}, {3, 4}, {4095, 4096}})
        EXPECT_EQ(error_of<std::invalid_argument>([&] { return identification_pool{1, share, 1s}; }), "");
}

#if !defined(NDEBUG)
class host_contract_DeathTest : public testing::Test {
  protected:
    void process(auto&& settle) {
        test_packet packet{build::bytes_of({})};
        proxy_.process(std::span{&packet, 1}, 0s, settle);
    }

    service_source services_;
    flow_table flows_{{64, 64}, secret{1}};
    proxy<test_packet> proxy_{flows_, services_};
};

TEST_F(host_contract_DeathTest, a_proxy_that_is_used_by_its_own_callback_is_found) {
    auto const again = [&](auto&&...) { process([](auto&&...) {}); };
    auto const tick = [&](auto&&...) {
        proxy_.tick(
            0s, [](auto&&...) {}, [](std::size_t) -> test_packet* { return nullptr; });
    };
    EXPECT_DEATH(process(again), "each worker needs a proxy of its own");
    EXPECT_DEATH(process(tick), "each worker needs a proxy of its own");
    process([](auto&&...) {});
    process([](auto&&...) {}); // one after the other
}

TEST_F(host_contract_DeathTest, a_proxy_that_two_threads_use_at_a_time_is_found) {
    auto const by_another = [&](auto&&...) { std::thread{[&] { process([](auto&&...) {}); }}.join(); };
    EXPECT_DEATH(process(by_another), "each worker needs a proxy of its own");
    std::thread{[&] { process([](auto&&...) {}); }}.join();
    process([](auto&&...) {}); // one after the other
}
#endif

} // namespace
} // namespace kubeproxy::host_contract_tests
