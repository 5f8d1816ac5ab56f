#include "kubeproxy/nat/rewrite.hpp"
#include "kubeproxy/nat/split.hpp"

#include "support/conformance.hpp"
#include "support/hex.hpp"

#include <boost/json.hpp>
#include <gtest/gtest.h>

#include <array>
#include <iostream>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

/// rfc7915/cases.json: another translator's own test suite. The mapping of a case is what its expected packet shows.
namespace kubeproxy::conformance::cases_conformance_tests {
namespace {

using octets = std::vector<std::byte>;

octets packet_of(boost::json::value const& name) {
    auto const text = contents(*folder() / "rfc7915" / "pkt" / std::string{name.as_string()});
    octets result(text.size());
    std::ranges::transform(text, result.begin(), [](char c) { return static_cast<std::byte>(c); });
    return result;
}

translation_settings settings_of(boost::json::object const& config) {
    auto const number = [&](char const* name) { return config.at(name).to_number<std::uint16_t>(); };
    return {.decrement_ttl = true,
            .lowest_ipv6_mtu = number("lowest_ipv6_mtu"),
            .ipv6_mtu = number("mtu6"),
            .ipv4_mtu = number("mtu4")};
}

/// What a case led to.
struct observed {
    rewrite_result result;
    std::vector<octets> packets;
};

template <ip_version V>
std::optional<parsed<V>> parsed_as(mutable_byte_span bytes) {
    auto const result = parse(bytes);
    auto const* const p = std::get_if<parsed<V>>(&result);
    return p == nullptr ? std::nullopt : std::optional{*p};
}

std::vector<octets> cut(octets packet, translation_settings const& settings) {
    auto const mtu = std::min(settings.lowest_ipv6_mtu, settings.ipv6_mtu);
    auto const plan = to_integer<unsigned>(packet[0] >> 4) == 6 ? plan_split(packet, mtu) : split_plan{};
    if (plan.pieces == 1) return {std::move(packet)};
    std::vector<octets> result(plan.pieces, octets(mtu));
    for (std::size_t i = 1; i < plan.pieces; ++i) result[i].resize(write_piece(packet, plan, i, result[i]));
    span_packet first{packet, 0};
    keep_first_piece(first, plan);
    result[0].assign(first.bytes().begin(), first.bytes().end());
    return result;
}

/// Gives a packet the addresses and ports that `shown` has, which is a packet of the mapping's other side.
template <ip_version From, ip_version To>
observed translate(octets const& in, octets shown, translation_settings const& settings) {
    octets memory(rewriter<From, To>::headroom + in.size());
    std::ranges::copy(in, memory.end() - static_cast<std::ptrdiff_t>(in.size()));
    span_packet packet{memory, rewriter<From, To>::headroom};
    auto const p = parsed_as<From>(packet.bytes());
    auto const model = parsed_as<To>(shown);
    if (!p) return {{drop_reason::bad_version, {}}, {}};
    auto const after = model ? tuple_of(*model) : tuple<To>{};
    rewriter<From, To> const rewrite{settings};
    observed o;
    if (p->what == content::icmp_error && p->flaw == drop_reason::none) {
        auto const quoted = model && model->what == content::icmp_error ? quoted_of(*model).key : tuple<To>{};
        o.result = rewrite.error(packet, *p, {after.source, after.destination, quoted});
    } else {
        o.result = rewrite(packet, *p, after, changes_of(tuple_of(*p), after));
    }
    if (o.result.done()) o.packets = cut({packet.bytes().begin(), packet.bytes().end()}, settings);
    return o;
}

/// Between IPv6 hosts by way of IPv4 (RFC 7915 section 1.3, RFC 6146 section 3.8): the addresses in between do not
/// show in the end, so the mapping to them may be any.
observed hairpin(octets const& in, octets const& shown, translation_settings settings) {
    auto const between = translate<ipv6, ipv4>(in, {}, settings);
    if (!between.result.done()) return between;
    settings.decrement_ttl = false; // one hop, as far as the packet can tell
    return translate<ipv4, ipv6>(between.packets[0], shown, settings);
}

observed translate(std::string_view direction, octets const& in, octets const& shown,
                   translation_settings const& settings) {
    if (direction == "4to6" || direction == "4to4") return translate<ipv4, ipv6>(in, shown, settings);
    if (direction == "6to4") return translate<ipv6, ipv4>(in, shown, settings);
    return hairpin(in, shown, settings);
}

std::string difference(octets const& expected, octets const& actual, std::set<std::size_t> const& ignored) {
    std::ostringstream text;
    if (expected.size() != actual.size()) text << expected.size() << " bytes expected, " << actual.size() << " came; ";
    for (std::size_t i = 0; i < std::min(expected.size(), actual.size()); ++i)
        if (expected[i] != actual[i] && !ignored.contains(i)) text << i << ' ';
    return text.str();
}

std::set<std::size_t> offsets_in(boost::json::object const& c) {
    std::set<std::size_t> result;
    for (auto const& offset : c.at("ignore").as_array()) result.insert(offset.to_number<std::size_t>());
    return result;
}

/// Type, code and rest of the ICMP error that a packet without extension headers is, for people to compare.
std::string first_words(octets const& packet) {
    bool const is_ipv6 = to_integer<unsigned>(packet.at(0) >> 4) == 6;
    auto const text = hex::text_of(std::span{packet}.subspan(is_ipv6 ? 40 : 20, 8));
    return text.substr(0, 4) + ' ' + text.substr(8);
}
std::string first_words(std::optional<icmp_error_fields> const& answer) {
    if (!answer) return "no answer";
    std::array<std::byte, 6> bytes{};
    store_be(bytes, 0, answer->type);
    store_be(bytes, 1, answer->code);
    store_be(bytes, 2, answer->rest);
    auto const text = hex::text_of(bytes);
    return text.substr(0, 4) + ' ' + text.substr(4);
}

class cases : public testing::Test {
  protected:
    void SetUp() override {
        if (!folder() || !std::filesystem::exists(*folder() / "rfc7915" / "cases.json")) GTEST_SKIP() << absent;
        all = boost::json::parse(contents(*folder() / "rfc7915" / "cases.json")).as_array();
    }
    boost::json::array all;
};

/// Why a case cannot be run here, by its name.
std::map<std::string, std::string, std::less<>> const not_applicable{
    {"nat64/manual/so/46-sender",
     "a stored SYN is answered after a time (RFC 6146 section 3.5.2.2): no filter is made"},
    {"nat64/manual/issue132/test#2", "the answer comes from a host behind the translator"},
    // To translate DCCP is optional (RFC 7915 section 4.5). These leave its checksum (RFC 4340 section 9.1) as it was,
    // and so wrong.
    {"siit/7915/fat1", "DCCP's checksum is kept right here"},
    {"siit/7915/fbt1", "DCCP's checksum is kept right here"},
};

TEST_F(cases, are_translated_or_answered) {
    std::map<std::string, int> ran, skipped;
    for (auto const& value : all) {
        auto const& c = value.as_object();
        std::string const needs{c.at("needs").as_string()};
        if (auto const why = not_applicable.find(c.at("id").as_string()); why != not_applicable.end()) {
            ++skipped[why->second];
            continue;
        }
        auto const in = packet_of(c.at("in"));
        auto const& out = c.at("out").as_array();
        auto const first = packet_of(out[0]);
        auto const o = translate(c.at("direction").as_string(), in, first, settings_of(c.at("config").as_object()));
        ++ran[needs + ' ' + std::string{c.at("kind").as_string()}];
        SCOPED_TRACE(testing::Message() << c.at("id") << ", RFC 7915 " << c.at("clause"));
        if (needs == "router" && !o.result.done()) {
            EXPECT_EQ(first_words(first), first_words(o.result.answer)) << name(o.result.why);
            continue;
        }
        EXPECT_EQ(name(o.result.why), "none");
        EXPECT_EQ(o.packets.size(), out.size());
        auto const ignored = offsets_in(c);
        for (std::size_t i = 0; i < std::min(o.packets.size(), out.size()); ++i)
            EXPECT_EQ(difference(packet_of(out[i]), o.packets[i], ignored), "")
                << "want " << hex::text_of(packet_of(out[i])) << "\n got " << hex::text_of(o.packets[i]);
    }
    for (auto const& [what, count] : ran) std::cout << what << ": " << count << '\n';
    for (auto const& [why, count] : skipped) std::cout << "not run: " << count << ", " << why << '\n';
    EXPECT_FALSE(ran.empty());
}

} // namespace
} // namespace kubeproxy::conformance::cases_conformance_tests
