#include "tap_forwarder/operations/ku_reload.hpp"

#include <gtest/gtest.h>

#include <string>

namespace examples::ku_reload_tests {
namespace {

constexpr char const* first_file = "ku conf node 192.0.2.10\n"
                                   "ku vip 10.96.0.1/32 port 80\nku pod 10.96.0.1/32 10.244.1.7\n"
                                   "ku vip 10.96.0.2/32 port 80\nku pod 10.96.0.2/32 10.244.1.8\n";

class ku_reload : public testing::Test {
  protected:
    ku_reload() { EXPECT_EQ(replace_ku(control_, {}, first_file), std::nullopt); }
    [[nodiscard]] auto service(std::string const& name) const { return control_.configuration().find(name); }

    kubeproxy::service_source workers_;
    kubeproxy::controller control_{workers_};
};

TEST_F(ku_reload, what_is_the_same_stays_untouched_what_is_gone_goes_what_is_new_comes) {
    auto const kept = service("10.96.0.1/32:80");
    ASSERT_NE(kept, nullptr);
    EXPECT_EQ(replace_ku(control_, {},
                         "ku vip 10.96.0.1/32 port 80\nku pod 10.96.0.1/32 10.244.1.7\n"
                         "ku vip 10.96.0.3/32 port 53\n"),
              std::nullopt);
    EXPECT_EQ(service("10.96.0.1/32:80"), kept) << "the same object, so that nothing is compiled anew";
    EXPECT_EQ(service("10.96.0.2/32:80"), nullptr);
    EXPECT_NE(service("10.96.0.3/32:53"), nullptr);
    EXPECT_TRUE(control_.configuration().node().addresses.empty()) << "the file says no node any more";
}

TEST_F(ku_reload, a_bad_file_is_refused_with_its_line_and_changes_nothing) {
    auto const generation = control_.current()->generation;
    auto const wrong = replace_ku(control_, {}, "ku vip 10.96.0.9/32\nku vip nowhere\n");
    ASSERT_TRUE(wrong);
    EXPECT_TRUE(wrong->starts_with("line 2: ")) << *wrong;
    EXPECT_NE(service("10.96.0.2/32:80"), nullptr);
    EXPECT_EQ(service("10.96.0.9/32"), nullptr);
    EXPECT_EQ(control_.current()->generation, generation);
}

TEST_F(ku_reload, another_pod_replaces_the_service) {
    EXPECT_EQ(replace_ku(control_, {}, "ku vip 10.96.0.1/32 port 80\nku pod 10.96.0.1/32 10.244.1.9\n"), std::nullopt);
    ASSERT_EQ(service("10.96.0.1/32:80")->slices.front().endpoints.size(), 1u);
    EXPECT_EQ(kubeproxy::to_text(service("10.96.0.1/32:80")->slices.front().endpoints.front().address), "10.244.1.9");
}

TEST_F(ku_reload, services_of_the_cluster_stay) {
    kubeproxy::service_configuration web{};
    web.name = "default/web";
    web.addresses.push_back(
        {.where = *kubeproxy::parse_prefix("10.96.1.1"), .kind = kubeproxy::service_address_kind::cluster_ip});
    web.ports.push_back({.port = 80});
    ASSERT_EQ(control_.configuration().put(web), std::nullopt);
    EXPECT_EQ(replace_ku(control_, {}, ""), std::nullopt);
    EXPECT_NE(service("default/web"), nullptr);
    EXPECT_EQ(control_.configuration().service_count(), 1u);
}

} // namespace
} // namespace examples::ku_reload_tests
