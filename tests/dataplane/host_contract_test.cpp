#include "support/testbed.hpp"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

namespace kubeproxy::host_contract_tests {
namespace {
using testing_support::test_packet;

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

} // namespace
} // namespace kubeproxy::host_contract_tests
