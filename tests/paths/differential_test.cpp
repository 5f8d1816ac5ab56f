#include "support/hex.hpp"
#include "support/slow_model.hpp"
#include "support/slow_model_traffic.hpp"
#include "support/testbed.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <sstream>
#include <string>

// The whole path against a slow model of it, packet by packet, on random traffic through all four translations:
// verdict, relation and every octet that comes out. What the model learns from the path is said in slow_model.hpp.

namespace kubeproxy {
namespace {

using slow::octets;
using slow::service;
using testing_support::test_packet;
using testing_support::testbed;

struct run_case {
    std::string name;
    std::uint64_t seed;
    slow::traffic_mix mix;
    bool has_spares = true;    ///< the host has buffers for packets that become several
    bool changes_pods = false; ///< pods and services come and go
    bool has_silences = false; ///< about as long as timeouts are
    std::size_t ipv6_mtu = 1500;
};

void PrintTo(run_case const& c, std::ostream* out) { *out << c.name << ", seed " << c.seed; }

octets ipv4(unsigned a, unsigned b, unsigned c, unsigned d) { return seed::of({a, b, c, d}); }
octets ipv6(unsigned second, unsigned tenth, unsigned last) { // fd00:<second>::<last>
    return seed::with(octets(16), {{0, seed::of({0xfd, 0})}, {2, seed::be16(second)}, {14, seed::of({tenth, last})}});
}
octets pod_address(bool is_ipv6, unsigned n) { return is_ipv6 ? ipv6(0x244, 0, n) : ipv4(10, 244, 0, n); }

/// Prefixes inside prefixes, each with services by port, by protocol, and for all.
slow::cluster some_cluster(slow::traffic& dice, std::string& ku) {
    slow::cluster c;
    std::vector<slow::prefix> const prefixes{{ipv4(10, 96, 0, 0), 16}, {ipv4(10, 96, 5, 0), 24},
                                             {ipv4(10, 96, 5, 7), 32}, {ipv6(0x96, 0, 0), 64},
                                             {ipv6(0x96, 5, 0), 120},  {ipv6(0x96, 5, 7), 128}};
    std::vector<service> const kinds{{.where = {}},
                                     {.where = {}, .port = 80, .target_port = 8080},
                                     {.where = {}, .protocol = 17, .port = 53},
                                     {.where = {}, .protocol = 6, .port = 443, .target_port = 8443},
                                     {.where = {}, .protocol = 132, .port = 5060, .target_port = 5061},
                                     {.where = {}, .protocol = 132, .port = 5080},
                                     {.where = {}, .protocol = 17}};
    for (auto const& where : prefixes) {
        for (auto const& kind : kinds) {
            if (dice.chance(50)) continue;
            auto s = kind;
            s.where = where;
            s.has_ipv6_pods = dice.chance(50);
            if (s.port != 0 && dice.chance(40)) s.node_port = 30000 + static_cast<unsigned>(c.services.size());
            ku += c.add(s);
        }
        for (bool const family : {false, true}) {
            bool const is_wanted = std::ranges::any_of(c.services, [&](auto const& s) {
                return s->where.text() == where.text() && s->has_ipv6_pods == family;
            });
            for (unsigned n = is_wanted ? dice.below(5) : 0; n > 0; --n)
                ku += c.add_pod(where, pod_address(family, 1 + dice.below(12)));
        }
    }
    if (c.services.empty()) ku += c.add({.where = prefixes[0]});
    return c;
}

/// The node's part: where sources come from, and how long flows live.
void set_node(slow::cluster& c, slow::traffic& dice, std::string& ku) {
    c.nat64 = seed::with(octets(16), {{0, seed::of({0, 0x64, 0xff, 0x9b, 0, 1})}}); // RFC 8215
    c.nodes = {ipv4(198, 51, 100, 250), ipv6(0x51, 0, 250)};
    c.pool4_first = c.pool4_last = c.nodes[0];
    c.pool6 = c.nodes[1];
    ku += "ku conf node " + slow::text_of(c.nodes[0]) + " node " + slow::text_of(c.nodes[1]) + '\n';
    if (dice.chance(50)) {
        c.pool4_first = ipv4(198, 18, 0, 9);
        c.pool4_last = ipv4(198, 18, 0, 9 + dice.below(4));
        ku += "ku conf snat4 " + slow::text_of(c.pool4_first) + '-' + slow::text_of(c.pool4_last) + '\n';
    }
    if (dice.chance(50)) {
        c.pool6 = ipv6(0x18, 0, 9);
        ku += "ku conf snat6 " + slow::text_of(c.pool6) + '\n';
    }
    if (dice.chance(30)) {
        c.times.set_all(40);
        ku += "ku conf timeout 40\n";
    }
}

std::string described(octets const& packet) {
    auto const r = slow::read(packet);
    if (r.malformed != drop_reason::none) return "malformed, " + std::to_string(packet.size()) + " octets";
    auto const& s = r.shown;
    return "protocol " + std::to_string(s.protocol) + ' ' + slow::text_of(s.source) + ' ' + std::to_string(s.sport) +
           " -> " + slow::text_of(s.destination) + ' ' + std::to_string(s.dport) + ", " +
           std::to_string(packet.size()) + " octets" + (r.is_fragment() ? ", at " + std::to_string(r.offset) : "") +
           (r.what == slow::kind::error ? ", an error" : "");
}

std::string start_of(octets const& packet) {
    constexpr std::size_t most = 160;
    return hex::text_of(std::span{packet}.first(std::min(packet.size(), most))) + (packet.size() > most ? "…" : "");
}

/// Both of them, the path and the model, on one random history.
class differential_run {
  public:
    explicit differential_run(run_case const& c)
        : case_{c}, set_up_{c.seed, cluster_, no_flows_, c.mix}, cluster_{some_cluster(set_up_, ku_)},
          bed_{with_node(), settings(), {32768, 32768}}, model_{cluster_, model_settings()}, traffic_{c.seed + 1,
                                                                                                      cluster_,
                                                                                                      model_.flows(),
                                                                                                      c.mix} {}

    /// Until so many packets went in, or the first disagreement.
    void run(std::size_t packets) {
        while (sent_ < packets && !testing::Test::HasFailure()) {
            pass_time();
            if (case_.changes_pods && traffic_.chance(3)) change_pods();
            step();
        }
        if (!testing::Test::HasFailure()) expect_counters();
    }
    [[nodiscard]] std::map<std::string, std::size_t> const& tally() const { return tally_; }

  private:
    std::string const& with_node() {
        set_node(cluster_, set_up_, ku_);
        return ku_;
    }
    [[nodiscard]] proxy_settings settings() {
        resets_ = set_up_.chance(50);
        return {.seed = case_.seed,
                .translation = {.ipv6_mtu = static_cast<std::uint16_t>(case_.ipv6_mtu)},
                .answers = {.no_endpoints = resets_ ? tcp_answer::reset : tcp_answer::icmp,
                            .backend_removed = resets_ ? tcp_answer::reset : tcp_answer::silence,
                            .rate = {.per_second = 0}}};
    }
    [[nodiscard]] slow::model_settings model_settings() const { return {{.ipv6 = case_.ipv6_mtu}, resets_}; }

    void pass_time() {
        if (case_.has_silences && traffic_.chance(20)) {
            static constexpr unsigned seconds[]{30, 40, 60, 120, 210, 240, 300, 7440};
            now_ += seconds[traffic_.below(8)] * 1000 - 30 + traffic_.below(60);
        }
        auto const n = traffic_.below(1000);
        now_ += n < 900 ? traffic_.below(50) : n < 990 ? traffic_.below(3000) : n < 998 ? traffic_.below(90'000) : 0;
        if (n == 999) now_ += traffic_.below(9'000'000);
        if (n >= 900) model_.flows().expire(now_, cluster_.times);
    }
    void change_pods() {
        auto const i = traffic_.below(static_cast<unsigned>(cluster_.services.size()));
        auto const s = *cluster_.services[i];
        std::string line;
        if (traffic_.chance(5)) {
            line = cluster_.remove(s);
            line += again(s);
        } else if (!s.pods.empty() && traffic_.chance(50)) {
            line = cluster_.remove_pod(s.where, s.pods[traffic_.below(static_cast<unsigned>(s.pods.size()))]->address);
        } else {
            line = cluster_.add_pod(s.where, pod_address(s.has_ipv6_pods, 1 + traffic_.below(12)));
        }
        note(line);
        bed_.configure(line);
    }
    std::string again(service s) {
        s.pods.clear();
        s.version = 0;
        return cluster_.add(s);
    }

    void step() {
        auto const most = case_.has_silences ? 6u : traffic_.chance(10) ? 80u : 24u;
        auto const packets = traffic_.burst(1 + traffic_.below(most));
        auto spares = traffic_.chance(10) ? traffic_.below(5) : std::size_t{1000};
        auto seen = sent(packets, spares);
        std::size_t settled = 0;
        try {
            for (std::size_t first = 0; first < packets.size(); first += burst_size) {
                if (case_.has_spares) {
                    model_.begin(now_, spares);
                } else {
                    model_.begin(now_, std::nullopt);
                }
                for (settled = first; settled < std::min(first + burst_size, packets.size()); ++settled) {
                    note(described(packets[settled]));
                    model_.take(packets[settled], seen);
                }
                model_.finish(seen);
                spares = model_.spares();
            }
            if (!seen.is_done()) throw slow::disagreement{"more came out than went in"};
        } catch (slow::disagreement const& how) {
            report(how.what(), settled < packets.size() ? packets[settled] : octets{}, seen.last().bytes);
        }
        sent_ += packets.size();
    }
    slow::comparison sent(std::vector<octets> const& packets, std::size_t spares) {
        std::vector<test_packet> burst(packets.begin(), packets.end());
        auto const* const first = burst.data();
        std::deque<test_packet> more;
        slow::comparison seen;
        auto const settle = [&](test_packet& p, outcome const& o) {
            auto const bytes = p.bytes();
            octets const out(bytes.begin(), bytes.end());
            seen.add({o, backend_of(o), out});
            count(o, out,
                  first <= &p && &p < first + packets.size() ? packets[static_cast<std::size_t>(&p - first)]
                                                             : octets{});
        };
        auto const spare = [&](test_packet&, std::size_t size) -> test_packet* {
            if (more.size() == spares) return nullptr;
            return &more.emplace_back(octets(size));
        };
        std::chrono::milliseconds const now{now_};
        if (case_.has_spares)
            bed_.path().process(std::span{burst}, now, settle, spare);
        else
            bed_.path().process(std::span{burst}, now, settle);
        return seen;
    }
    [[nodiscard]] octets backend_of(outcome const& o) const {
        auto const* const services = bed_.control().current();
        if (o.backend == no_backend || services == nullptr) return {};
        auto const& chosen = services->backends.at(o.backend);
        if (chosen.service == no_service) return {}; // it was removed
        bool const is_ipv6 = services->services.at(chosen.service).pod_version == 6;
        return {chosen.address.begin(), chosen.address.begin() + (is_ipv6 ? 16 : 4)};
    }

    /// \param in empty: the packet came out of another
    void count(outcome const& o, octets const& out, octets const& in) {
        if (o.what != verdict::drop(drop_reason::fragment_held)) ++counted_[{o.what.what(), o.what.why()}];
        auto kind_of_it = std::string{name(o.what.what())} + ' ' + std::string{name(o.what.why())};
        static constexpr std::string_view relations[]{"none", "fresh", "original", "reply", "related"};
        auto const version = [](octets const& p) { return p.empty() ? "?" : slow::get(p, 0, 1) >> 4 == 4 ? "4" : "6"; };
        if (o.what == verdict::forward()) {
            kind_of_it = version(in) + std::string{version(out)} + ' ';
            kind_of_it += relations[static_cast<std::size_t>(o.relation)];
            kind_of_it += o.masqueraded ? " masqueraded" : "";
        }
        ++tally_[kind_of_it];
    }
    /// What `settle` was told is what was counted, but for what has no packet to tell of.
    void expect_counters() {
        auto const& counters = bed_.path().verdicts();
        for (auto const what : {action::pass, action::forward, action::reply}) {
            std::size_t told = 0;
            for (auto const& [key, n] : counted_) told += key.first == what ? n : 0;
            EXPECT_EQ(counters.packets(what), told) << name(what);
        }
        counted_[{action::drop, drop_reason::fragment_timeout}] += model_.timed_out_fragments();
        counted_[{action::drop, drop_reason::no_spare_packet}] += model_.untold_fragments();
        for (std::size_t i = 0; i < drop_reason_count; ++i) {
            auto const why = static_cast<drop_reason>(i);
            auto const told = counted_[{action::drop, why}];
            EXPECT_EQ(counters.dropped(why), told) << name(why);
        }
    }

    void note(std::string line) {
        history_.push_back(std::to_string(now_) + " ms: " + std::move(line));
        if (history_.size() > 4000) history_.pop_front();
    }
    /// The packet, and what was said before by or about either of its ends.
    void report(std::string const& how, octets const& packet, octets const& out) const {
        std::ostringstream text;
        text << case_.name << ", seed " << case_.seed << ", after " << sent_ << " packets: " << how
             << "\nconfiguration:\n"
             << bed_.control().apply("show ku\nshow ku vip verbose\n").text << "packet: " << described(packet) << '\n'
             << start_of(packet) << "\ncame out, if anything did:\n"
             << start_of(out) << '\n';
        auto const r = slow::read(packet);
        std::size_t left = 40;
        if (r.malformed == drop_reason::none)
            for (auto i = history_.rbegin(); i != history_.rend() && left > 0; ++i)
                if (i->find(slow::text_of(r.shown.source) + ' ') != std::string::npos ||
                    i->find("ku ") != std::string::npos) {
                    text << *i << '\n';
                    --left;
                }
        ADD_FAILURE() << text.str();
    }

    static constexpr std::size_t burst_size = proxy<test_packet>::burst_size;
    run_case case_;
    std::string ku_{};
    slow::flow_map no_flows_{};
    slow::traffic set_up_;
    slow::cluster cluster_;
    bool resets_ = false;
    mutable testbed bed_;
    slow::model model_;
    slow::traffic traffic_;
    std::int64_t now_ = 1'000'000;
    std::size_t sent_ = 0;
    std::deque<std::string> history_{};
    std::map<std::pair<action, drop_reason>, std::size_t> counted_{};
    std::map<std::string, std::size_t> tally_{};
};

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
} // namespace kubeproxy
