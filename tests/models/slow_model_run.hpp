#pragma once

#include "models/slow_model.hpp"
#include "models/slow_model_setup.hpp"
#include "support/hex.hpp"
#include "support/testbed.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <sstream>
#include <string>
#include <string_view>

/// The path and the model, side by side.
namespace kubeproxy::slow {

using testing_support::test_packet;
using testing_support::testbed;

struct run_case {
    std::string name;
    std::uint64_t seed;
    traffic_mix mix;
    bool has_spares = true;    ///< the host has buffers for packets that become several
    bool changes_pods = false; ///< pods and services come and go
    bool has_silences = false; ///< about as long as timeouts are
    std::size_t ipv6_mtu = 1500;
};

inline void PrintTo(run_case const& c, std::ostream* out) { *out << c.name << ", seed " << c.seed; }

inline std::string described(octets const& packet) {
    auto const r = read(packet);
    if (r.malformed != drop_reason::none) return "malformed, " + std::to_string(packet.size()) + " octets";
    auto const& s = r.shown;
    return "protocol " + std::to_string(s.protocol) + ' ' + text_of(s.source) + ' ' + std::to_string(s.sport) + " -> " +
           text_of(s.destination) + ' ' + std::to_string(s.dport) + ", " + std::to_string(packet.size()) + " octets" +
           (r.is_fragment() ? ", at " + std::to_string(r.offset) : "") + (r.what == kind::error ? ", an error" : "");
}

inline std::string start_of(octets const& packet) {
    constexpr std::size_t most = 160;
    return hex::text_of(std::span{packet}.first(std::min(packet.size(), most))) + (packet.size() > most ? "…" : "");
}

/// Both of them, the path and the model, on one random history.
class differential_run {
  public:
    explicit differential_run(run_case const& c)
        : case_{c}, set_up_{c.seed, cluster_, no_flows_, c.mix}, cluster_{some_cluster(set_up_, ku_)},
          bed_{with_node(), settings(), {32768, 32768}, secret{c.seed}}, model_{cluster_, expectations()},
          traffic_{c.seed + 1, cluster_, model_.flows(), c.mix} {}

    /// Until so many packets went in, or the first disagreement.
    void run(std::size_t packets) {
        if (resets_) bed_.configure("ku conf removed reset\n");
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
        return {.translation = {.ipv6_mtu = static_cast<std::uint16_t>(case_.ipv6_mtu)},
                .rejects = {.no_endpoints = resets_ ? tcp_rejection::reset : tcp_rejection::icmp,
                            .rate = {.per_second = 0}}};
    }
    [[nodiscard]] model_settings expectations() const { return {{.ipv6 = case_.ipv6_mtu}, resets_, resets_}; }

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
        s.former.insert(s.former.end(), s.pods.begin(), s.pods.end()); // it stays the same service
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
            if (!seen.is_done()) throw disagreement{"more came out than went in"};
        } catch (disagreement const& how) {
            report(how.what(), settled < packets.size() ? packets[settled] : octets{}, seen.last().bytes);
        }
        sent_ += packets.size();
    }
    comparison sent(std::vector<octets> const& packets, std::size_t spares) {
        std::vector<test_packet> burst(packets.begin(), packets.end());
        auto const* const first = burst.data();
        std::deque<test_packet> more;
        comparison seen;
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
        auto const& chosen = services->backend_at(o.backend);
        if (chosen.service == no_service) return {}; // it was removed
        bool const is_ipv6 = services->service_at(chosen.service).pod_version == 6;
        return {chosen.address.begin(), chosen.address.begin() + (is_ipv6 ? 16 : 4)};
    }

    /// \param in empty: the packet came out of another
    void count(outcome const& o, octets const& out, octets const& in) {
        if (o.what != verdict::drop(drop_reason::fragment_held)) ++counted_[{o.what.what(), o.what.why()}];
        auto kind_of_it = std::string{name(o.what.what())} + ' ' + std::string{name(o.what.why())};
        static constexpr std::string_view relations[]{"none", "fresh", "original", "reply", "related"};
        auto const version = [](octets const& p) { return p.empty() ? "?" : get(p, 0, 1) >> 4 == 4 ? "4" : "6"; };
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
        auto const r = read(packet);
        std::size_t left = 40;
        if (r.malformed == drop_reason::none)
            for (auto i = history_.rbegin(); i != history_.rend() && left > 0; ++i)
                if (i->find(text_of(r.shown.source) + ' ') != std::string::npos ||
                    i->find("ku ") != std::string::npos) {
                    text << *i << '\n';
                    --left;
                }
        ADD_FAILURE() << text.str();
    }

    static constexpr std::size_t burst_size = proxy<test_packet>::burst_size;
    run_case case_;
    std::string ku_{};
    flow_map no_flows_{};
    traffic set_up_;
    cluster cluster_;
    bool resets_ = false;
    mutable testbed bed_;
    model model_;
    traffic traffic_;
    std::int64_t now_ = 1'000'000;
    std::size_t sent_ = 0;
    std::deque<std::string> history_{};
    std::map<std::pair<action, drop_reason>, std::size_t> counted_{};
    std::map<std::string, std::size_t> tally_{};
};

} // namespace kubeproxy::slow
