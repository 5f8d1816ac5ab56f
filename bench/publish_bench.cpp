// What one change of a large cluster costs, from the watch event to the snapshot that workers see, and what a service
// weighs. The counters worst_ms are what matters: workers see the cluster as it was for so long.

#include "support/cluster_objects.hpp"

#include "kubeproxy/control/controller.hpp"
#include "kubeproxy/control/kubernetes/reader.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <malloc.h>
#include <memory>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <benchmark/benchmark.h>

namespace {

using namespace kubeproxy;
using clock_type = std::chrono::steady_clock;

constexpr std::size_t cluster_services = 10'000, pods_each = 10;

node_configuration node() {
    return {.name = "node-7",
            .zone = "zone-a",
            .addresses = {*parse_address("192.0.2.7")},
            .pod_ranges = {*parse_prefix("10.128.7.0/24")},
            .service_ranges = {*parse_prefix("10.16.0.0/12")}};
}

/// A cluster as a watch stream tells of it, seen by one worker.
class watched_cluster {
  public:
    watched_cluster() {
        if (control_.configuration().set_node(node())) throw std::logic_error{"the node is refused"};
    }

    void read(std::string_view text) { reader_.read(text); }
    void publish() {
        for (auto const& refusal : reader_.flush()) throw std::logic_error{refusal.text()};
    }
    void feed(std::string_view text) {
        read(text);
        publish();
    }
    [[nodiscard]] snapshot const& now() const { return *control_.current(); }
    [[nodiscard]] std::size_t snapshots_alive() const { return control_.snapshots_alive(); }

  private:
    service_source source_;
    service_reader worker_{source_};
    controller control_{source_};
    kubernetes_reader reader_{control_};
};

/// What kubernetes_reader and controller do, a step at a time.
class stepwise_cluster {
  public:
    enum step : std::size_t { parse, configure, compile, publish_and_free, steps };

    stepwise_cluster() {
        if (configuration_.set_node(node())) throw std::logic_error{"the node is refused"};
    }

    void read(std::string_view text) {
        text_.read(
            text, [this](boost::json::value const& value) { take(value.get_object()); },
            [](json_text_error const& wrong) { throw std::logic_error{wrong.reason}; });
    }
    void publish() {
        auto at = clock_type::now();
        auto const lap = [&](step s) {
            auto const now = clock_type::now();
            took[s] = now - std::exchange(at, now);
        };
        static_cast<void>(objects_.commit([](auto const& name, auto const&) { throw std::logic_error{name}; }));
        lap(configure);
        auto next = compiler_.compile(configuration_);
        lap(compile);
        publisher_.publish(std::move(next));
        lap(publish_and_free);
    }
    void feed(std::string_view text) {
        auto const begin = clock_type::now();
        read(text);
        took[parse] = clock_type::now() - begin;
        publish();
    }

    std::array<clock_type::duration, steps> took{};

  private:
    void take(boost::json::object const& object) {
        if (auto const* inner = object.if_contains("object")) return take(inner->get_object());
        if (object.at("kind") == "Service") return objects_.put_service(*read_service(object));
        objects_.put_slice(name_of(object).text(), *read_slice(object, topologies_));
    }

    service_source source_;
    service_reader worker_{source_};
    json_stream text_;
    valid_configuration configuration_;
    topology_pool topologies_;
    kubernetes_cluster objects_{configuration_};
    compiler compiler_;
    publisher publisher_{source_};
};

/// Services from `first` on, each with so many pods. \return the number of the first pod that is left
template <class Cluster>
std::size_t add_services(Cluster& c, std::size_t first, std::size_t services, std::size_t pods, std::size_t first_pod) {
    for (std::size_t s = first; s < first + services; ++s, first_pod += pods) {
        c.read(bench::service_object(s));
        for (std::size_t part = 0; part * bench::max_in_slice < pods; ++part)
            c.read(bench::slice_object(bench::slice_of(s, first_pod, pods, part)));
    }
    return first_pod;
}

/// 10,000 services of 10 pods, and behind them 10 of 100 and 10 of 1,000: numbers of services and of their first pods.
struct layout {
    static constexpr std::size_t large = 10;

    explicit layout(std::size_t its_pods) : pods{its_pods} {
        if (pods == pods_each) return;
        bool const is_largest = pods == 1000;
        first = cluster_services + (is_largest ? large : 0);
        services = large;
        first_pod = cluster_services * pods_each + (is_largest ? large * 100 : 0);
    }
    std::size_t pods;
    std::size_t first = 0, services = cluster_services, first_pod = 0;
};

template <class Cluster>
Cluster& whole() {
    static std::unique_ptr<Cluster> const built = [] {
        auto c = std::make_unique<Cluster>();
        for (std::size_t const pods : {10u, 100u, 1000u}) {
            layout const l{pods};
            add_services(*c, l.first, l.services, l.pods, l.first_pod);
        }
        c->publish();
        return c;
    }();
    return *built;
}

/// Mean and worst of something, in milliseconds.
class durations {
  public:
    void note(clock_type::duration took) {
        auto const ms = std::chrono::duration<double, std::milli>{took}.count();
        sum_ += ms;
        worst_ = std::max(worst_, ms);
        ++count_;
    }
    void report(benchmark::State& state, std::string const& what) const {
        state.counters[what + "mean_ms"] = count_ == 0 ? 0 : sum_ / static_cast<double>(count_);
        state.counters[what + "worst_ms"] = worst_;
    }

  private:
    double sum_ = 0, worst_ = 0;
    std::size_t count_ = 0;
};

/// Events about random services: in turn another pod instead of one, or one that is ready no more.
class slice_events {
  public:
    explicit slice_events(std::size_t pods) : of_{pods} {}

    [[nodiscard]] std::string next() {
        auto const which = random_() % of_.services;
        auto const parts = (of_.pods + bench::max_in_slice - 1) / bench::max_in_slice;
        auto slice = bench::slice_of(of_.first + which, of_.first_pod + which * of_.pods, of_.pods, random_() % parts);
        auto& pod = slice.pods[random_() % slice.pods.size()];
        if (std::exchange(replaces_, !replaces_))
            pod = first_new_ + random_() % 400'000;
        else
            slice.not_ready = pod;
        return bench::event("MODIFIED", bench::slice_object(slice));
    }

  private:
    static constexpr std::size_t first_new_ = 200'000;
    layout of_;
    std::mt19937_64 random_{7};
    bool replaces_ = true;
};

/// The whole way: the event's bytes, the configuration, the snapshot, the end of the one before.
void change_slice(benchmark::State& state) {
    auto& cluster = whole<watched_cluster>();
    slice_events events{static_cast<std::size_t>(state.range(0))};
    durations whole_way;
    for (auto _ : state) {
        auto const event = events.next();
        auto const begin = clock_type::now();
        cluster.feed(event);
        auto const took = clock_type::now() - begin;
        state.SetIterationTime(std::chrono::duration<double>{took}.count());
        whole_way.note(took);
    }
    if (cluster.snapshots_alive() != 1) state.SkipWithError("an old snapshot is not freed");
    whole_way.report(state, "");
}
BENCHMARK(change_slice)->ArgName("pods")->Arg(10)->Arg(100)->Arg(1000)->UseManualTime()->Unit(benchmark::kMillisecond);

void change_slice_step_by_step(benchmark::State& state) {
    auto& cluster = whole<stepwise_cluster>();
    slice_events events{static_cast<std::size_t>(state.range(0))};
    std::array<durations, stepwise_cluster::steps> of{};
    for (auto _ : state) {
        cluster.feed(events.next());
        clock_type::duration sum{};
        for (std::size_t s = 0; s < of.size(); ++s) {
            of.at(s).note(cluster.took.at(s));
            sum += cluster.took.at(s);
        }
        state.SetIterationTime(std::chrono::duration<double>{sum}.count());
    }
    std::array const names{"parse_", "configure_", "compile_", "publish_and_free_"};
    for (std::size_t s = 0; s < of.size(); ++s) of.at(s).report(state, names.at(s));
}
BENCHMARK(change_slice_step_by_step)->ArgName("pods")->Arg(10)->UseManualTime()->Unit(benchmark::kMillisecond);

/// A Service and its slice come, each published, and go.
void add_and_delete_service(benchmark::State& state) {
    auto& cluster = whole<watched_cluster>();
    std::size_t const number = cluster_services + 2 * layout::large;
    auto const service = bench::service_object(number);
    auto const slice = bench::slice_object(bench::slice_of(number, 190'000, pods_each));
    durations added, deleted;
    for (auto _ : state) {
        auto total = clock_type::duration{};
        auto const feed = [&](durations& into, std::string const& event) {
            auto const begin = clock_type::now();
            cluster.feed(event);
            auto const took = clock_type::now() - begin;
            into.note(took);
            total += took;
        };
        feed(added, bench::event("ADDED", service));
        feed(added, bench::event("ADDED", slice));
        feed(deleted, bench::event("DELETED", service));
        feed(deleted, bench::event("DELETED", slice));
        state.SetIterationTime(std::chrono::duration<double>{total}.count());
    }
    added.report(state, "added_");
    deleted.report(state, "deleted_");
}
BENCHMARK(add_and_delete_service)->UseManualTime()->Unit(benchmark::kMillisecond);

/// A cluster that grows by a service and its slice with every publication.
void grow(benchmark::State& state) {
    watched_cluster cluster;
    durations each;
    std::size_t number = 0;
    auto const add = [&] {
        add_services(cluster, number, 1, pods_each, number * pods_each);
        ++number;
    };
    while (number < cluster_services) add();
    cluster.publish();
    for (auto _ : state) {
        auto const begin = clock_type::now();
        add();
        cluster.publish();
        each.note(clock_type::now() - begin);
    }
    each.report(state, "");
}
BENCHMARK(grow)->Iterations(2000)->Unit(benchmark::kMillisecond);

/// From the bytes of a List to the first snapshot.
void build_cluster(benchmark::State& state) {
    std::string objects;
    struct collector {
        std::string* into;
        void read(std::string_view text) const { into->append(text); }
    } collect{&objects};
    add_services(collect, 0, cluster_services, pods_each, 0);
    for (auto _ : state) {
        auto cluster = std::make_unique<watched_cluster>();
        cluster->feed(objects);
        if (cluster->now().service_count() != cluster_services) state.SkipWithError("services are missing");
        state.PauseTiming();
        cluster.reset();
        state.ResumeTiming();
    }
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(objects.size()));
}
BENCHMARK(build_cluster)->Iterations(1)->Unit(benchmark::kMillisecond);

/// All that is allocated, with what the allocator adds.
std::size_t heap_in_use() {
    auto const heap = mallinfo2();
    return heap.uordblks + heap.hblkhd;
}

std::size_t ring_bytes(snapshot const& s) {
    std::set<void const*> seen;
    std::size_t bytes = 0;
    for (std::uint32_t i = 0; i < s.service_count(); ++i)
        for (auto const& ring : {s.service_at(i).everywhere, s.service_at(i).local})
            if (ring && seen.insert(ring->entries.get()).second) bytes += ring->entries->size() * sizeof(std::uint16_t);
    return bytes;
}

/// Everything that a service brings, in configuration, compiler, snapshot and one worker's counters, beside the ring's
/// entries.
void memory_of_a_service(benchmark::State& state) {
    auto const pods = static_cast<std::size_t>(state.range(0));
    double bytes = 0, ring = 0;
    for (auto _ : state) {
        auto const cluster = std::make_unique<watched_cluster>();
        cluster->publish();
        auto const before = heap_in_use();
        add_services(*cluster, 0, cluster_services, pods, 0);
        cluster->publish();
        ring = static_cast<double>(ring_bytes(cluster->now())) / cluster_services;
        bytes = static_cast<double>(heap_in_use() - before) / cluster_services - ring;
    }
    state.counters["bytes"] = bytes;
    state.counters["ring_bytes"] = ring;
}
BENCHMARK(memory_of_a_service)->ArgName("pods")->Arg(0)->Arg(1)->Arg(10)->Iterations(1)->Unit(benchmark::kMillisecond);

} // namespace
