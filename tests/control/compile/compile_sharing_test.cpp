// What a snapshot shares with the one before, and that it stays what it was while others follow it.

#include "kubeproxy/control/compile/compiler.hpp"
#include "kubeproxy/control/compile/publisher.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace kubeproxy::compile_sharing_tests {
namespace {

constexpr std::uint8_t tcp = 6, udp = 17;

std::string pod_address(unsigned service, unsigned pod) {
    return "10.244." + std::to_string(service % 256) + '.' + std::to_string(pod);
}

service_configuration numbered(unsigned service, unsigned pods) {
    service_configuration s{.name = "default/s" + std::to_string(service)};
    auto const ip = "10.96." + std::to_string(service / 256) + '.' + std::to_string(service % 256);
    s.addresses.push_back({*parse_prefix(ip), service_address_kind::cluster_ip});
    s.ports.push_back({.name = "http", .protocol = service_protocol::tcp, .port = 80});
    s.slices.push_back({.name = "s1", .ports = {{"http", service_protocol::tcp, 8080}}});
    for (unsigned i = 1; i <= pods; ++i)
        s.slices[0].endpoints.push_back({.address = *parse_address(pod_address(service, i))});
    return s;
}

template <class Array>
std::size_t pages_apart(Array const& a, Array const& b) {
    std::size_t apart = 0;
    for (std::size_t i = 0; i < std::max(a.page_count(), b.page_count()); ++i) apart += a.page_at(i) != b.page_at(i);
    return apart;
}

class sharing : public testing::Test {
  protected:
    sharing() {
        for (unsigned s = 0; s < services; ++s) put(numbered(s, 3));
        before_ = compile();
    }
    void put(service_configuration s) {
        auto const wrong = configuration_.put(std::move(s));
        ASSERT_FALSE(wrong) << wrong->text();
    }
    std::unique_ptr<snapshot const> compile() { return compiler_.compile(configuration_); }

    static constexpr unsigned services = 500;
    valid_configuration configuration_;
    compiler compiler_;
    std::unique_ptr<snapshot const> before_;
};

TEST_F(sharing, nothing_is_copied_when_nothing_changes) {
    auto const now = compile();
    EXPECT_EQ(pages_apart(now->services, before_->services), 0u);
    EXPECT_EQ(pages_apart(now->backends, before_->backends), 0u);
    EXPECT_EQ(now->frontends4.shards_apart(before_->frontends4), 0u);
    EXPECT_EQ(now->backend_addresses.shards_apart(before_->backend_addresses), 0u);
}

TEST_F(sharing, a_changed_endpoint_copies_the_pages_that_it_is_in) {
    auto s = numbered(7, 3);
    s.slices[0].endpoints[1].address = *parse_address("10.245.0.1");
    put(s);
    auto const now = compile();
    EXPECT_EQ(pages_apart(now->services, before_->services), 1u);
    EXPECT_LE(pages_apart(now->backends, before_->backends), 2u) << "where one went and where one came";
    EXPECT_GE(pages_apart(now->backends, before_->backends), 1u);
    EXPECT_EQ(now->frontends4.shards_apart(before_->frontends4), 0u) << "frontends are told by addresses and ports";
    EXPECT_EQ(now->backend_addresses.shards_apart(before_->backend_addresses), 2u);
}

TEST_F(sharing, readiness_copies_no_backends) {
    auto s = numbered(7, 3);
    s.slices[0].endpoints[1].ready = false;
    put(s);
    auto const now = compile();
    EXPECT_EQ(pages_apart(now->services, before_->services), 1u);
    EXPECT_EQ(pages_apart(now->backends, before_->backends), 0u);
    EXPECT_EQ(now->backend_addresses.shards_apart(before_->backend_addresses), 0u);
}

TEST_F(sharing, a_service_that_comes_or_goes_copies_the_shards_of_its_frontends) {
    put(numbered(services, 3));
    auto const added = compile();
    // Its port and the rejection of its others, each a frontend; and that the address is in use.
    EXPECT_LE(added->frontends4.shards_apart(before_->frontends4), 3u);
    EXPECT_GE(added->frontends4.shards_apart(before_->frontends4), 1u);
    EXPECT_LE(pages_apart(added->services, before_->services), 1u);
    configuration_.remove("default/s" + std::to_string(services));
    auto const removed = compile();
    EXPECT_LE(removed->frontends4.shards_apart(added->frontends4), 3u);
    EXPECT_EQ(pages_apart(removed->services, added->services), 1u);
    EXPECT_EQ(removed->frontends4.all().size(), before_->frontends4.all().size());
    EXPECT_EQ(before_->frontends4.all().size(), 2 * services);
}

TEST_F(sharing, everything_is_freed_with_its_last_snapshot) {
    std::weak_ptr<endpoint_ring const> const ring = before_->service_at(7).everywhere;
    std::weak_ptr<std::string const> const name = before_->service_at(7).name;
    std::weak_ptr<service_configuration const> const source = configuration_.find("default/s7");
    configuration_.remove("default/s7");
    auto now = compile();
    EXPECT_TRUE(source.expired()) << "snapshots do not hold the configuration";
    EXPECT_FALSE(ring.expired());
    EXPECT_FALSE(name.expired());
    before_.reset();
    EXPECT_TRUE(ring.expired());
    EXPECT_TRUE(name.expired());
}

// The comparison with a compiler that starts anew.

/// The text of all that a packet to these addresses can meet: which service by which rule, and its backends by position
/// in the ring. Places do not show, for they depend on the history.
class decisions {
  public:
    explicit decisions(snapshot const& s) : all_{s} {}

    [[nodiscard]] std::string text() {
        for (auto const* const to : {"10.96.0.1", "10.96.0.2", "10.96.0.3", "10.96.0.4", "10.96.0.200", "192.0.2.1",
                                     "192.0.2.2", "198.51.100.1", "198.51.100.2", "203.0.113.9"})
            look<ipv4>(to);
        for (auto const* const to : {"2001:db8:96::1", "2001:db8:96::2", "2001:db8:96::3", "2001:db8::1"})
            look<ipv6>(to);
        for (unsigned service = 0; service < 8; ++service)
            for (unsigned pod = 0; pod < 8; ++pod)
                text_ += all_.backend_addresses.contains_address<ipv4>(*parse_address<ipv4>(pod_address(service, pod)))
                             ? '1'
                             : '0';
        text_ += ' ' + std::to_string(all_.excluded_ports_first) + '-' + std::to_string(all_.excluded_ports_last);
        return std::move(text_);
    }

  private:
    template <ip_version V>
    void look(std::string_view to) {
        auto const address = *parse_address<V>(to);
        auto const& frontends = all_.frontends<V>();
        text_ += std::string{to} + (frontends.covers(address) ? " covered" : "");
        for (std::uint16_t const port : std::initializer_list<std::uint16_t>{0, 80, 443, 30080, 30443})
            for (auto const protocol : {tcp, udp}) {
                auto const* found = frontends.find(address, port, protocol);
                text_ += found == nullptr ? " ." : " kind " + std::to_string(static_cast<int>(found->kind));
                if (found != nullptr && found->service != no_service) describe(all_.service_at(found->service));
            }
        text_ += '\n';
    }
    void describe(service_entry const& s) {
        text_ += ' ' + *s.name + (s.internal == traffic_policy::local ? " internal" : "") +
                 (s.external == traffic_policy::local ? " external" : "") + ' ' + std::to_string(s.affinity_seconds) +
                 (s.sources == nullptr ? "" : " from " + std::to_string(s.sources->of_ipv4.size()));
        describe(s.everywhere, s.pod_version);
        describe(s.local, s.pod_version);
    }
    void describe(std::shared_ptr<endpoint_ring const> const& ring, unsigned version) {
        text_ += " [";
        for (std::size_t i = 0; ring && i < ring->entries->size(); i += 50) {
            auto const place = ring->backends[(*ring->entries)[i]];
            auto const& b = all_.backend_at(place);
            auto const address = version == 4 ? ip_address{b.address_as<ipv4>()} : ip_address{b.address};
            text_ += to_text(address, b.port) + (all_.status_of(place).terminating ? "t " : " ");
            if (!all_.status_of(place).in_use) text_ += "not in use!";
        }
        text_ += ']';
    }

    snapshot const& all_;
    std::string text_;
};

/// Random services that want each other's addresses and node ports, also those of the node.
class random_cluster {
  public:
    explicit random_cluster(unsigned seed) : random_{seed} { change_node(); }

    void change() {
        auto next = configuration_;
        for (auto n = 1 + random_() % 3; n > 0; --n) {
            auto const name = "s" + std::to_string(random_() % 6);
            auto const what = random_() % 10;
            if (what == 0)
                next.remove(name);
            else if (what < 5)
                change_endpoints(next, name);
            else
                refused_ += next.put(some_service(name)) ? 1u : 0u;
        }
        contested_ += next.contested_services();
        if (random_() % 4 != 0) configuration_ = std::move(next); // else as a `ku` text that is refused at its end
        if (random_() % 50 == 0) change_node();
    }
    [[nodiscard]] valid_configuration const& configuration() const { return configuration_; }
    [[nodiscard]] unsigned refused() const { return refused_; }
    [[nodiscard]] std::size_t contested() const { return contested_; }

  private:
    template <class T>
    [[nodiscard]] T one_of(std::initializer_list<T> all) {
        return all.begin()[random_() % all.size()];
    }
    [[nodiscard]] bool once_in(unsigned n) { return random_() % n == 0; }

    void change_node() {
        node_configuration node{.name = once_in(2) ? "here" : "",
                                .addresses = {*parse_address("192.0.2.1"), *parse_address("2001:db8::1")}};
        if (once_in(2)) node.addresses.push_back(*parse_address("192.0.2.2"));
        if (once_in(2)) node.node_port_addresses = std::vector{*parse_prefix("192.0.2.0/24"), *parse_prefix("::/0")};
        if (once_in(2)) node.service_ranges = {*parse_prefix("10.96.0.0/16"), *parse_prefix("10.96.0.3/32")};
        ASSERT_FALSE(configuration_.set_node(node));
    }
    [[nodiscard]] std::vector<endpoint> some_endpoints() {
        std::vector<endpoint> all;
        auto const service = static_cast<unsigned>(random_() % 4); // some are several services' pods
        for (unsigned i = 0; i < 8; ++i) {
            if (once_in(2)) continue;
            endpoint e{.address = *parse_address(once_in(5) ? "2001:db8:244::" + std::to_string(i + 1)
                                                            : pod_address(service, i))};
            if (once_in(3)) e.topology = shared_topology{{.node = "here"}};
            if (once_in(4)) e.ready = false;
            if (once_in(4)) e.terminating = true;
            all.push_back(e);
        }
        return all;
    }
    void change_endpoints(valid_configuration& in, std::string const& name) {
        auto const before = in.find(name);
        if (before == nullptr) return;
        auto after = *before;
        after.slices[0].endpoints = some_endpoints();
        ASSERT_FALSE(in.put(std::move(after)));
    }
    [[nodiscard]] service_configuration some_service(std::string const& name) {
        service_configuration s{.name = name};
        auto const add = [&](std::string_view where, service_address_kind kind) {
            s.addresses.push_back({*parse_prefix(where), kind});
        };
        if (once_in(8)) {
            add(one_of<std::string_view>({"10.96.0.3/32", "198.51.100.0/24", "10.96.0.0/16"}),
                service_address_kind::vip);
        } else {
            auto const n = std::to_string(1 + random_() % 4);
            add("10.96.0." + n, service_address_kind::cluster_ip);
            if (once_in(2)) add("2001:db8:96::" + n, service_address_kind::cluster_ip);
        }
        if (once_in(3))
            add(one_of<std::string_view>({"192.0.2.1", "192.0.2.2", "198.51.100.1", "203.0.113.9"}),
                one_of({service_address_kind::external_ip, service_address_kind::load_balancer_ip}));
        bool const all_ports =
            s.addresses.size() == 1 && s.addresses[0].kind == service_address_kind::vip && once_in(2);
        s.ports.push_back({.name = "a", .protocol = service_protocol::tcp});
        if (all_ports)
            s.ports[0].protocol = service_protocol::any;
        else
            s.ports[0].port = one_of<std::uint16_t>({80, 443, 30080});
        if (!all_ports && once_in(2)) s.ports[0].node_port = one_of<std::uint16_t>({30080, 30443});
        if (!all_ports && once_in(3)) s.ports.push_back({.name = "b", .protocol = service_protocol::udp, .port = 443});
        if (once_in(3)) s.source_ranges = {*parse_prefix("192.0.2.0/24"), *parse_prefix("198.51.100.0/24")};
        if (once_in(3)) s.internal_policy = traffic_policy::local;
        if (once_in(3)) s.external_policy = traffic_policy::local;
        if (once_in(3)) s.affinity_seconds = 60;
        s.slices.push_back({.name = "s1",
                            .ports = {{"a", service_protocol::tcp, 8080}, {"b", service_protocol::udp, 8053}},
                            .endpoints = some_endpoints()});
        return s;
    }

    std::mt19937 random_;
    valid_configuration configuration_;
    unsigned refused_ = 0;
    std::size_t contested_ = 0;
};

TEST(compile_history, every_snapshot_is_what_a_new_compiler_makes_and_stays_so) {
    constexpr std::size_t kept_at_once = 12;
    random_cluster cluster{23};
    compiler steady;
    std::deque<std::pair<std::unique_ptr<snapshot const>, std::string>> kept;
    std::size_t different = 0;
    for (int step = 0; step < 3000; ++step) {
        cluster.change();
        auto now = steady.compile(cluster.configuration());
        auto const text = decisions{*now}.text();
        compiler anew;
        ASSERT_EQ(text, decisions{*anew.compile(cluster.configuration())}.text()) << "at step " << step;
        ASSERT_EQ(text.find("not in use!"), std::string::npos);
        if (!kept.empty() && kept.back().second != text) ++different;
        kept.emplace_back(std::move(now), text);
        if (kept.size() <= kept_at_once) continue;
        ASSERT_EQ(decisions{*kept.front().first}.text(), kept.front().second) << "made before step " << step;
        kept.pop_front();
    }
    EXPECT_GT(different, 1000u);
    EXPECT_GT(cluster.refused(), 10u) << "VIPs that claim what others have";
    EXPECT_GT(cluster.contested(), 1000u) << "services that claim what others have";
}

TEST(compile_history, a_backlog_of_snapshots_is_freed_a_few_at_a_time) {
    valid_configuration configuration;
    compiler compiling;
    service_source source;
    service_reader sleeper{source};
    publisher p{source};
    ASSERT_FALSE(configuration.put(numbered(1, 2)));
    p.publish(compiling.compile(configuration));
    static_cast<void>(sleeper.enter());
    for (unsigned i = 0; i < 100; ++i) {
        ASSERT_FALSE(configuration.put(numbered(1, 2 + i % 2)));
        p.publish(compiling.compile(configuration));
    }
    EXPECT_EQ(p.alive(), 101u);
    sleeper.leave();
    p.publish(compiling.compile(configuration));
    EXPECT_GT(p.alive(), 50u) << "one publication does not free what a hundred left";
    EXPECT_LT(p.alive(), 101u);
    for (unsigned i = 0; i < 50; ++i) p.publish(compiling.compile(configuration));
    EXPECT_EQ(p.alive(), 1u) << "but the backlog goes";
}

} // namespace
} // namespace kubeproxy::compile_sharing_tests
