#include "kubeproxy/nat/reject.hpp"

#include "answer_packets.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <random>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

namespace kubeproxy::answers::reject_random_tests {
namespace {

/// Packets that are nearly right: a template, some octets of it changed, perhaps cut.
class hostile_packets {
  public:
    [[nodiscard]] octets next() {
        auto result = templates_[random_() % templates_.size()];
        for (auto changes = random_() % 4; changes > 0; --changes) result[position(result)] = octet();
        if (random_() % 8 == 0) result.resize(1 + random_() % result.size());
        if (result[0] >> 4 == 4 && result.size() >= 20 && random_() % 4 != 0) repair(result);
        return result;
    }
    [[nodiscard]] std::uint8_t octet() { return static_cast<std::uint8_t>(random_()); }

  private:
    [[nodiscard]] std::size_t position(octets const& in) {
        return random_() % (random_() % 4 == 0 ? in.size() : std::min<std::size_t>(in.size(), 64));
    }
    static void repair(octets& in) {
        auto const header = std::min<std::size_t>(in.size(), (in[0] & 15u) * 4u);
        in[10] = in[11] = 0;
        auto const checksum = internet_checksum({in.begin(), in.begin() + static_cast<std::ptrdiff_t>(header)});
        std::ranges::copy(field(checksum, 2), in.begin() + 10);
    }
    static std::vector<octets> templates() {
        std::vector<octets> result;
        for (std::size_t const size : {0u, 1u, 100u, 600u, 1300u}) {
            result.push_back(packet<ipv4>{.payload = udp_header + octets(size)}.made());
            result.push_back(packet<ipv6>{.payload = udp_header + octets(size)}.made());
        }
        for (auto const type : std::to_array<std::uint8_t>({0, 3, 8, 11, 128, 1, 137})) {
            result.push_back(packet<ipv4>{.protocol = 1, .payload = icmp_about<ipv4>(type)}.made());
            result.push_back(packet<ipv6>{.protocol = 58, .payload = icmp_about<ipv6>(type)}.made());
            result.push_back(packet<ipv6>{
                .headers = octets_of("3a00010400000000"), .protocol = 58, .payload = icmp_about<ipv6>(type)}
                                 .made());
        }
        for (std::string_view const source : {"0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"})
            result.push_back(packet<ipv4>{.source = source}.made());
        for (std::string_view const source : {"::", "::1", "ff02::1"})
            result.push_back(packet<ipv6>{.source = source}.made());
        result.push_back(packet<ipv4>{.destination = "224.0.0.1"}.made());
        result.push_back(packet<ipv4>{.destination = "255.255.255.255"}.made());
        result.push_back(packet<ipv6>{.destination = "ff02::1"}.made());
        result.push_back(packet<ipv4>{.flags = 0x2000, .headers = octets(40, 1)}.made());
        result.push_back(packet<ipv4>{.flags = 0x0001}.made());
        result.push_back(packet<ipv6>{.headers = octets_of("1100000100000001"), .first = 44}.made());
        result.push_back(packet<ipv6>{.headers = octets_of("1100000900000001"), .first = 44}.made());
        return result;
    }

    std::mt19937_64 random_{20240501};
    std::vector<octets> templates_ = templates();
};

/// The rules once more, over octets; of the parser only what the walk found.
bool is_answerable(octets const& in, parsed<ipv4> const& p) {
    auto const destination = number(in, 16, 4);
    auto const network = in[12];
    auto const header = (in[0] & 15u) * 4u;
    if (internet_checksum({in.begin(), in.begin() + static_cast<std::ptrdiff_t>(header)}) != 0) return false;
    if (network == 0 || network == 127 || network >= 224) return false;
    if ((destination >= 0xe000'0000 && destination < 0xf000'0000) || destination == 0xffff'ffff) return false;
    if ((number(in, 6, 2) & 0x1fff) != 0 || p.flaw != drop_reason::none) return false;
    if (in[9] != 1) return true;
    auto const type = in[header];
    return type != 3 && type != 4 && type != 5 && type != 11 && type != 12;
}

bool is_answerable(octets const& in, parsed<ipv6> const& p) { // with port unreachable
    bool const is_short = std::all_of(in.begin() + 8, in.begin() + 23, [](auto octet) { return octet == 0; });
    if (in[8] == 0xff || in[24] == 0xff || (is_short && in[23] <= 1) || p.flaw != drop_reason::none) return false;
    if (p.fragment_header != 0 && number(in, p.fragment_header + 2, 2) >= 8) return false;
    if (p.protocol != 58) return true;
    return in[p.transport] >= 128 && in[p.transport] != 137;
}

bool is_well_formed(octets const& out, octets const& in, parsed<ipv4> const& p) {
    auto const quoted = std::min<std::size_t>(p.bytes.size(), 548);
    octets const header(out.begin(), out.begin() + 20), message(out.begin() + 20, out.end());
    return out.size() == 28 + quoted && out[0] == 0x45 && number(out, 2, 2) == out.size() && out[8] == 64 &&
           out[9] == 1 && internet_checksum(header) == 0 && internet_checksum(message) == 0 &&
           number(out, 12, 4) == 0x0a60'000a && number(out, 16, 4) == number(in, 12, 4) &&
           number(out, 20, 2) == 0x0303 && number(out, 24, 4) == 0 &&
           std::equal(out.begin() + 28, out.end(), in.begin());
}

bool is_well_formed(octets const& out, octets const& in, parsed<ipv6> const& p) {
    auto const quoted = std::min<std::size_t>(p.bytes.size(), 1232);
    if (out.size() != 48 + quoted) return false;
    octets const covered = field(out.size() - 40, 4) + field(58, 4) + octets(out.begin() + 8, out.end());
    static auto const from = address_octets<ipv6>("fd00:10:96::a");
    return number(out, 0, 4) == 0x6000'0000 && number(out, 4, 4) == ((out.size() - 40) << 16 | 58 << 8 | 64) &&
           std::equal(from.begin(), from.end(), out.begin() + 8) &&
           std::equal(out.begin() + 24, out.begin() + 40, in.begin() + 8) && internet_checksum(covered) == 0 &&
           number(out, 40, 2) == 0x0104 && number(out, 44, 4) == 0 &&
           std::equal(out.begin() + 48, out.end(), in.begin());
}

struct tally {
    std::array<std::size_t, 2> answered{}; ///< IPv4, IPv6
    std::size_t forbidden = 0;
    std::size_t unparsed = 0;
};

template <ip_version V>
testing::AssertionResult is_right(held_packet& held, parsed<V> p, octets const& in, tally& seen) {
    bool const is_expected = is_answerable(in, p);
    static auto const from = address<V>(packet<V>{}.destination);
    auto const why = compose_icmp_error<V>(held, p, port_unreachable<V>(), from);
    auto const out = held.content();
    ++(is_expected ? seen.answered[std::same_as<V, ipv4> ? 0 : 1] : seen.forbidden);
    if (why != (is_expected ? drop_reason::none : drop_reason::reject_forbidden))
        return testing::AssertionFailure() << name(why) << " about " << hex(in);
    if (!(is_expected ? is_well_formed(out, in, p) : out == in))
        return testing::AssertionFailure() << hex(in) << " became " << hex(out);
    return testing::AssertionSuccess();
}

TEST(compose_icmp_error, a_million_hostile_packets) {
    hostile_packets packets;
    tally seen;
    for (int i = 0; i < 1'000'000; ++i) {
        auto const in = packets.next();
        held_packet held{in, 48};
        auto const result = parse(held.bytes());
        if (auto const* four = std::get_if<parsed<ipv4>>(&result))
            ASSERT_TRUE(is_right(held, *four, in, seen)) << "packet " << i;
        else if (auto const* six = std::get_if<parsed<ipv6>>(&result))
            ASSERT_TRUE(is_right(held, *six, in, seen)) << "packet " << i;
        else
            ++seen.unparsed;
    }
    for (auto const count : {seen.answered[0], seen.answered[1], seen.forbidden, seen.unparsed})
        EXPECT_GT(count, 50'000u) << "the packets have lost their variety";
}

} // namespace
} // namespace kubeproxy::answers::reject_random_tests
