#include "kubeproxy/service/frontend_index.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace kubeproxy::frontend_index_tests {
namespace {

constexpr std::uint8_t tcp = 6, udp = 17, sctp = 132, icmp = 1;

prefix<ipv4> net(std::uint32_t address, unsigned length) { return prefix<ipv4>::of(ipv4_address(address), length); }

/// The rule of find(), word by word, by looking at everything.
template <ip_version V>
frontend<V> const* scan(std::vector<frontend<V>> const& all, typename V::address const& destination, std::uint16_t port,
                        std::uint8_t protocol) {
    for (unsigned length = address_bits<V> + 1; length-- > 0;) {
        auto const first = [&](std::uint16_t wanted_port, std::uint8_t wanted_protocol) {
            auto const found = std::ranges::find_if(all, [&](frontend<V> const& f) {
                return f.vip.length == length && f.vip.contains(destination) && f.port == wanted_port &&
                       f.protocol == wanted_protocol;
            });
            return found == all.end() ? nullptr : &*found;
        };
        auto const* found = port == 0 ? nullptr : first(port, protocol);
        if (found == nullptr) found = first(0, protocol);
        if (found == nullptr) found = first(0, 0);
        if (found != nullptr) return found;
    }
    return nullptr;
}

struct lookup_case {
    std::string name;
    std::uint32_t destination;
    std::uint16_t port;
    std::uint8_t protocol;
    std::uint32_t service; ///< no_service: not ours
};

class ipv4_lookup : public testing::TestWithParam<lookup_case> {};

TEST_P(ipv4_lookup, longest_prefix_that_has_the_port_or_all_ports) { // DESIGN section 4, "Services"
    frontend_index<ipv4> const index{{
        {net(0x5a000000, 8), 80, tcp, frontend_kind::cluster_ip, 1},
        {net(0x5a000000, 8), 80, udp, frontend_kind::cluster_ip, 2},
        {net(0x5a000000, 8), 443, tcp, frontend_kind::cluster_ip, 3},
        {net(0x5a010203, 32), 443, tcp, frontend_kind::cluster_ip, 4},
        {net(0x5a010203, 32), 0, sctp, frontend_kind::cluster_ip, 5},
        {net(0x5a020000, 16), 0, 0, frontend_kind::cluster_ip, 6},
        {net(0x5a020202, 32), 0, 0, frontend_kind::cluster_ip, 7},
        {net(0x5a020202, 32), 80, tcp, frontend_kind::cluster_ip, 8},
    }};
    auto const& row = GetParam();
    auto const* found = index.find(ipv4_address(row.destination), row.port, row.protocol);
    EXPECT_EQ(found == nullptr ? no_service : found->service, row.service);
}

INSTANTIATE_TEST_SUITE_P(table, ipv4_lookup,
                         testing::Values(lookup_case{"TCP and UDP on one port: TCP", 0x5a636363, 80, tcp, 1},
                                         lookup_case{"TCP and UDP on one port: UDP", 0x5a636363, 80, udp, 2},
                                         lookup_case{"SCTP has no service there", 0x5a636363, 80, sctp, no_service},
                                         lookup_case{"another port of the address", 0x5a636363, 443, tcp, 3},
                                         lookup_case{"a port that nobody has", 0x5a636363, 81, tcp, no_service},
                                         lookup_case{"the host inside the net has the port", 0x5a010203, 443, tcp, 4},
                                         lookup_case{"the host has it not, the net has", 0x5a010203, 80, tcp, 1},
                                         lookup_case{"all ports of one protocol", 0x5a010203, 9, sctp, 5},
                                         lookup_case{"all ports, but the packet has none", 0x5a010203, 0, sctp, 5},
                                         lookup_case{"all ports and protocols hide the shorter prefix", 0x5a020304, 80,
                                                     tcp, 6},
                                         lookup_case{"all protocols, also those without ports", 0x5a020304, 0, icmp, 6},
                                         lookup_case{"one port beside all ports", 0x5a020202, 80, tcp, 8},
                                         lookup_case{"the other protocol at that port", 0x5a020202, 80, udp, 7},
                                         lookup_case{"an address outside", 0x5b000000, 80, tcp, no_service}),
                         [](auto const& row) {
                             auto name = row.param.name;
                             std::ranges::replace_if(
                                 name, [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
                             return name;
                         });

TEST(frontend_index, nothing_is_found_in_an_empty_one) {
    frontend_index<ipv4> const without;
    EXPECT_EQ(without.find(ipv4_address(1), 80, tcp), nullptr);
    without.prefetch(ipv4_address(1), 80, tcp);
    frontend_index<ipv6> const of_none{std::vector<frontend<ipv6>>{}};
    EXPECT_EQ(of_none.find(ipv6::address{}, 80, tcp), nullptr);
}

TEST(frontend_index, of_equal_frontends_the_first_counts) {
    frontend_index<ipv4> const index{
        {{net(1, 32), 80, tcp, frontend_kind::cluster_ip, 1}, {net(1, 32), 80, tcp, frontend_kind::external, 2}}};
    EXPECT_EQ(index.find(ipv4_address(1), 80, tcp)->service, 1u);
}

/// Few different addresses, ports and protocols, so that they often meet.
template <ip_version V>
class random_frontends {
  public:
    explicit random_frontends(std::uint64_t seed) : random_{seed} {}

    [[nodiscard]] typename V::address address() {
        typename V::address a{};
        a.front() = static_cast<std::byte>(random_() % 3);
        a[1] = static_cast<std::byte>(random_() % 2 << 7);
        a.back() = static_cast<std::byte>(random_() % 3);
        return a;
    }
    [[nodiscard]] std::uint16_t port() { return static_cast<std::uint16_t>(random_() % 4); }
    [[nodiscard]] std::uint8_t protocol() { return std::array{tcp, udp, icmp}[random_() % 3]; }
    [[nodiscard]] std::vector<frontend<V>> some() {
        std::vector<frontend<V>> all(random_() % 40);
        for (std::uint32_t i = 0; i < all.size(); ++i) {
            auto const length = std::array<unsigned, 5>{0, 8, 9, address_bits<V> - 1, address_bits<V>}[random_() % 5];
            all[i] = {prefix<V>::of(address(), length), port(), protocol(), frontend_kind::cluster_ip, i};
            if (all[i].port == 0 && random_() % 2 == 0) all[i].protocol = 0;
        }
        return all;
    }

  private:
    std::mt19937_64 random_;
};

template <class V>
class frontends_of : public testing::Test {};
using versions = testing::Types<ipv4, ipv6>;
TYPED_TEST_SUITE(frontends_of, versions);

TYPED_TEST(frontends_of, random_ones_are_found_as_by_a_scan) {
    random_frontends<TypeParam> random{4};
    std::size_t hits = 0;
    for (int round = 0; round < 1000; ++round) {
        auto const all = random.some();
        frontend_index<TypeParam> const index{all};
        for (int packet = 0; packet < 50; ++packet) {
            auto const destination = random.address();
            auto const port = random.port();
            auto const protocol = random.protocol();
            auto const* expected = scan(all, destination, port, protocol);
            auto const* found = index.find(destination, port, protocol);
            ASSERT_EQ(found == nullptr, expected == nullptr);
            if (expected == nullptr) continue;
            ++hits;
            ASSERT_EQ(found->service, expected->service);
        }
    }
    EXPECT_GT(hits, 10'000u) << "the data hardly ever meets";
}

/// Inserts and erasures. After each a scan finds the same; copies made on the way stay as they were.
TYPED_TEST(frontends_of, random_changes_agree_with_a_scan_and_leave_copies_alone) {
    random_frontends<TypeParam> random{9};
    std::mt19937_64 dice{5};
    using list = std::vector<frontend<TypeParam>>;
    auto const same_key = [](frontend<TypeParam> const& a, frontend<TypeParam> const& b) {
        return a.vip == b.vip && a.port == b.port && a.protocol == b.protocol;
    };
    auto const agree = [&](frontend_index<TypeParam> const& index, list const& all) {
        auto const destination = random.address();
        auto const port = random.port();
        auto const protocol = random.protocol();
        auto const* expected = scan(all, destination, port, protocol);
        auto const* found = index.find(destination, port, protocol);
        bool const covered = std::ranges::any_of(all, [&](auto const& f) { return f.vip.contains(destination); });
        return (found == nullptr) == (expected == nullptr) &&
               (found == nullptr || found->service == expected->service) && index.covers(destination) == covered;
    };
    frontend_index<TypeParam> now;
    list model;
    std::deque<std::pair<frontend_index<TypeParam>, list>> kept;
    for (int step = 0; step < 4000; ++step) {
        auto const before = now;
        bool const grows = step / 500 % 2 == 0; // up and down, so that shards are resized both ways
        if (dice() % 10 < (grows ? 8u : 2u)) {
            for (auto const& f : random.some()) {
                auto const known = std::ranges::find_if(model, [&](auto const& m) { return same_key(m, f); });
                ASSERT_EQ(now.insert(f), known == model.end());
                if (known == model.end()) model.push_back(f);
                break;
            }
        } else if (!model.empty()) {
            auto const gone = model.begin() + static_cast<std::ptrdiff_t>(dice() % model.size());
            ASSERT_TRUE(now.erase(gone->vip, gone->port, gone->protocol));
            ASSERT_FALSE(now.erase(gone->vip, gone->port, gone->protocol));
            model.erase(gone);
        }
        ASSERT_LE(now.shards_apart(before), 2u) << "a frontend, and that its prefix is in use";
        ASSERT_EQ(now.all().size(), model.size());
        for (int i = 0; i < 20; ++i) ASSERT_TRUE(agree(now, model)) << "at step " << step;
        if (dice() % 50 == 0) kept.emplace_back(now, model);
        if (kept.size() > 5) kept.pop_front();
        for (auto const& [copy, its_model] : kept) ASSERT_TRUE(agree(copy, its_model)) << "at step " << step;
    }
}

TYPED_TEST(frontends_of, many_are_all_found) {
    std::vector<frontend<TypeParam>> all;
    for (std::uint32_t i = 0; i < 20'000; ++i) {
        typename TypeParam::address a{};
        a[a.size() - 2] = static_cast<std::byte>(i / 2 >> 8);
        a[a.size() - 1] = static_cast<std::byte>(i / 2);
        a[0] = std::byte{10};
        all.push_back({prefix<TypeParam>::of(a, address_bits<TypeParam>), static_cast<std::uint16_t>(80 + i % 2), tcp,
                       frontend_kind::cluster_ip, i});
    }
    frontend_index<TypeParam> const index{all};
    for (auto const& f : all) {
        auto const* found = index.find(f.vip.address, f.port, tcp);
        ASSERT_NE(found, nullptr);
        ASSERT_EQ(found->service, f.service);
        ASSERT_EQ(index.find(f.vip.address, f.port, udp), nullptr);
    }
    auto emptied = index;
    for (auto const& f : all) ASSERT_TRUE(emptied.erase(f.vip, f.port, f.protocol));
    EXPECT_TRUE(emptied.all().empty());
    EXPECT_FALSE(emptied.covers(all[0].vip.address));
    EXPECT_EQ(index.all().size(), all.size()) << "a copy is a copy";
}

} // namespace
} // namespace kubeproxy::frontend_index_tests
