#include "kubeproxy/wire/packet.hpp"

#include "support/parse_invariants.hpp"
#include "support/seed_packets.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <random>
#include <string_view>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

namespace kubeproxy::hostile_bytes_tests {
namespace {

constexpr int count = 1'000'000;
constexpr std::size_t largest = 200;

/// What became of many inputs.
class histogram {
  public:
    void count(parse_result const& result) {
        if (auto const* const why = std::get_if<drop_reason>(&result))
            ++refused_[static_cast<std::size_t>(*why)];
        else if (auto const* const p = std::get_if<parsed<ipv4>>(&result))
            count(*p, contents_[0]);
        else
            count(std::get<parsed<ipv6>>(result), contents_[1]);
    }
    [[nodiscard]] std::uint64_t refused(drop_reason why) const { return refused_[static_cast<std::size_t>(why)]; }
    [[nodiscard]] std::uint64_t flawed(drop_reason why) const { return flawed_[static_cast<std::size_t>(why)]; }
    [[nodiscard]] std::uint64_t ipv4_packets(content what) const {
        return contents_[0][static_cast<std::size_t>(what)];
    }
    [[nodiscard]] std::uint64_t ipv6_packets(content what) const {
        return contents_[1][static_cast<std::size_t>(what)];
    }

    void print(std::string_view title) const {
        std::printf("%.*s\n", static_cast<int>(title.size()), title.data());
        for (std::size_t i = 0; i < drop_reason_count; ++i) {
            auto const why = name(static_cast<drop_reason>(i));
            print_row("refused", why, refused_[i]);
            print_row("flawed", why, flawed_[i]);
        }
        for (std::size_t i = 0; i < content_names.size(); ++i) {
            print_row("IPv4", content_names[i], contents_[0][i]);
            print_row("IPv6", content_names[i], contents_[1][i]);
        }
    }

  private:
    static constexpr std::array<std::string_view, 6> content_names{"ports",      "echo",   "icmp_error",
                                                                   "other_icmp", "opaque", "later_fragment"};
    using by_content = std::array<std::uint64_t, content_names.size()>;

    template <ip_version V>
    void count(parsed<V> const& p, by_content& contents) {
        if (p.flaw != drop_reason::none)
            ++flawed_[static_cast<std::size_t>(p.flaw)];
        else
            ++contents[static_cast<std::size_t>(p.what)];
    }
    static void print_row(char const* kind, std::string_view what, std::uint64_t n) {
        if (n != 0)
            std::printf("  %-8s %-22.*s %8llu\n", kind, static_cast<int>(what.size()), what.data(),
                        static_cast<unsigned long long>(n));
    }
    std::array<std::uint64_t, drop_reason_count> refused_{}, flawed_{};
    std::array<by_content, 2> contents_{};
};

/// Holds one input at a time, at the end of its memory: AddressSanitizer sees the first octet read behind it.
class arena {
  public:
    [[nodiscard]] mutable_byte_span last(std::size_t size) { return mutable_byte_span{memory_}.last(size); }

  private:
    std::vector<std::byte> memory_ = std::vector<std::byte>(largest);
};

void try_parse(mutable_byte_span input, histogram& seen) {
    std::array<std::byte, largest> before;
    std::ranges::copy(input, before.begin());
    auto const result = parse(input);
    seen.count(result);
    if (auto const* const what = invariant::in_result(result, input); what != invariant::none) ADD_FAILURE() << what;
    if (!std::ranges::equal(input, std::span{before}.first(input.size()))) ADD_FAILURE() << "parsing wrote";
}

class octet_source {
  public:
    explicit octet_source(std::uint64_t seed) : random_{seed} {}
    [[nodiscard]] std::size_t below(std::size_t bound) { return static_cast<std::size_t>(random_() % bound); }
    [[nodiscard]] std::byte octet() { return static_cast<std::byte>(random_()); }
    /// Octets that steer a parser: versions, lengths, protocols and the values around their limits.
    [[nodiscard]] std::byte telling_octet() {
        constexpr std::array<unsigned, 32> values{0,   1,   2,   3,   4,    5,    6,    7,    8,    17,  20,
                                                  40,  43,  44,  47,  50,   51,   58,   59,   60,   64,  96,
                                                  128, 129, 132, 135, 0x45, 0x4f, 0x60, 0x7f, 0x80, 0xff};
        return static_cast<std::byte>(values[below(values.size())]);
    }
    void fill(mutable_byte_span bytes) {
        for (std::size_t i = 0; i < bytes.size();) {
            auto word = random_();
            for (int octet = 0; octet < 8 && i < bytes.size(); ++octet, word >>= 8)
                bytes[i++] = static_cast<std::byte>(word);
        }
    }

  private:
    std::mt19937_64 random_;
};

/// A length that fits for `headers` and what is behind them; often for hardly more than the headers.
std::uint16_t plausible_length(std::size_t size, std::size_t headers, octet_source& random) {
    if (size < headers) return 0;
    auto const behind = random.below(4) == 0 ? std::min<std::size_t>(random.below(24), size - headers)
                                             : random.below(size - headers + 2);
    return static_cast<std::uint16_t>(behind);
}

void make_plausible_ipv4(mutable_byte_span bytes, octet_source& random) {
    std::size_t const header = (std::to_integer<std::size_t>(bytes[0]) & 15u) * 4u;
    store_be(bytes, 2, static_cast<std::uint16_t>(header + plausible_length(bytes.size(), header, random)));
    constexpr std::array<std::uint16_t, 4> fragments{0x0000, 0x4000, 0x2000, 0x2001};
    store_be(bytes, 6, fragments[random.below(fragments.size())]);
    bytes[9] = random.telling_octet();
    if (header >= 20 && header < bytes.size()) bytes[header] = random.telling_octet();
}

void make_plausible_ipv6(mutable_byte_span bytes, octet_source& random) {
    store_be(bytes, 4, plausible_length(bytes.size(), 40, random));
    bytes[6] = random.telling_octet();
    for (std::size_t at = 40; at + 8 <= bytes.size(); at += 8) { // short extension headers, and first fragments
        bytes[at] = random.telling_octet();
        bytes[at + 1] &= std::byte{1};
        if (random.below(2) == 0) store_be(bytes, at + 2, std::uint16_t{1});
    }
}

/// Random octets; most get a version, and every other one a length that fits and a protocol that is looked into,
/// for nearly all would end at the length otherwise.
void make_random(mutable_byte_span bytes, octet_source& random) {
    random.fill(bytes);
    if (bytes.empty()) return;
    auto const kind = random.below(8);
    if (kind == 7) return;
    auto const version = kind < 4 ? std::byte{0x40} : std::byte{0x60};
    bytes[0] = version | (bytes[0] & std::byte{0x0f});
    if (bytes.size() < 10 || random.below(2) == 0) return;
    if (kind < 4)
        make_plausible_ipv4(bytes, random);
    else
        make_plausible_ipv6(bytes, random);
}

/// The inputs reach every outcome, or they would not show what they are for.
void expect_every_outcome(histogram const& seen) {
    for (auto const why :
         {drop_reason::truncated, drop_reason::bad_version, drop_reason::bad_header_length, drop_reason::bad_length})
        EXPECT_GT(seen.refused(why), 100u) << name(why);
    for (auto const why :
         {drop_reason::bad_extension_header, drop_reason::truncated_transport, drop_reason::tiny_fragment})
        EXPECT_GT(seen.flawed(why), 100u) << name(why);
    for (auto const what : {content::ports, content::echo, content::icmp_error, content::other_icmp, content::opaque,
                            content::later_fragment}) {
        EXPECT_GT(seen.ipv4_packets(what), 100u) << static_cast<int>(what);
        EXPECT_GT(seen.ipv6_packets(what), 100u) << static_cast<int>(what);
    }
}

TEST(hostile_bytes, a_million_random_strings_keep_every_promise) {
    arena memory;
    octet_source random{1};
    histogram seen;
    for (int i = 0; i < count; ++i) {
        auto const bytes = memory.last(random.below(largest + 1));
        make_random(bytes, random);
        try_parse(bytes, seen);
    }
    seen.print("random strings:");
    expect_every_outcome(seen);
}

/// Makes the header of a packet that was cut announce no more than there is.
void say_length(mutable_byte_span bytes) {
    auto const size = static_cast<std::uint16_t>(bytes.size());
    if ((bytes[0] >> 4) == std::byte{4} && size >= 20) store_be(bytes, 2, size);
    if ((bytes[0] >> 4) == std::byte{6} && size >= 40) store_be(bytes, 4, static_cast<std::uint16_t>(size - 40));
}

/// One to four changes: a bit, an octet, a telling octet, an octet from elsewhere.
mutable_byte_span mutate(mutable_byte_span bytes, octet_source& random) {
    for (auto left = 1 + random.below(4); left > 0; --left) {
        auto const at = random.below(random.below(2) == 0 ? std::min<std::size_t>(bytes.size(), 64) : bytes.size());
        switch (random.below(4)) {
        case 0: bytes[at] ^= static_cast<std::byte>(1u << random.below(8)); break;
        case 1: bytes[at] = random.octet(); break;
        case 2: bytes[at] = random.telling_octet(); break;
        case 3: bytes[at] = bytes[random.below(bytes.size())]; break;
        }
    }
    return bytes;
}

TEST(hostile_bytes, a_million_mutated_packets_keep_every_promise) {
    auto const seeds = seed::all_kinds();
    arena memory;
    octet_source random{2};
    histogram seen;
    for (int i = 0; i < count; ++i) {
        auto const& packet = seeds[random.below(seeds.size())].bytes;
        auto const size = random.below(8) == 0 ? 1 + random.below(packet.size()) : packet.size();
        auto const bytes = memory.last(size);
        copy_bytes(bytes, byte_span{packet}.first(size));
        if (size != packet.size() && random.below(4) != 0) say_length(bytes);
        try_parse(mutate(bytes, random), seen);
    }
    seen.print("mutated packets:");
    expect_every_outcome(seen);
}

TEST(hostile_bytes, a_valid_packet_cut_anywhere_is_refused) { // RFC 791, RFC 8200: its length says how long it was
    arena memory;
    for (auto const& [kind, packet] : seed::all_kinds()) {
        if (kind.ends_with("padded")) continue;
        for (std::size_t size = 0; size < packet.size(); ++size) {
            auto const bytes = memory.last(size);
            copy_bytes(bytes, byte_span{packet}.first(size));
            ASSERT_TRUE(std::holds_alternative<drop_reason>(parse(bytes))) << kind << ", " << size << " octets";
        }
    }
}

} // namespace
} // namespace kubeproxy::hostile_bytes_tests
