#include "kubeproxy/nat/tcp_reset.hpp"

#include "answer_packets.hpp"

#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace kubeproxy::answers::tcp_reset_tests {
namespace {

struct outcome {
    drop_reason why;
    octets content;
    bool is_untouched;
};

template <ip_version V>
outcome reset(octets const& in, checksum_state state = checksum_state::complete) {
    held_packet packet{in, 0, state};
    auto const before = packet.memory();
    auto const why = compose_tcp_reset<V>(packet, packet.parse_as<V>());
    return {why, packet.content(), packet.memory() == before && packet.content() == in};
}

// Inputs and outputs made with Python's struct module, a loop over 16-bit words for RFC 1071, and RFC 9293's rules.
TEST(compose_tcp_reset, whole_packets) {
    // A SYN with an MSS option: <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>.
    EXPECT_EQ(
        hex(reset<ipv4>(octets_of("4500002c000740003d067154c00002070a60000a9c400050fffffffe000000006002ffff2f260000"
                                  "020405b4"))
                .content),
        "450000280000400040066e5f0a60000ac000020700509c4000000000ffffffff5014000046cf0000");
    // An ACK with five octets of data: <SEQ=SEG.ACK><CTL=RST>.
    EXPECT_EQ(
        hex(reset<ipv6>(octets_of("603000000019063d20010db8000000000000000000000007fd00001000960000000000000000000a"
                                  "9c400050000003e8deadbeef5018ffff026f000068656c6c6f"))
                .content),
        "6000000000140640fd00001000960000000000000000000a20010db8000000000000000000000007"
        "00509c40deadbeef00000000500400004a420000");
}

constexpr std::uint8_t fin = 1, syn = 2, rst = 4, psh = 8, ack = 16;

struct reset_case {
    char const* rule;
    segment about;
    std::uint32_t sequence;
    std::uint32_t acknowledgment;
    std::uint8_t flags;
};
// RFC 9293 section 3.10.7.1; SEG.LEN counts SYN and FIN (section 3.4).
std::vector<reset_case> const reset_cases{
    {"SYN: acknowledged by one", {.sequence = 1000, .flags = syn}, 0, 1001, rst | ack},
    {"SYN before the wrap: acknowledged by zero", {.sequence = 0xffff'ffff, .flags = syn}, 0, 0, rst | ack},
    {"SYN with data: both counted", {.flags = syn, .data = octets(10)}, 0, 1011, rst | ack},
    {"SYN and FIN: both counted", {.flags = syn | fin, .data = octets(3)}, 0, 1005, rst | ack},
    {"neither SYN nor ACK: the data is acknowledged", {.flags = psh, .data = octets(7)}, 0, 1007, rst | ack},
    {"FIN without ACK", {.flags = fin}, 0, 1001, rst | ack},
    {"nothing at all", {.flags = 0}, 0, 1000, rst | ack},
    {"an old acknowledgment without the flag says nothing", {.acknowledgment = 5, .flags = syn}, 0, 1001, rst | ack},
    {"ACK: the reset begins there", {.acknowledgment = 0x8000'0000, .flags = ack}, 0x8000'0000, 0, rst},
    {"ACK of zero", {.acknowledgment = 0, .flags = ack}, 0, 0, rst},
    {"data with ACK", {.acknowledgment = 9, .flags = ack | psh, .data = octets(1400)}, 9, 0, rst},
    {"SYN and ACK", {.acknowledgment = 9, .flags = ack | syn}, 9, 0, rst},
    {"FIN and ACK", {.acknowledgment = 9, .flags = ack | fin}, 9, 0, rst},
    {"ECE and CWR are not answered", {.flags = syn | 0xc0}, 0, 1001, rst | ack},
    {"40 octets of options go", {.flags = syn, .options = octets(40, 1), .data = octets(1)}, 0, 1002, rst | ack},
    {"an odd length", {.acknowledgment = 9, .flags = ack, .data = octets(3, 0xff)}, 9, 0, rst},
};

template <ip_version V>
octets expected_reset(packet<V> const& asked, reset_case const& row) {
    segment const answer{
        .sequence = row.sequence, .acknowledgment = row.acknowledgment, .flags = row.flags, .window = 0};
    auto payload = answer.made();
    std::swap_ranges(payload.begin(), payload.begin() + 2, payload.begin() + 2);
    return packet<V>{.source = asked.destination, .destination = asked.source, .protocol = 6, .payload = payload}
        .made();
}

template <ip_version V>
void expect_reset(packet<V> asked, reset_case const& row) {
    SCOPED_TRACE(row.rule);
    asked.protocol = 6;
    asked.payload = row.about.made();
    auto const result = reset<V>(asked.made());
    EXPECT_EQ(name(result.why), "none");
    EXPECT_EQ(hex(result.content), hex(expected_reset(asked, row)));
}

TEST(compose_tcp_reset, answers_each_kind_of_segment) {
    for (auto const& row : reset_cases) {
        expect_reset<ipv4>({}, row);
        expect_reset<ipv6>({}, row);
    }
}

TEST(compose_tcp_reset, takes_nothing_over_from_the_ip_header) {
    for (auto const& row : reset_cases) {
        expect_reset<ipv4>({.traffic_class = 0xff, .identification = 9, .flags = 0, .hop_limit = 1}, row);
        expect_reset<ipv4>({.headers = octets(40, 1)}, row);
        expect_reset<ipv6>({.traffic_class = 0xff, .hop_limit = 1}, row);
        expect_reset<ipv6>({.headers = octets_of("0600010400000000"), .first = 0}, row);
        expect_reset<ipv6>({.headers = octets_of("0600000000000001"), .first = 44}, row); // atomic, RFC 6946
    }
}

TEST(compose_tcp_reset, is_made_of_a_segment_of_any_size) {
    for (std::size_t const size : {0u, 1u, 2u, 1460u, 65495u}) {
        reset_case const row{"", {.acknowledgment = 1, .flags = ack, .data = octets(size, 0x5a)}, 1, 0, rst};
        expect_reset<ipv4>({}, row);
        expect_reset<ipv6>({}, row);
    }
}

TEST(compose_tcp_reset, leaves_padding_behind) {
    packet<ipv4> const asked{.protocol = 6, .payload = segment{}.made()};
    EXPECT_EQ(reset<ipv4>(asked.made() + octets(6, 0xaa)).content, reset<ipv4>(asked.made()).content);
    EXPECT_EQ(hex(reset<ipv4>(asked.made()).content), hex(expected_reset(asked, reset_cases[0])));
}

template <ip_version V>
void expect_forbidden(octets const& in, char const* rule) {
    SCOPED_TRACE(rule);
    auto const result = reset<V>(in);
    EXPECT_EQ(name(result.why), "reject_forbidden");
    EXPECT_TRUE(result.is_untouched);
}

octets with_flags(std::uint8_t flags) { return segment{.flags = flags}.made(); }
octets with_data_offset(std::uint8_t words) {
    auto result = segment{.data = octets(8)}.made();
    result[12] = static_cast<std::uint8_t>(words << 4);
    return result;
}

TEST(compose_tcp_reset, forbidden_in_ipv4) {
    struct row {
        char const* rule;
        packet<ipv4> about;
    };
    auto const tcp = segment{}.made();
    for (auto const& [rule, about] : std::vector<row>{
             {"to a reset (RFC 9293 section 3.10.7.1)", {.protocol = 6, .payload = with_flags(rst)}},
             {"to a reset with ACK (RFC 9293 section 3.10.7.1)", {.protocol = 6, .payload = with_flags(rst | ack)}},
             {"to a reset with SYN", {.protocol = 6, .payload = with_flags(rst | syn)}},
             {"to UDP", {.payload = octets(20)}},
             {"to SCTP", {.protocol = 132, .payload = octets(20)}},
             {"to ICMP", {.protocol = 1, .payload = icmp_message(8, 0, 0, octets(20))}},
             {"to a protocol not looked into", {.protocol = 253, .payload = tcp}},
             {"to the first fragment: its segment has no length yet", {.flags = 0x2000, .protocol = 6, .payload = tcp}},
             {"to a later fragment", {.flags = 0x0001, .protocol = 6, .payload = tcp}},
             {"to a header cut short", {.protocol = 6, .payload = octets(19)}},
             {"a data offset below 5 (RFC 9293 section 3.1)", {.protocol = 6, .payload = with_data_offset(4)}},
             {"a data offset beyond the segment (RFC 9293 section 3.1)",
              {.protocol = 6, .payload = with_data_offset(8)}},
             {"to a group (RFC 9293 section 3.9.2.3, MUST-57)",
              {.destination = "224.0.0.1", .protocol = 6, .payload = tcp}},
             {"to everybody (MUST-57)", {.destination = "255.255.255.255", .protocol = 6, .payload = tcp}},
             {"from a group (MUST-63)", {.source = "224.0.0.1", .protocol = 6, .payload = tcp}},
             {"from nobody (MUST-63)", {.source = "0.0.0.0", .protocol = 6, .payload = tcp}},
             {"from loopback (MUST-63)", {.source = "127.0.0.1", .protocol = 6, .payload = tcp}},
             {"from everybody (MUST-63)", {.source = "255.255.255.255", .protocol = 6, .payload = tcp}},
         })
        expect_forbidden<ipv4>(about.made(), rule);
    auto const whole = packet<ipv4>{.protocol = 6, .payload = segment{.data = octets(5)}.made()}.made();
    for (std::size_t at = 1; at < whole.size(); ++at) {
        if (at == 2 || at == 3 || at == 9) continue; // another length or protocol is another packet
        auto damaged = whole;
        damaged[at] ^= 0x20;
        expect_forbidden<ipv4>(damaged, "damaged (RFC 1812 section 5.2.2, RFC 9293 section 3.1 MUST-3)");
    }
}

TEST(compose_tcp_reset, forbidden_in_ipv6) {
    struct row {
        char const* rule;
        packet<ipv6> about;
    };
    auto const tcp = segment{}.made();
    for (auto const& [rule, about] : std::vector<row>{
             {"to a reset (RFC 9293 section 3.10.7.1)", {.protocol = 6, .payload = with_flags(rst)}},
             {"to UDP", {.payload = octets(20)}},
             {"to the first fragment",
              {.headers = octets_of("0600000100000001"), .first = 44, .protocol = 6, .payload = tcp}},
             {"to a later fragment",
              {.headers = octets_of("0600000800000001"), .first = 44, .protocol = 6, .payload = tcp}},
             {"with segments left the checksum is for another destination (RFC 8200 section 8.1)",
              {.headers = octets_of("0602030100000000") + octets(16), .first = 43, .protocol = 6, .payload = tcp}},
             {"to a group (MUST-57)", {.destination = "ff0e::1", .protocol = 6, .payload = tcp}},
             {"from a group (MUST-63)", {.source = "ff0e::1", .protocol = 6, .payload = tcp}},
             {"from nobody (MUST-63)", {.source = "::", .protocol = 6, .payload = tcp}},
             {"from loopback (MUST-63)", {.source = "::1", .protocol = 6, .payload = tcp}},
         })
        expect_forbidden<ipv6>(about.made(), rule);
    auto damaged = packet<ipv6>{.protocol = 6, .payload = tcp}.made();
    damaged.back() ^= 1;
    expect_forbidden<ipv6>(damaged, "damaged (RFC 9293 section 3.1, MUST-3)");
}

TEST(compose_tcp_reset, does_not_verify_a_partial_checksum) {
    packet<ipv4> const asked{.protocol = 6, .payload = segment{}.made()};
    auto in = asked.made();
    in[36] ^= 0xff;
    auto const result = reset<ipv4>(in, checksum_state::partial);
    EXPECT_EQ(name(result.why), "none");
    EXPECT_EQ(hex(result.content), hex(expected_reset(asked, reset_cases[0]))) << "and its own is complete";
}

TEST(compose_tcp_reset, is_for_tcp_whatever_else_looks_like_it) {
    for (std::uint8_t const protocol : {ip_protocol::udp, ip_protocol::sctp}) {
        auto const in = packet<ipv4>{.protocol = protocol, .payload = segment{}.made()}.made();
        auto const result = reset<ipv4>(in, checksum_state::partial);
        EXPECT_EQ(name(result.why), "reject_forbidden");
        EXPECT_TRUE(result.is_untouched);
    }
}

TEST(compose_tcp_reset, random_segments) {
    std::mt19937 random{9293};
    for (int i = 0; i < 20'000; ++i) {
        segment const about{.sequence = static_cast<std::uint32_t>(random()),
                            .acknowledgment = static_cast<std::uint32_t>(random()),
                            .flags = static_cast<std::uint8_t>(random() & 0xfbu),
                            .options = octets(random() % 11 * 4, 1),
                            .data = octets(random() % 100, static_cast<std::uint8_t>(random()))};
        auto const length =
            static_cast<std::uint32_t>(about.data.size()) + (about.flags & 1u) + (about.flags >> 1 & 1u);
        bool const is_acknowledging = (about.flags & ack) != 0;
        reset_case const row{"random", about, is_acknowledging ? about.acknowledgment : 0,
                             is_acknowledging ? 0 : about.sequence + length,
                             static_cast<std::uint8_t>(is_acknowledging ? rst : rst | ack)};
        expect_reset<ipv4>({}, row);
        expect_reset<ipv6>({}, row);
        ASSERT_FALSE(HasFailure()) << "segment " << i;
    }
}

} // namespace
} // namespace kubeproxy::answers::tcp_reset_tests
