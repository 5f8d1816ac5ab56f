#include "support/claim_script.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

// Several services claim the same address and port, or the same node port: which of them serves it, what the others
// still serve, and what is reported. Kubernetes leaves it open; these are kube-proxy's users' expectations
// (kubernetes#69599, kubernetes#97076, projectcalico/felix#2770).

namespace kubeproxy::contested_claims_tests {
namespace {

using testing_support::claim_script;
using testing_support::service_of;

struct claim_case {
    std::string_view name;
    std::string_view script;
};
void PrintTo(claim_case const& c, std::ostream* out) { *out << c.name; }

class contested_claims : public testing::TestWithParam<claim_case> {};

TEST_P(contested_claims, are_served_by_one) { claim_script{}.run(GetParam().script); }

std::string name_of(testing::TestParamInfo<claim_case> const& one) { return std::string{one.param.name}; }

INSTANTIATE_TEST_SUITE_P(
    external_ips, contested_claims,
    testing::Values(
        claim_case{"only_the_pair_is_contested", R"(put a ip 10.96.0.1 ext 203.0.113.9 port 80 node 30080
            put b ip 10.96.0.2 ext 203.0.113.9 ext 203.0.113.8 port 80 node 30081 port 443
            lost b: 203.0.113.9/32 port 80 tcp is served by a
            at 203.0.113.9 80 a
            at 203.0.113.9 443 b
            at 203.0.113.8 80 b
            at 10.96.0.2 80 b
            at 10.96.0.1 80 a
            at 192.0.2.11 30080 a
            at 192.0.2.11 30081 b)"},
        claim_case{"who_has_it_keeps_it_from_an_older_one", R"(put b ip 10.96.0.2 ext 203.0.113.9 port 80 created 9
            put a ip 10.96.0.1 ext 203.0.113.9 port 80 created 1
            lost a: 203.0.113.9/32 port 80 tcp is served by b
            at 203.0.113.9 80 b)"},
        claim_case{"who_has_it_keeps_it_when_it_is_changed", R"(put b ip 10.96.0.2 ext 203.0.113.9 port 80 created 9
            put a ip 10.96.0.1 ext 203.0.113.9 port 80 created 1
            lost a: 203.0.113.9/32 port 80 tcp is served by b
            put b ip 10.96.0.2 lb 203.0.113.9 port 443 port 80 node 30080 created 9
            at 203.0.113.9 80 b
            at 203.0.113.9 443 b)"},
        claim_case{"read_together_the_oldest_gets_it", R"(together
            put a ip 10.96.0.1 ext 203.0.113.9 port 80 created 3
            put b ip 10.96.0.2 lb 203.0.113.9 port 80 created 1
            put c ip 10.96.0.3 ext 203.0.113.9 port 80 created 2
            publish
            lost a: 203.0.113.9/32 port 80 tcp is served by b
            lost c: 203.0.113.9/32 port 80 tcp is served by b
            at 203.0.113.9 80 b)"},
        claim_case{"of_the_same_age_the_first_name_gets_it", R"(together
            put ns-1/b ip 10.96.0.2 ext 203.0.113.9 port 80 created 1
            put ns-1/a ip 10.96.0.1 ext 203.0.113.9 port 80 created 1
            publish
            lost ns-1/b: 203.0.113.9/32 port 80 tcp is served by ns-1/a
            at 203.0.113.9 80 ns-1/a)"},
        claim_case{"one_of_unknown_age_counts_as_the_newest", R"(together
            put a ip 10.96.0.1 ext 203.0.113.9 port 80
            put b ip 10.96.0.2 ext 203.0.113.9 port 80 created 9
            publish
            lost a: 203.0.113.9/32 port 80 tcp is served by b
            at 203.0.113.9 80 b)"},
        claim_case{"a_deleted_service_releases_it", R"(put a ip 10.96.0.1 ext 203.0.113.9 port 80
            put b ip 10.96.0.2 ext 203.0.113.9 port 80
            lost b: 203.0.113.9/32 port 80 tcp is served by a
            delete a
            at 203.0.113.9 80 b
            at 10.96.0.1 80 nobody)"},
        claim_case{"an_edited_service_releases_it", R"(put a ip 10.96.0.1 ext 203.0.113.9 port 80
            put b ip 10.96.0.2 ext 203.0.113.9 port 80
            lost b: 203.0.113.9/32 port 80 tcp is served by a
            put a ip 10.96.0.1 port 80
            at 203.0.113.9 80 b
            put a ip 10.96.0.1 ext 203.0.113.9 port 80
            lost a: 203.0.113.9/32 port 80 tcp is served by b
            put b ip 10.96.0.2 ext 203.0.113.9 port 81
            at 203.0.113.9 80 a
            at 203.0.113.9 81 b)"},
        claim_case{"the_next_of_three_by_age", R"(put a ip 10.96.0.1 ext 203.0.113.9 port 80 created 5
            put b ip 10.96.0.2 ext 203.0.113.9 port 80 created 9
            lost b: 203.0.113.9/32 port 80 tcp is served by a
            put c ip 10.96.0.3 ext 203.0.113.9 port 80 created 1
            lost c: 203.0.113.9/32 port 80 tcp is served by a
            delete a
            at 203.0.113.9 80 c
            delete c
            at 203.0.113.9 80 b
            delete b
            at 203.0.113.9 80 nobody)"},
        claim_case{"one_that_waits_may_leave", R"(put a ip 10.96.0.1 ext 203.0.113.9 port 80
            put b ip 10.96.0.2 ext 203.0.113.9 port 80
            lost b: 203.0.113.9/32 port 80 tcp is served by a
            delete b
            at 203.0.113.9 80 a
            delete a
            at 203.0.113.9 80 nobody)"},
        claim_case{"released_and_claimed_together", R"(put a ip 10.96.0.1 ext 203.0.113.9 port 80 created 5
            put b ip 10.96.0.2 ext 203.0.113.9 port 80 created 4
            lost b: 203.0.113.9/32 port 80 tcp is served by a
            together
            delete a
            put c ip 10.96.0.3 ext 203.0.113.9 port 80 created 3
            publish
            at 203.0.113.9 80 c)"},
        claim_case{"two_may_exchange_their_addresses", R"(put a ip 10.96.0.1 ext 203.0.113.1 port 80
            put b ip 10.96.0.2 ext 203.0.113.2 port 80
            together
            put a ip 10.96.0.1 ext 203.0.113.2 port 80
            put b ip 10.96.0.2 ext 203.0.113.1 port 80
            publish
            at 203.0.113.2 80 a
            at 203.0.113.1 80 b)"},
        claim_case{"created_again_is_another_service", R"(put a ip 10.96.0.1 ext 203.0.113.9 port 80 created 5
            put b ip 10.96.0.2 ext 203.0.113.9 port 80 created 6
            lost b: 203.0.113.9/32 port 80 tcp is served by a
            put a ip 10.96.0.1 ext 203.0.113.9 port 80 created 7
            lost a: 203.0.113.9/32 port 80 tcp is served by b
            at 203.0.113.9 80 b)"},
        claim_case{"protocols_are_apart", R"(put a ip 10.96.0.1 ext 203.0.113.9 port 53/udp
            put b ip 10.96.0.2 ext 203.0.113.9 port 53 port 53/sctp
            at 203.0.113.9 53/udp a
            at 203.0.113.9 53 b
            at 203.0.113.9 53/sctp b)"},
        claim_case{"ipv6", R"(put a ip 2001:db8:96::1 ext 2001:db8:e::9 port 80
            put b ip 2001:db8:96::2 ext 2001:db8:e::9 port 80 port 443
            lost b: 2001:db8:e::9/128 port 80 tcp is served by a
            at 2001:db8:e::9 80 a
            at 2001:db8:e::9 443 b)"}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    cluster_ips, contested_claims,
    testing::Values(
        claim_case{"an_external_ip_cannot_take_cluster_dns", R"(put dns ip 10.96.0.10 port 53/udp port 53 created 1
            put tenant ip 10.96.0.66 ext 10.96.0.10 port 53/udp port 53 created 0
            lost tenant: 10.96.0.10/32 port 53 tcp is served by dns
            lost tenant: 10.96.0.10/32 port 53 udp is served by dns
            at 10.96.0.10 53/udp dns
            at 10.96.0.10 53 dns
            at 10.96.0.66 53/udp tenant)"},
        claim_case{"nor_if_it_was_there_first", R"(put tenant ip 10.96.0.66 ext 10.96.0.10 port 53/udp port 53 created 0
            at 10.96.0.10 53 tenant
            put dns ip 10.96.0.10 port 53/udp port 53 created 1
            lost tenant: 10.96.0.10/32 port 53 tcp is served by dns
            lost tenant: 10.96.0.10/32 port 53 udp is served by dns
            at 10.96.0.10 53/udp dns
            at 10.96.0.10 53 dns
            at 10.96.0.66 53 tenant
            delete dns
            at 10.96.0.10 53/udp tenant
            at 10.96.0.10 53 tenant)"},
        claim_case{"nor_a_load_balancer_ip", R"(together
            put tenant ip 10.96.0.66 lb 10.96.0.10 port 53/udp created 0
            put dns ip 10.96.0.10 port 53/udp created 9
            publish
            lost tenant: 10.96.0.10/32 port 53 udp is served by dns
            at 10.96.0.10 53/udp dns)"},
        // kube-proxy's map service-ips has an address, protocol and port; its set cluster-ips rejects what is in no
        // map.
        claim_case{"at_other_ports_of_a_cluster_ip_an_external_ip_is_served", R"(put dns ip 10.96.0.10 port 53/udp
            put tenant ip 10.96.0.66 ext 10.96.0.10 port 80
            at 10.96.0.10 80 tenant
            at 10.96.0.10 53/udp dns
            at 10.96.0.10 53 rejects
            at 10.96.0.10 81 rejects
            delete tenant
            at 10.96.0.10 80 rejects)"},
        claim_case{"one_cluster_ip_twice", R"(put a ip 10.96.0.1 port 80
            put b ip 10.96.0.1 port 80 port 443
            lost b: 10.96.0.1/32 port 80 tcp is served by a
            lost b: 10.96.0.1/32, all ports is served by a
            at 10.96.0.1 80 a
            at 10.96.0.1 443 b
            at 10.96.0.1 81 rejects
            delete a
            at 10.96.0.1 80 b
            at 10.96.0.1 81 rejects)"},
        claim_case{"an_external_ip_waits_for_a_cluster_ip", R"(put a ip 10.96.0.1 ext 10.96.0.2 port 80
            put b ip 10.96.0.2 port 80
            lost a: 10.96.0.2/32 port 80 tcp is served by b
            delete b
            at 10.96.0.2 80 a)"}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    node_ports, contested_claims,
    testing::Values(
        claim_case{"who_has_it_keeps_it", R"(put b ip 10.96.0.2 port 80 node 30080 created 9
            put a ip 10.96.0.1 port 80 node 30080 port 443 node 30443 created 1
            lost a: node port 30080 tcp is served by b
            at 192.0.2.11 30080 b
            at 192.0.2.11 30443 a
            at 10.96.0.1 80 a
            put b ip 10.96.0.2 port 80 node 30081 created 9
            at 192.0.2.11 30080 a)"},
        claim_case{"read_together_the_oldest_gets_it", R"(together
            put a ip 10.96.0.1 port 80 node 30080 created 2
            put b ip 10.96.0.2 port 80 node 30080 created 1
            publish
            lost a: node port 30080 tcp is served by b
            at 192.0.2.11 30080 b)"},
        claim_case{"of_both_versions_it_is_reported_once", R"(put a ip 10.96.0.1 ip 2001:db8:96::1 port 80 node 30080
            put b ip 10.96.0.2 ip 2001:db8:96::2 port 80 node 30080
            lost b: node port 30080 tcp is served by a
            at 2001:db8::11 30080 a
            at 192.0.2.11 30080 a)"},
        claim_case{"versions_are_apart", R"(put a ip 10.96.0.1 port 80 node 30080
            put b ip 2001:db8:96::2 port 80 node 30080
            at 192.0.2.11 30080 a
            at 2001:db8::11 30080 b)"},
        claim_case{"before_an_external_ip_of_the_node", R"(put tenant ip 10.96.0.66 ext 192.0.2.11 port 30080 port 81
            at 192.0.2.11 30080 tenant
            put web ip 10.96.0.1 port 80 node 30080
            lost tenant: 192.0.2.11/32 port 30080 tcp is served by web
            at 192.0.2.11 30080 web
            at 192.0.2.11 81 tenant
            delete web
            at 192.0.2.11 30080 tenant)"},
        claim_case{"before_an_external_ip_that_comes_later", R"(put web ip 10.96.0.1 port 80 node 30080
            put tenant ip 10.96.0.66 lb 192.0.2.11 port 30080
            lost tenant: 192.0.2.11/32 port 30080 tcp is served by web
            at 192.0.2.11 30080 web
            put web ip 10.96.0.1 port 80 node 30081
            at 192.0.2.11 30080 tenant)"},
        claim_case{"at_addresses_that_serve_node_ports_only", R"(node 192.0.2.12
            put web ip 10.96.0.1 port 80 node 30080
            put tenant ip 10.96.0.66 ext 192.0.2.11 port 30080
            at 192.0.2.11 30080 tenant
            node 192.0.2.12 192.0.2.11
            lost tenant: 192.0.2.11/32 port 30080 tcp is served by web
            at 192.0.2.11 30080 web
            node 192.0.2.12
            at 192.0.2.11 30080 tenant)"},
        claim_case{"a_services_own_external_ip_of_the_node",
                   R"(put web ip 10.96.0.1 ext 192.0.2.11 port 30080 node 30080
            at 192.0.2.11 30080 web
            put rival ip 10.96.0.2 ext 192.0.2.11 port 30080
            lost rival: 192.0.2.11/32 port 30080 tcp is served by web
            at 192.0.2.11 30080 web)"},
        claim_case{"a_cluster_ip_of_the_node", R"(put web ip 10.96.0.1 port 80 node 30080
            put odd ip 192.0.2.11 port 30080
            at 192.0.2.11 30080 odd
            delete odd
            at 192.0.2.11 30080 web)"}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    lines_of_ku, contested_claims,
    testing::Values(
        claim_case{"what_an_object_has_is_refused_to_them", R"(put a ip 10.96.0.1 ext 203.0.113.9 port 80 node 30080
            refused v vip 203.0.113.9/32 port 80: duplicate VIP: 203.0.113.9/32 port 80 tcp is served by a
            refused v vip 10.96.0.1/32 port 80: duplicate VIP: 10.96.0.1/32 port 80 tcp is served by a
            refused v vip 10.96.0.1/32 port 0/any: duplicate VIP: 10.96.0.1/32, all ports is served by a
            refused v vip 90.0.0.0/8 port 1 node 30080: duplicate VIP: node port 30080 tcp is served by a
            at 203.0.113.9 80 a
            put v vip 203.0.113.0/24 port 80
            at 203.0.113.9 80 a
            at 203.0.113.8 80 v)"},
        claim_case{"what_they_have_an_object_gets_when_they_are_deleted", R"(put v vip 203.0.113.9/32 port 80 node 30080
            put a ip 10.96.0.1 ext 203.0.113.9 port 80 node 30080 port 443
            lost a: 203.0.113.9/32 port 80 tcp is served by v
            lost a: node port 30080 tcp is served by v
            at 203.0.113.9 80 v
            at 203.0.113.9 443 a
            at 10.96.0.1 80 a
            at 192.0.2.11 30080 v
            delete v
            at 203.0.113.9 80 a
            at 192.0.2.11 30080 a)"},
        claim_case{"all_ports_of_a_cluster_ip", R"(put v vip 10.96.0.1/32 port 0/any
            put a ip 10.96.0.1 port 80
            lost a: 10.96.0.1/32, all ports is served by v
            at 10.96.0.1 80 a
            at 10.96.0.1 81 v
            delete v
            at 10.96.0.1 81 rejects)"},
        claim_case{"deleted_and_defined_anew_in_one_text", R"(put v vip 203.0.113.9/32 port 80
            put a ip 10.96.0.1 ext 203.0.113.9 port 80 created 1
            lost a: 203.0.113.9/32 port 80 tcp is served by v
            together
            delete v
            put w vip 203.0.113.9/32 port 80/any
            refused x vip 203.0.113.9/32 port 80: duplicate VIP: 203.0.113.9/32 port 80 tcp is served by w
            publish
            at 203.0.113.9 80 w)"},
        claim_case{"their_node_port_is_before_an_external_ip_too", R"(put a ip 10.96.0.1 ext 192.0.2.11 port 30080
            put v vip 90.0.0.0/8 port 1 node 30080
            lost a: 192.0.2.11/32 port 30080 tcp is served by v
            at 192.0.2.11 30080 v)"}),
    name_of);

// The comparison with a model: lists of all claims, looked through from the beginning after each step.

/// The claims of a service as texts, "203.0.113.9 80/6" or "node4 30080/6", with true for outer addresses.
using claim_texts = std::map<std::string, bool>;

claim_texts texts_of(service_configuration const& s) {
    claim_texts all;
    std::set<std::string> versions;
    for (auto const& a : s.addresses) {
        using enum service_address_kind;
        versions.insert(version_of(a.where) == 4 ? "node4 " : "node6 ");
        auto const address = to_text(a.where);
        for (auto const& p : s.ports)
            all[address + ' ' + std::to_string(p.port) + (p.protocol == service_protocol::udp ? "/17" : "/6")] =
                a.kind == external_ip || a.kind == load_balancer_ip;
        if (a.kind == cluster_ip) all[address + " others"] = false;
    }
    for (auto const& version : versions)
        for (auto const& p : s.ports)
            if (p.node_port != 0)
                all[version + std::to_string(p.node_port) + (p.protocol == service_protocol::udp ? "/17" : "/6")] =
                    false;
    return all;
}

class claim_model {
  public:
    std::map<std::string, service_configuration> services;
    std::set<std::string> node_addresses{"192.0.2.11/32"};

    /// After changes that were made at the same time. `created_again` lost what they had.
    void settle(std::set<std::string> const& created_again) {
        std::map<std::string, std::vector<std::tuple<bool, bool, bool, std::chrono::sys_seconds, std::string>>> claims;
        auto const before = std::exchange(holders_, {});
        for (auto const& [name, s] : services)
            for (auto const& [text, is_outer] : texts_of(s)) {
                auto const held = before.find(text);
                bool const has_it =
                    held != before.end() && held->second == std::pair{name, is_outer} && !created_again.contains(name);
                bool const is_object = s.addresses.front().kind != service_address_kind::vip;
                claims[text].emplace_back(is_outer, !has_it, is_object, s.created, name);
            }
        for (auto const& [text, by] : claims) {
            auto const& first = *std::ranges::min_element(by);
            holders_[text] = {std::get<4>(first), std::get<0>(first)};
        }
    }
    /// Empty: nobody.
    [[nodiscard]] std::string server(std::string const& text) const {
        auto const held = holders_.find(text);
        if (held == holders_.end()) return {};
        auto const address = text.substr(0, text.find(' '));
        if (held->second.second && node_addresses.contains(address)) {
            auto const port = holders_.find("node4 " + text.substr(text.find(' ') + 1));
            if (port != holders_.end()) return port->second.first;
        }
        return held->second.first;
    }
    [[nodiscard]] std::set<std::string> lost_by(std::string const& name) const {
        std::set<std::string> all;
        for (auto const& [text, is_outer] : texts_of(services.at(name)))
            if (server(text) != name) all.insert(text);
        return all;
    }
    /// A line of `ku` may have what nobody has.
    [[nodiscard]] bool may_put(service_configuration const& of_ku) const {
        for (auto const& [text, is_outer] : texts_of(of_ku))
            if (auto const held = holders_.find(text); held != holders_.end() && held->second.first != of_ku.name)
                return false;
        return true;
    }

  private:
    std::map<std::string, std::pair<std::string, bool>> holders_; ///< and whether it is an outer address of theirs
};

class random_claims {
  public:
    explicit random_claims(unsigned seed) : random_{seed} {
        set_node();
        script_.compile();
    }

    /// \return what differs; empty: nothing
    [[nodiscard]] std::string step() {
        std::map<std::string, std::set<std::string>> before;
        for (auto const& [name, s] : model_.services) before[name] = model_.lost_by(name);
        std::set<std::string> created_again, changed;
        script_.configuration().begin_changes();
        if (once_in(8)) {
            change_ku();
        } else {
            for (auto n = 1 + random_() % 4; n > 0; --n) {
                auto const name = "s" + std::to_string(random_() % 6);
                if (changed.insert(name).second) change(name, created_again, before);
            }
        }
        if (once_in(10)) set_node();
        script_.configuration().end_changes();
        model_.settle(created_again);
        script_.compile();
        return compare() + compare_lost(before);
    }
    std::size_t contested = 0, refused = 0;

  private:
    void change(std::string const& name, std::set<std::string>& created_again,
                std::map<std::string, std::set<std::string>>& before) {
        bool const is_there = model_.services.contains(name);
        if (once_in(4)) {
            if (is_there != script_.configuration().remove(name)) ADD_FAILURE() << "remove " << name;
            model_.services.erase(name);
            before.erase(name);
            return;
        }
        auto s = some_service(name);
        if (is_there && !once_in(6)) s.created = model_.services.at(name).created;
        if (is_there && s.created != model_.services.at(name).created) created_again.insert(name);
        if (auto const wrong = script_.configuration().put(s)) ADD_FAILURE() << wrong->text();
        model_.services[name] = s;
    }
    void change_ku() {
        auto const name = "v" + std::to_string(random_() % 2);
        if (once_in(2)) {
            if (model_.services.erase(name) != 0) script_.configuration().remove(name);
            return;
        }
        auto s = service_of(name + " vip " + one_of({"203.0.113.1", "192.0.2.11", "10.96.0.2"}) + " port " +
                            one_of({"80", "30080"}) + (once_in(3) ? " node 30080" : ""));
        bool const may = model_.may_put(s);
        if (script_.configuration().put(s).has_value() == may) ADD_FAILURE() << "put " << name;
        if (may) model_.services[name] = s;
        if (!may) ++refused;
    }
    void set_node() {
        node_configuration node;
        model_.node_addresses.clear();
        for (auto const* address : {"192.0.2.11", "203.0.113.1"})
            if (once_in(2)) {
                node.addresses.push_back(*parse_address(address));
                model_.node_addresses.insert(std::string{address} + "/32");
            }
        node.node_port_addresses = std::vector<ip_prefix>{prefix<ipv4>{}};
        ASSERT_FALSE(script_.configuration().set_node(node));
    }
    service_configuration some_service(std::string const& name) {
        auto line = name + " ip 10.96.0." + std::to_string(1 + random_() % 3);
        for (auto const* outer : {"203.0.113.1", "203.0.113.2", "192.0.2.11", "10.96.0.7"})
            if (once_in(3)) line += std::string{once_in(2) ? " ext " : " lb "} + outer;
        if (once_in(4) && line.find(" 10.96.0.1") == std::string::npos) line += " ext 10.96.0.1";
        for (auto const* port : {"80", "80/udp", "30080"})
            if (once_in(2)) line += std::string{" port "} + port + (once_in(3) ? node_port(line, port) : "");
        if (line.find(" port ") == std::string::npos) line += " port 80";
        return service_of(line + " created " + std::to_string(random_() % 3));
    }
    /// Not the same one twice in a service.
    std::string node_port(std::string const& line, std::string_view port) {
        bool const is_udp = port.ends_with("udp");
        return !is_udp && line.find(" node ") != std::string::npos ? "" : " node 30080";
    }
    [[nodiscard]] std::string compare() const {
        std::string wrong;
        for (std::string const address :
             {"10.96.0.1", "10.96.0.2", "10.96.0.3", "10.96.0.7", "203.0.113.1", "203.0.113.2", "192.0.2.11"})
            for (auto const port : {std::uint16_t{80}, std::uint16_t{30080}, std::uint16_t{1}})
                for (auto const protocol : {std::uint8_t{6}, std::uint8_t{17}}) {
                    auto const got = script_.server(address, port, protocol),
                               expected = expect(address, port, protocol);
                    if (got != expected)
                        wrong += address + ' ' + std::to_string(port) + '/' + std::to_string(protocol) +
                                 " is served by " + got + " instead of " + expected + '\n';
                }
        return wrong;
    }
    [[nodiscard]] std::string expect(std::string const& address, std::uint16_t port, std::uint8_t protocol) const {
        auto const numbers = std::to_string(port) + '/' + std::to_string(protocol);
        if (auto const name = model_.server(address + "/32 " + numbers); !name.empty()) return name;
        if (model_.node_addresses.contains(address + "/32"))
            if (auto const name = model_.server("node4 " + numbers); !name.empty()) return name;
        return model_.server(address + "/32 others").empty() ? "nobody" : "rejects";
    }
    /// Everything that was lost is reported once.
    [[nodiscard]] std::string compare_lost(std::map<std::string, std::set<std::string>> const& before) {
        std::multiset<std::string> expected, reported;
        std::size_t losers = 0;
        for (auto const& [name, s] : model_.services) {
            auto const lost = model_.lost_by(name);
            losers += lost.empty() ? 0u : 1u;
            auto const known = before.find(name);
            for (auto const& text : lost)
                if (known == before.end() || !known->second.contains(text))
                    expected.insert(name + " by " + model_.server(text));
        }
        contested += losers;
        for (auto const& lost : script_.configuration().take_lost_claims())
            reported.insert(lost.subject + " by " + lost.rule.substr(lost.rule.rfind(' ') + 1));
        if (losers != script_.configuration().contested_services()) return "another number of services lost something";
        if (expected == reported) return {};
        std::string wrong = "lost:";
        for (auto const& text : expected) wrong += ' ' + text + ',';
        wrong += " reported:";
        for (auto const& text : reported) wrong += ' ' + text + ',';
        return wrong;
    }

    template <class T = std::string>
    [[nodiscard]] T one_of(std::initializer_list<T> all) {
        return all.begin()[random_() % all.size()];
    }
    [[nodiscard]] bool once_in(unsigned n) { return random_() % n == 0; }

    std::mt19937 random_;
    claim_script script_;
    claim_model model_;
};

TEST(contested_claims_at_random, are_served_as_the_model_says) {
    std::size_t contested = 0, refused = 0;
    for (unsigned seed = 1; seed <= 300; ++seed) {
        random_claims history{seed};
        for (int step = 0; step < 20; ++step) {
            auto const wrong = history.step();
            ASSERT_EQ(wrong, "") << "history " << seed << ", step " << step;
        }
        contested += history.contested;
        refused += history.refused;
    }
    EXPECT_GT(contested, 5'000u);
    EXPECT_GT(refused, 50u);
}

} // namespace
} // namespace kubeproxy::contested_claims_tests
