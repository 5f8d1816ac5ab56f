#include "kubeproxy/nat/reject.hpp"

#include "answer_packets.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace kubeproxy::answers::reject_tests {
namespace {

struct outcome {
    drop_reason why;
    octets content;
    bool is_untouched;
};

template <ip_version V>
outcome answer(octets const& in, icmp_error_fields with, typename V::address const& from,
               std::size_t headroom = icmp_error_headroom<V>, checksum_state state = checksum_state::complete) {
    held_packet packet{in, headroom, state};
    auto const before = packet.memory();
    auto const why = compose_icmp_error<V>(packet, packet.parse_as<V>(), with, from);
    return {why, packet.content(), packet.memory() == before && packet.content() == in};
}

template <ip_version V>
octets reject(octets const& in) {
    auto const from = address<V>(packet<V>{}.destination);
    auto const result = answer<V>(in, port_unreachable<V>(), from);
    EXPECT_EQ(name(result.why), "none");
    return result.content;
}

TEST(port_unreachable, has_the_type_and_code_of_the_family) {
    EXPECT_EQ(port_unreachable<ipv4>(), (icmp_error_fields{3, 3, 0})); // RFC 792
    EXPECT_EQ(port_unreachable<ipv6>(), (icmp_error_fields{1, 4, 0})); // RFC 4443 section 3.1
}

// Inputs and outputs made with Python's struct module, a loop over 16-bit words for RFC 1071, and the fields below.
TEST(compose_icmp_error, whole_packets_ipv4) {
    // DSCP and ECN 0xb9 -> 0xd8: precedence 6 before the TOS bits, no ECN (RFC 1812 section 4.3.2.5, RFC 3168 section
    // 5). DF: atomic, so is the answer (RFC 6864 section 4). The VIP answers.
    EXPECT_EQ(hex(reject<ipv4>(octets_of("45b90020123440003d115e6fc00002070a60000a9c400035000c92e901020304"))),
              "45d8003c0000400040016d780a60000ac00002070303c98b00000000"
              "45b90020123440003d115e6fc00002070a60000a9c400035000c92e901020304");
    // Options are quoted, not repeated; DF clear: the identification comes back (RFC 6864 section 4).
    EXPECT_EQ(hex(reject<ipv4>(octets_of("46000024123400003d110a20c00002070a60000a940400009c400035000c92e901020304"))),
              "45c000401234000040019b580a60000ac00002070303c98b00000000"
              "46000024123400003d110a20c00002070a60000a940400009c400035000c92e901020304");
}

TEST(compose_icmp_error, whole_packets_ipv6) {
    // Class and flow label are not taken over; ICMPv6 covers the pseudo-header (RFC 4443 section 2.3).
    EXPECT_EQ(
        hex(reject<ipv6>(octets_of("6b912345000c113d20010db8000000000000000000000007fd00001000960000000000000000"
                                   "000a9c400035000c33ea01020304"))),
        "60000000003c3a40fd00001000960000000000000000000a20010db8000000000000000000000007"
        "0104331200000000"
        "6b912345000c113d20010db8000000000000000000000007fd00001000960000000000000000000a9c400035000c33ea01020304");
    // Hop-by-Hop Options are quoted, not repeated.
    EXPECT_EQ(hex(reject<ipv6>(octets_of("600000000014003d20010db8000000000000000000000007fd00001000960000000000000000"
                                         "000a11000104000000009c400035000c33ea01020304"))),
              "6000000000443a40fd00001000960000000000000000000a20010db8000000000000000000000007"
              "010460d400000000"
              "600000000014003d20010db8000000000000000000000007fd00001000960000000000000000000a"
              "11000104000000009c400035000c33ea01020304");
}

/// What another translator answered on its own behalf. The field values of the answer are read from its packet, the
/// rest (how much is quoted, lengths, checksums, hop limit) must be the same, but for the octets in `ignored`. Not
/// here: siit/7915/act4, whose Hop-by-Hop Options behind a fragment header the parser refuses (RFC 8200 section 4.1).
struct conformance_case {
    char const* in;
    char const* out;
    std::vector<std::size_t> ignored;
};
std::vector<conformance_case> const conformance_cases{
    {"siit/7915/act2", "siit/7915/ace2", {}},
    {"siit/7915/act3", "siit/7915/ace3", {}},
    {"siit/7915/act5", "siit/7915/ace5", {}},
    {"siit/7915/act6", "siit/7915/ace6", {}},
    {"siit/7915/cgt1", "siit/7915/cge1", {}},
    {"siit/7915/ect1", "siit/7915/ece1", {1, 4, 5, 10, 11}},
    {"nat64/manual/icmp-error/ptb64-test", "nat64/manual/icmp-error/ptb64-expected", {1, 2, 3}},
    {"nat64/manual/icmp-error/ptb46-test", "nat64/manual/icmp-error/ptb46-expected", {1, 4, 5, 6, 10, 11}},
    {"nat64/manual/so/46-sender", "nat64/manual/so/46-receiver", {1, 4, 5, 6, 10, 11}},
};

octets file(std::filesystem::path const& path) {
    std::ifstream stream{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{stream}, std::istreambuf_iterator<char>{}};
}

template <ip_version V>
octets answered_as(octets const& in, octets const& sample) {
    auto const icmp = V::minimum_header;
    icmp_error_fields const with{sample[icmp], sample[icmp + 1], number(sample, icmp + 4, 4)};
    typename V::address from;
    std::ranges::transform(std::span{sample}.subspan(std::same_as<V, ipv4> ? 12 : 8, from.size()), from.begin(),
                           [](std::uint8_t octet) { return std::byte{octet}; });
    return answer<V>(in, with, from).content;
}

TEST(compose_icmp_error, agrees_with_the_conformance_packets) {
    char const* const chosen = std::getenv("KUBEPROXY_CONFORMANCE");
    auto const folder = chosen != nullptr ? std::filesystem::path{chosen}
                                          : std::filesystem::path{KUBEPROXY_SOURCE_DIR} / "../shared/conformance";
    auto const packets = folder / "rfc7915/pkt";
    if (!exists(packets)) GTEST_SKIP() << "no conformance data at " << packets;
    for (auto const& row : conformance_cases) {
        SCOPED_TRACE(row.in);
        auto const in = file(packets / (std::string{row.in} + ".pkt"));
        auto expected = file(packets / (std::string{row.out} + ".pkt"));
        if (in.empty() || expected.empty()) {
            ADD_FAILURE() << "no such packets in " << packets;
            continue;
        }
        auto got = in[0] >> 4 == 4 ? answered_as<ipv4>(in, expected) : answered_as<ipv6>(in, expected);
        EXPECT_EQ(got.size(), expected.size());
        for (auto const at : row.ignored) got.at(at) = expected.at(at) = 0;
        EXPECT_EQ(hex(got), hex(expected));
    }
}

/// The answer as the RFCs want it, made by the packet builder.
template <ip_version V>
octets expected_answer(octets const& in, packet<V> const& asked, icmp_error_fields with) {
    constexpr std::size_t limit = std::same_as<V, ipv4> ? 576 - 28 : 1280 - 48;
    octets const quote(in.begin(), in.begin() + static_cast<std::ptrdiff_t>(std::min(in.size(), limit)));
    packet<V> out{.source = asked.destination,
                  .destination = asked.source,
                  .protocol = V::icmp_protocol,
                  .payload = icmp_message(with.type, with.code, with.rest, quote)};
    if constexpr (std::same_as<V, ipv4>) {
        bool const is_atomic = (asked.flags & 0x7fff) == 0x4000;
        out.traffic_class = static_cast<std::uint8_t>(0xc0 | (asked.traffic_class & 0x1c));
        out.identification = is_atomic ? 0 : asked.identification;
        out.flags = is_atomic ? 0x4000 : 0;
    }
    return out.made();
}

template <ip_version V>
void expect_answered(packet<V> const& asked, icmp_error_fields with, char const* rule) {
    SCOPED_TRACE(rule);
    auto const in = asked.made();
    auto const result = answer<V>(in, with, address<V>(asked.destination));
    EXPECT_EQ(name(result.why), "none");
    EXPECT_EQ(hex(result.content), hex(expected_answer(in, asked, with)));
}

template <ip_version V>
void expect_forbidden(octets const& in, icmp_error_fields with, char const* rule) {
    SCOPED_TRACE(rule);
    auto const result = answer<V>(in, with, address<V>(packet<V>{}.destination));
    EXPECT_EQ(name(result.why), "reject_forbidden");
    EXPECT_TRUE(result.is_untouched);
}

TEST(compose_icmp_error, forbidden_in_ipv4) {
    struct row {
        char const* rule;
        packet<ipv4> about;
    };
    for (auto const& [rule, about] : std::vector<row>{
             {"about destination unreachable (RFC 1122 section 3.2.2)",
              {.protocol = 1, .payload = icmp_about<ipv4>(3)}},
             {"about source quench (RFC 1122 section 3.2.2)", {.protocol = 1, .payload = icmp_about<ipv4>(4)}},
             {"about redirect (RFC 1122 section 3.2.2)", {.protocol = 1, .payload = icmp_about<ipv4>(5)}},
             {"about time exceeded (RFC 1122 section 3.2.2)", {.protocol = 1, .payload = icmp_about<ipv4>(11)}},
             {"about parameter problem (RFC 1122 section 3.2.2)", {.protocol = 1, .payload = icmp_about<ipv4>(12)}},
             {"about an error in a first fragment", {.flags = 0x2000, .protocol = 1, .payload = icmp_about<ipv4>(3)}},
             {"about an error behind options",
              {.headers = octets(40, 1), .protocol = 1, .payload = icmp_about<ipv4>(3)}},
             {"about the last fragment (RFC 1812 section 4.3.2.7)", {.flags = 0x0001}},
             {"about a middle fragment (RFC 1812 section 4.3.2.7)", {.flags = 0x3fff}},
             {"to all hosts (RFC 1812 section 4.3.2.7)", {.destination = "224.0.0.1"}},
             {"to the last group (RFC 1812 section 4.3.2.7)", {.destination = "239.255.255.255"}},
             {"to everybody (RFC 1812 section 4.3.2.7)", {.destination = "255.255.255.255"}},
             {"from nobody (RFC 1122 section 3.2.2)", {.source = "0.0.0.0"}},
             {"from network 0 (RFC 1812 section 5.3.7)", {.source = "0.255.255.255"}},
             {"from loopback (RFC 1122 section 3.2.2)", {.source = "127.0.0.1"}},
             {"from the end of loopback (RFC 1122 section 3.2.2)", {.source = "127.255.255.255"}},
             {"from a group (RFC 1122 section 3.2.2)", {.source = "224.0.0.1"}},
             {"from class E (RFC 1122 section 3.2.2)", {.source = "240.0.0.1"}},
             {"from everybody (RFC 1122 section 3.2.2)", {.source = "255.255.255.255"}},
             {"about ICMP too short to show that it is no error", {.protocol = 1, .payload = octets(7)}},
             {"about UDP without a whole header", {.payload = octets(7)}},
             {"about a first fragment without its transport header (RFC 1858)",
              {.flags = 0x2000, .payload = octets(7)}},
         })
        expect_forbidden<ipv4>(about.made(), port_unreachable<ipv4>(), rule);
    for (std::size_t const at : {1u, 8u, 10u, 12u, 15u}) { // TOS, TTL, checksum, source
        auto damaged = packet<ipv4>{}.made();
        damaged[at] ^= 0x40;
        expect_forbidden<ipv4>(damaged, port_unreachable<ipv4>(), "with a damaged header (RFC 1812 section 5.2.2)");
    }
}

TEST(compose_icmp_error, allowed_in_ipv4) {
    struct row {
        char const* rule;
        packet<ipv4> about;
        icmp_error_fields with = port_unreachable<ipv4>();
    };
    for (auto const& [rule, about, with] : std::vector<row>{
             {"UDP", {}},
             {"TCP", {.protocol = 6, .payload = segment{}.made()}},
             {"SCTP", {.protocol = 132, .payload = octets(12)}},
             {"ESP is not looked into", {.protocol = 50, .payload = octets(3)}},
             {"the smallest packet", {.protocol = 253, .payload = {}}},
             {"an echo request", {.protocol = 1, .payload = icmp_about<ipv4>(8)}},
             {"an echo reply", {.protocol = 1, .payload = icmp_about<ipv4>(0)}},
             {"a timestamp request, a query (RFC 1122 section 3.2.2)",
              {.protocol = 1, .payload = icmp_about<ipv4>(13)}},
             {"the first fragment (RFC 1812 section 4.3.2.7)", {.identification = 77, .flags = 0x2000}},
             {"a first fragment with DF is not atomic (RFC 6864 section 4)", {.identification = 77, .flags = 0x6000}},
             {"the reserved flag means nothing", {.identification = 77, .flags = 0xc000}},
             {"DF clear: the answer has the same identification (RFC 6864)", {.identification = 77, .flags = 0}},
             {"40 octets of options are quoted", {.headers = octets(40, 1)}},
             {"TOS bits stay, precedence becomes 6, ECN goes (RFC 1812 section 4.3.2.5)", {.traffic_class = 0x3f}},
             {"a subnet's broadcast cannot be seen (RFC 1122 section 3.3.6)", {.destination = "10.255.255.255"}},
             {"the first unicast source", {.source = "1.0.0.0"}},
             {"the last source before loopback", {.source = "126.255.255.255"}},
             {"the first source behind loopback", {.source = "128.0.0.0"}},
             {"the last unicast source", {.source = "223.255.255.255"}},
             {"a wrong transport checksum is none of a router's business", {.protocol = 253, .payload = octets(9, 1)}},
             {"fragmentation needed carries the MTU (RFC 1191 section 4)",
              {.payload = udp_header + octets(1400)},
              {3, 4, 1280}},
             {"source route failed (RFC 7915 section 4.1)", {.headers = octets{131, 7, 4, 0, 0, 0, 0, 0}}, {3, 5, 0}},
         })
        expect_answered(about, with, rule);
}

TEST(compose_icmp_error, forbidden_in_ipv6) {
    constexpr icmp_error_fields unreachable = port_unreachable<ipv6>();
    constexpr icmp_error_fields too_big{2, 0, 1280}, erroneous_field{4, 0, 6}, unknown_header{4, 1, 6},
        unknown_option{4, 2, 40};
    octets const later = octets_of("1100000800000001"), first = octets_of("3a00000100000001");
    struct row {
        char const* rule;
        packet<ipv6> about;
        icmp_error_fields with;
    };
    for (auto const& [rule, about, with] : std::vector<row>{
             {"about unreachable (RFC 4443 section 2.4 e.1)",
              {.protocol = 58, .payload = icmp_about<ipv6>(1)},
              unreachable},
             {"about Packet Too Big (RFC 4443 section 2.4 e.1)",
              {.protocol = 58, .payload = icmp_about<ipv6>(2)},
              unreachable},
             {"about time exceeded (RFC 4443 section 2.4 e.1)",
              {.protocol = 58, .payload = icmp_about<ipv6>(3)},
              unreachable},
             {"about parameter problem (RFC 4443 section 2.4 e.1)",
              {.protocol = 58, .payload = icmp_about<ipv6>(4)},
              unreachable},
             {"about an experimental error (RFC 4443 section 2.1)",
              {.protocol = 58, .payload = icmp_about<ipv6>(100)},
              unreachable},
             {"about the last error type (RFC 4443 section 2.1)",
              {.protocol = 58, .payload = icmp_about<ipv6>(127)},
              unreachable},
             {"about redirect (RFC 4443 section 2.4 e.2)",
              {.protocol = 58, .payload = icmp_about<ipv6>(137)},
              unreachable},
             {"Packet Too Big about an error (e.1)", {.protocol = 58, .payload = icmp_about<ipv6>(1)}, too_big},
             {"an unknown option in a redirect (e.2)",
              {.protocol = 58, .payload = icmp_about<ipv6>(137)},
              unknown_option},
             {"about an error behind an extension header (e.1)",
              {.headers = octets_of("3a00010400000000"), .first = 0, .protocol = 58, .payload = icmp_about<ipv6>(1)},
              unreachable},
             {"about an error in a first fragment (e.1)",
              {.headers = first, .first = 44, .protocol = 58, .payload = icmp_about<ipv6>(1)},
              unreachable},
             {"to a group (RFC 4443 section 2.4 e.3)", {.destination = "ff02::1"}, unreachable},
             {"an erroneous field to a group (e.3)", {.destination = "ff0e::1"}, erroneous_field},
             {"an unknown header to a group (e.3)", {.destination = "ff0e::1"}, unknown_header},
             {"from nobody (RFC 4443 section 2.4 e.6)", {.source = "::"}, unreachable},
             {"Packet Too Big to nobody (e.6)", {.source = "::"}, too_big},
             {"from a group (RFC 4443 section 2.4 e.6)", {.source = "ff02::1"}, unreachable},
             {"an unknown option from a group (e.6)", {.source = "ff02::1"}, unknown_option},
             {"from loopback (RFC 4291 section 2.5.3)", {.source = "::1"}, unreachable},
             {"about a later fragment", {.headers = later, .first = 44}, unreachable},
             {"about ICMPv6 too short to show that it is no error",
              {.protocol = 58, .payload = octets(7)},
              unreachable},
             {"about a chain that leaves the packet",
              {.headers = octets_of("1101"), .first = 60, .payload = {}},
              unreachable},
         })
        expect_forbidden<ipv6>(about.made(), with, rule);
}

TEST(compose_icmp_error, allowed_in_ipv6) {
    constexpr icmp_error_fields too_big{2, 0, 1280}, unknown_option{4, 2, 40};
    octets const later = octets_of("1100000800000001");
    struct row {
        char const* rule;
        packet<ipv6> about;
        icmp_error_fields with = port_unreachable<ipv6>();
    };
    for (auto const& [rule, about, with] : std::vector<row>{
             {"UDP", {}},
             {"TCP", {.traffic_class = 0xff, .protocol = 6, .payload = segment{}.made()}},
             {"the smallest packet (RFC 8200 section 4.7)", {.protocol = 59, .payload = {}}},
             {"an echo request", {.protocol = 58, .payload = icmp_about<ipv6>(128)}},
             {"an echo reply", {.protocol = 58, .payload = icmp_about<ipv6>(129)}},
             {"a neighbour solicitation", {.protocol = 58, .payload = icmp_about<ipv6>(135)}},
             {"the type behind redirect", {.protocol = 58, .payload = icmp_about<ipv6>(138)}},
             {"ICMP of the other family is not looked into", {.protocol = 1, .payload = icmp_about<ipv4>(3)}},
             {"the first fragment", {.headers = octets_of("1100000100000001"), .first = 44}},
             {"an atomic fragment (RFC 6946)", {.headers = octets_of("1100000000000001"), .first = 44}},
             {"segments left (RFC 7915 section 5.1)",
              {.headers = octets_of("1102030100000000") + octets(16), .first = 43},
              {4, 0, 43}},
             {"two headers", {.headers = octets_of("3c000104000000001100010400000000"), .first = 0}},
             {"Packet Too Big to a group (RFC 4443 section 2.4 e.3)", {.destination = "ff0e::1"}, too_big},
             {"an unknown option to a group (RFC 4443 section 2.4 e.3)", {.destination = "ff0e::1"}, unknown_option},
             {"Packet Too Big about a later fragment (RFC 8201 section 4)", {.headers = later, .first = 44}, too_big},
             {"from a link-local address", {.source = "fe80::1"}},
         }) {
        if (about.destination == packet<ipv6>{}.destination) {
            expect_answered(about, with, rule);
            continue;
        }
        SCOPED_TRACE(rule); // a group does not answer: one of its members does
        auto alone = about;
        alone.destination = "2001:db8::1";
        auto const result = answer<ipv6>(about.made(), with, address<ipv6>(alone.destination));
        EXPECT_EQ(name(result.why), "none");
        EXPECT_EQ(hex(result.content), hex(expected_answer(about.made(), alone, with)));
    }
}

/// RFC 1812 section 4.3.2.3: at most 576 octets; RFC 4443 section 2.4 (c): at most 1280.
template <ip_version V>
void expect_cut(std::size_t limit) {
    auto const overhead = V::minimum_header + 8;
    for (auto const whole : {limit - overhead - 1, limit - overhead, limit - overhead + 1, limit, std::size_t{65535}}) {
        auto const data = whole - V::minimum_header - 8;
        packet<V> const asked{.payload = udp_header + octets(data, 0xa5)};
        expect_answered(asked, port_unreachable<V>(), "a long packet");
        EXPECT_EQ(reject<V>(asked.made()).size(), std::min(limit, whole + overhead)) << whole;
    }
}
TEST(compose_icmp_error, quotes_as_much_as_fits) {
    expect_cut<ipv4>(576);
    expect_cut<ipv6>(1280);
}

TEST(compose_icmp_error, does_not_quote_what_is_behind_the_packet) {
    EXPECT_EQ(reject<ipv4>(packet<ipv4>{}.made() + octets(18, 0xaa)), reject<ipv4>(packet<ipv4>{}.made()));
    EXPECT_EQ(reject<ipv6>(packet<ipv6>{}.made() + octets(18, 0xaa)), reject<ipv6>(packet<ipv6>{}.made()));
}

TEST(compose_icmp_error, quotes_a_partial_checksum_as_it_stands) {
    auto in = packet<ipv4>{}.made();
    in[26] = 0x12; // the sum of a pseudo-header, say
    auto const from = address<ipv4>("10.96.0.10");
    auto const result = answer<ipv4>(in, port_unreachable<ipv4>(), from, 28, checksum_state::partial);
    EXPECT_EQ(hex(result.content), hex(expected_answer(in, packet<ipv4>{}, port_unreachable<ipv4>())));
}

template <ip_version V>
void expect_headroom(std::size_t needed) {
    auto const from = address<V>(packet<V>{}.destination);
    auto const in = packet<V>{}.made();
    EXPECT_EQ(icmp_error_headroom<V>, needed);
    EXPECT_EQ(answer<V>(in, port_unreachable<V>(), from, needed).why, drop_reason::none);
    EXPECT_EQ(answer<V>(in, port_unreachable<V>(), from, needed + 100).content, reject<V>(in));
    for (std::size_t less = 0; less < needed; ++less) {
        auto const result = answer<V>(in, port_unreachable<V>(), from, less);
        EXPECT_EQ(result.why, drop_reason::no_headroom) << less;
        EXPECT_TRUE(result.is_untouched) << less;
    }
}
TEST(compose_icmp_error, needs_the_headroom_it_states) {
    expect_headroom<ipv4>(28);
    expect_headroom<ipv6>(48);
}

} // namespace
} // namespace kubeproxy::answers::reject_tests
