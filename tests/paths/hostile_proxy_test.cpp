#include "kubeproxy/dataplane/proxy.hpp"

#include "support/hostile_host.hpp"
#include "support/hostile_services.hpp"
#include "support/packet_surgery.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <random>
#include <string_view>
#include <vector>

// Whatever comes gets a verdict and keeps every promise of support/proxy_invariants.hpp, in all four translations.

namespace kubeproxy::hostile_proxy_tests {
namespace {

using namespace testing_support;
using seed::octets;

constexpr int count = 1'000'000;
constexpr std::size_t largest = 200;

void print_row(std::string_view what, std::string_view why, std::uint64_t n) {
    if (n != 0)
        std::printf("  %-8.*s %-26.*s %8llu\n", static_cast<int>(what.size()), what.data(),
                    static_cast<int>(why.size()), why.data(), static_cast<unsigned long long>(n));
}

void print(std::string_view title, told_verdicts const& told) {
    std::printf("%.*s\n", static_cast<int>(title.size()), title.data());
    for (auto const what : {action::pass, action::forward, action::reply, action::drop})
        for (std::size_t i = 0; i < drop_reason_count; ++i) {
            auto const why = static_cast<drop_reason>(i);
            print_row(name(what), why == drop_reason::none ? "" : name(why), told.of(what, why));
        }
}

class octet_source {
  public:
    explicit octet_source(std::uint64_t seed) : random_{seed} {}
    [[nodiscard]] std::size_t below(std::size_t bound) { return static_cast<std::size_t>(random_() % bound); }
    [[nodiscard]] std::byte octet() { return static_cast<std::byte>(random_()); }
    /// Octets that steer the proxy: versions, lengths, protocols, ICMP types and the values around their limits.
    [[nodiscard]] std::byte telling_octet() {
        constexpr std::array<unsigned, 32> values{0,  1,  2,   3,   4,   5,    6,    8,    11,   12,  13,
                                                  17, 20, 40,  43,  44,  47,   50,   51,   53,   58,  59,
                                                  60, 64, 128, 129, 132, 0x45, 0x46, 0x60, 0x80, 0xff};
        return static_cast<std::byte>(values[below(values.size())]);
    }
    [[nodiscard]] octets string(std::size_t size) {
        octets result(size);
        for (auto& one : result) one = octet();
        return result;
    }

  private:
    std::mt19937_64 random_;
};

/// Two addresses of services for each translation, and one of a service without pods.
void steer(octets& bytes, octet_source& random) {
    bool const is_ipv4 = (bytes[0] >> 4) == std::byte{4};
    constexpr std::array<unsigned, 5> hosts{7, 6, 135, 134, 251};
    constexpr std::array<unsigned, 5> networks{0, 0, 1, 1, 0xff};
    auto const which = random.below(5);
    if (is_ipv4 && bytes.size() >= 20)
        bytes = seed::with(bytes, {{12, seed::of({192, 0, 2, 1, 198, 51, 100, hosts[which]})}});
    if (!is_ipv4 && bytes.size() >= 40)
        bytes =
            seed::with(bytes, {{24, seed::of({0x20, 1, 0xd, 0xb8, 0, 1, 0, networks[which], 0, 0, 0, 0, 0, 0, 0, 7})}});
}

/// Random octets, most with a version; of those, half with lengths that fit, a protocol and the address of a service.
octets random_string(octet_source& random) {
    auto bytes = random.string(random.below(largest + 1));
    auto const kind = random.below(8);
    if (bytes.empty() || kind == 7) return bytes;
    bytes[0] = (kind < 4 ? std::byte{0x40} : std::byte{0x60}) | (bytes[0] & std::byte{0x0f});
    if (bytes.size() < 40 || random.below(2) == 0) return bytes;
    if (kind < 3) bytes[0] = std::byte{0x45};
    surgery::say_length(bytes);
    constexpr std::array<unsigned, 4> fragments{0x0000, 0x4000, 0x2000, 0x2001};
    if (kind < 4) bytes = seed::with(bytes, {{6, seed::be16(fragments[random.below(4)])}});
    bytes[kind < 4 ? 9 : 6] = random.telling_octet();
    bytes[kind < 4 ? 20 : 40 % bytes.size()] = random.telling_octet();
    steer(bytes, random);
    return bytes;
}

std::vector<octets> seeds() {
    std::vector<octets> all;
    for (auto const& [kind, bytes] : seed::all_kinds()) all.push_back(bytes);
    all.push_back(seed::bytes_of(
        seed::ipv4_packet{.fragment = 0x2000, .protocol = 132, .payload = seed::sctp(seed::counted(12))}));
    auto const about4 = seed::bytes_of(
        seed::ipv4_packet{.source = seed::of({198, 51, 100, 135}), .destination = seed::of({192, 0, 2, 1})});
    seed::ipv6_packet const request;
    auto const about6 = seed::bytes_of(seed::ipv6_packet{.source = request.destination, .destination = request.source});
    for (unsigned const type : {3u, 11u, 12u})
        all.push_back(seed::bytes_of(seed::ipv4_packet{.protocol = 1, .payload = seed::icmp(type, 0, 0, about4)}));
    for (unsigned const type : {1u, 2u, 3u, 4u})
        all.push_back(seed::bytes_of(seed::ipv6_packet{.protocol = 58, .payload = seed::icmp(type, 0, 1400, about6)}));
    return all;
}

/// Up to three changes: a bit, an octet, a telling octet, an octet from elsewhere.
void mutate(octets& bytes, octet_source& random) {
    for (auto left = random.below(4); left > 0; --left) {
        auto const at = random.below(random.below(2) == 0 ? std::min<std::size_t>(bytes.size(), 64) : bytes.size());
        switch (random.below(4)) {
        case 0: bytes[at] ^= static_cast<std::byte>(1u << random.below(8)); break;
        case 1: bytes[at] = random.octet(); break;
        case 2: bytes[at] = random.telling_octet(); break;
        case 3: bytes[at] = bytes[random.below(bytes.size())]; break;
        }
    }
}

class hostile_proxy : public testing::Test {
  protected:
    hostile_proxy() {
        configure(control_, hostile_services::all_ports);
        auto const more = control_.apply("ku vip 198.51.100.251\nku vip 2001:db8:1:ff::/64\n");
        EXPECT_TRUE(more.ok());
    }

    /// Packets of `next()` in bursts, until there were `count`; time goes on meanwhile, and jumps now and then.
    template <class Next>
    void run(octet_source& random, Next next) {
        constexpr std::size_t largest_burst = 40;
        std::vector<guarded_packet> burst;
        for (int left = count; left > 0; left -= static_cast<int>(burst.size())) {
            burst.clear();
            auto const size = std::min<std::size_t>(1 + random.below(largest_burst), static_cast<std::size_t>(left));
            while (burst.size() < size) burst.emplace_back(next());
            clock_ += std::chrono::milliseconds{random.below(100) == 0 ? 20'000 : random.below(50)};
            host_.run(burst, clock_, random.below(4));
            ASSERT_STREQ(host_.broken(), invariant::none) << "with " << left << " packets left";
            remember(burst, random);
        }
    }
    /// What the other side answers to a packet that left.
    [[nodiscard]] octets answer(octet_source& random) {
        return answers_.empty() ? octets(1) : answers_[random.below(answers_.size())];
    }
    [[nodiscard]] told_verdicts const& told() const { return host_.told(); }

    /// Each was met so often that it was no accident, or the inputs would not show what they are for.
    void expect_all(action what, std::initializer_list<drop_reason> reasons) const {
        for (auto const why : reasons) EXPECT_GT(told().of(what, why), 20u) << name(what) << ' ' << name(why);
    }

  private:
    void remember(std::vector<guarded_packet> const& burst, octet_source& random) {
        auto const i = random.below(burst.size());
        if (host_.outcome_of(i).what != verdict::forward()) return;
        auto const bytes = burst[i].bytes();
        auto answer = surgery::answer_to(octets(bytes.begin(), bytes.end()));
        if (answers_.size() < 64)
            answers_.push_back(std::move(answer));
        else
            answers_[random.below(64)] = std::move(answer);
    }

    service_source services_;
    controller control_{services_};
    hostile_host host_{services_, {.proxy = {}, .flows = {256, 256}}};
    std::vector<octets> answers_;
    std::chrono::nanoseconds clock_{};
};

TEST_F(hostile_proxy, a_million_random_strings_keep_every_promise) {
    octet_source random{1};
    run(random, [&] {
        auto bytes = random_string(random);
        surgery::complete_checksums(bytes, checksum_state::complete, random.below(2) == 0, random.below(4) == 0);
        return guarded_packet{bytes};
    });
    print("random strings:", told());
    using enum drop_reason;
    expect_all(action::pass, {none});
    expect_all(action::forward, {none});
    expect_all(action::reply, {no_endpoints});
    expect_all(action::drop, {truncated, bad_version, bad_header_length, bad_length, bad_extension_header,
                              truncated_transport, tiny_fragment, bad_ipv4_checksum, protocol_unsupported});
}

TEST_F(hostile_proxy, a_million_mutated_packets_keep_every_promise) {
    octet_source random{2};
    auto const all = seeds();
    run(random, [&] {
        bool const is_answer = random.below(4) == 0;
        auto bytes = is_answer ? answer(random) : all[random.below(all.size())];
        if (!is_answer && random.below(4) != 0) steer(bytes, random);
        mutate(bytes, random);
        surgery::complete_checksums(bytes, checksum_state::complete, random.below(4) != 0, random.below(2) == 0);
        if (random.below(16) == 0) bytes.resize(1 + random.below(bytes.size()));
        return guarded_packet{bytes, {.headroom = random.below(8) == 0 ? random.below(129) : 128}};
    });
    print("mutated packets:", told());
    using enum drop_reason;
    expect_all(action::pass, {none});
    expect_all(action::forward, {none});
    expect_all(action::reply, {no_endpoints, source_route});
    expect_all(action::drop,
               {truncated, bad_version, bad_header_length, bad_length, bad_extension_header, truncated_transport,
                tiny_fragment, bad_ipv4_checksum, bad_icmp_checksum, icmp_type, icmp_fragment, protocol_unsupported,
                no_headroom, fragment_held, reject_forbidden, quoted_truncated, sctp_fragment});
}

} // namespace
} // namespace kubeproxy::hostile_proxy_tests
