#include "kubeproxy/control/compile/publisher.hpp"

#include "support/threads.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <utility>

#include <gtest/gtest.h>

namespace kubeproxy::publish_tests {
namespace {
using testing_support::overlap_meter, testing_support::repeat_until_overlapped, testing_support::run_together;

std::unique_ptr<snapshot const> numbered(std::uint64_t generation, std::size_t services = 0) {
    auto s = std::make_unique<snapshot>();
    s->generation = generation;
    s->services.grow_to(services);
    return s;
}

TEST(publisher, a_snapshot_lives_until_the_last_burst_that_saw_it_is_over) {
    service_source source;
    service_reader slow{source}, idle{source};
    publisher p{source};
    EXPECT_EQ(p.alive(), 0u);
    p.publish(numbered(1));
    auto const* first = slow.enter();
    ASSERT_NE(first, nullptr);
    p.publish(numbered(2));
    p.publish(numbered(3));
    EXPECT_EQ(p.alive(), 3u) << "the second one waits behind the first";
    EXPECT_EQ(first->generation, 1u);
    EXPECT_EQ(p.current()->generation, 3u);
    EXPECT_EQ(p.collect(), 3u);
    slow.leave();
    EXPECT_EQ(slow.enter()->generation, 3u);
    EXPECT_EQ(p.collect(), 1u) << "a burst that began after the exchange holds nothing back";
    slow.leave();
    p.publish(nullptr);
    EXPECT_EQ(p.alive(), 0u);
    EXPECT_EQ(idle.enter(), nullptr);
    idle.leave();
}

TEST(publisher, takes_the_services_away_when_it_ends) {
    service_source source;
    service_reader reader{source};
    {
        publisher p{source};
        p.publish(numbered(1));
    }
    EXPECT_EQ(reader.enter(), nullptr);
    reader.leave();
}

TEST(publisher, counters_are_ready_for_every_place_of_what_is_published) {
    service_source source;
    service_reader reader{source};
    publisher p{source};
    p.publish(numbered(1, 5000));
    reader.counters().services.count(4999, 100, 1);
    EXPECT_EQ(source.service_traffic(4999).packets, 1u);
}

// Under ThreadSanitizer this shows a snapshot that is freed too early, or published half made.
TEST(publisher_threads, two_readers_while_one_thread_publishes) {
    constexpr std::uint64_t publications = 20'000;
    repeat_until_overlapped(3, 1000, [&](overlap_meter& meter) {
        service_source source;
        std::atomic<bool> over{false};
        std::array<std::uint64_t, 2> bursts{}, faults{};
        {
            publisher p{source};
            p.publish(numbered(1, 1));
            std::array<service_reader, 2> readers{service_reader{source}, service_reader{source}};
            auto const read = [&](std::size_t which) {
                for (std::uint64_t newest = 0; !over.load(); ++bursts[which]) {
                    meter.step(1 + which);
                    auto const* services = readers[which].enter();
                    // Each snapshot has as many services as its generation says; none is older than one seen before.
                    if (services->services.size() != services->generation % 7 + 1 && services->generation != 1)
                        ++faults[which];
                    if (services->generation < newest) ++faults[which];
                    newest = services->generation;
                    readers[which].counters().services.count(0, 1, 0);
                    readers[which].leave();
                }
            };
            run_together(3, [&](std::size_t which) {
                if (which != 0) return read(which - 1);
                for (std::uint64_t i = 2; i <= publications; ++i) {
                    meter.step(0);
                    p.publish(numbered(i, i % 7 + 1));
                }
                over = true;
            });
            EXPECT_EQ(p.collect(), 1u) << "everything old is freed";
        }
        EXPECT_EQ(faults[0] + faults[1], 0u);
        EXPECT_EQ(source.service_traffic(0).packets, bursts[0] + bursts[1]);
    });
}

// A worker that is inside a burst when the publisher ends: the publisher waits for it.
TEST(publisher_threads, the_end_waits_for_a_burst) {
    service_source source;
    service_reader reader{source};
    std::atomic<bool> inside{false};
    std::uint64_t seen = 0;
    std::thread worker;
    {
        publisher p{source};
        p.publish(numbered(1));
        worker = std::thread{[&] {
            auto const* services = reader.enter();
            inside = true;
            for (int i = 0; i < 1000; ++i) seen += services->generation;
            reader.leave();
        }};
        while (!inside.load()) std::this_thread::yield();
    }
    worker.join();
    EXPECT_EQ(seen, 1000u);
}

} // namespace
} // namespace kubeproxy::publish_tests
