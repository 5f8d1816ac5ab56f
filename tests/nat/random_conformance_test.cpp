#include "kubeproxy/nat/rewrite.hpp"

#include "nat/translation_run.hpp"
#include "support/conformance.hpp"
#include "support/hex.hpp"

#include <boost/json.hpp>
#include <gtest/gtest.h>

#include <filesystem>
#include <iostream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

/// rfc7915/random-*.jsonl: packets and their translations, from an implementation that is not ours. The verdict and
/// every byte must be what the case says, or what one of its alternatives says.
namespace kubeproxy::conformance::random_conformance_tests {
namespace {

std::vector<std::filesystem::path> files() {
    std::vector<std::filesystem::path> result;
    auto const where = folder();
    if (!where || !std::filesystem::is_directory(*where / "rfc7915")) return result;
    for (auto const& entry : std::filesystem::directory_iterator{*where / "rfc7915"})
        if (entry.path().extension() == ".jsonl") result.push_back(entry.path());
    std::ranges::sort(result);
    return result;
}

/// The files name no next-hop MTU: nothing may be refused, or an MTU lowered, for one.
translation_settings settings_of_the_files() {
    return {.lowest_ipv6_mtu = 1500, .ipv6_mtu = 0xffff, .ipv4_mtu = 0xffff};
}

bool same_bytes(octets const& expected, octets const& actual, std::set<std::size_t> const& ignored) {
    if (expected.size() != actual.size()) return false;
    for (std::size_t i = 0; i < expected.size(); ++i)
        if (expected[i] != actual[i] && !ignored.contains(i)) return false;
    return true;
}

std::set<std::size_t> offsets_in(boost::json::object const& c) {
    std::set<std::size_t> result;
    if (auto const* const list = c.if_contains("ignore"); list != nullptr && list->is_array())
        for (auto const& offset : list->as_array()) result.insert(offset.to_number<std::size_t>());
    return result;
}

/// The ICMP error that the case wants answered with; one without `reply` says nothing of it.
bool wants_another_answer(boost::json::object const& outcome, run const& r) {
    auto const* const reply = outcome.if_contains("reply");
    if (reply == nullptr || reply->is_null()) return r.answer.has_value();
    auto const field = [&](char const* name) { return reply->at(name).to_number<std::uint32_t>(); };
    icmp_error_fields const wanted{static_cast<std::uint8_t>(field("type")), static_cast<std::uint8_t>(field("code")),
                                   field("rest")};
    return r.answer != wanted;
}

/// How `r` differs from an outcome that is allowed; empty if it does not.
std::string difference(boost::json::object const& outcome, std::set<std::size_t> const& ignored, run const& r) {
    bool const is_forward = outcome.at("verdict").as_string() == "forward";
    std::ostringstream text;
    if (is_forward != r.forwarded) {
        text << "expected " << outcome.at("verdict").as_string() << ", got "
             << (r.forwarded ? "forward" : "drop:" + std::string{name(r.why)});
    } else if (!is_forward) {
        if (!r.is_untouched) text << "a refused packet was changed";
        if (wants_another_answer(outcome, r)) text << "another answer is wanted";
    } else if (!outcome.at("out").is_string()) {
        text << "expected several packets";
    } else if (auto const expected = hex::bytes_of(outcome.at("out").as_string());
               !same_bytes(expected, r.packet, ignored)) {
        text << "expected " << outcome.at("out").as_string() << "\n     got " << hex::text_of(r.packet);
    }
    return text.str();
}

class random_cases : public testing::TestWithParam<std::filesystem::path> {};

TEST_P(random_cases, translate_byte_for_byte) {
    std::istringstream lines{contents(GetParam())};
    std::map<std::string, int> ran, failed;
    int total = 0, shown = 0;
    for (std::string line; std::getline(lines, line);) {
        auto const c = boost::json::parse(line).as_object();
        auto const shape = std::string{c.at("shape").as_string()};
        auto const r = translate(c.at("mode").as_string(), hex::bytes_of(c.at("in").as_string()),
                                 c.at("map").as_object(), settings_of_the_files());
        ++total;
        ++ran[shape];
        auto const ignored = offsets_in(c);
        auto const wrong = difference(c, ignored, r);
        auto const* const others = c.if_contains("alt");
        bool const is_alternative =
            others != nullptr && others->is_array() && std::ranges::any_of(others->as_array(), [&](auto const& other) {
                return difference(other.as_object(), ignored, r).empty();
            });
        if (wrong.empty() || is_alternative) continue;
        ++failed[shape];
        if (++shown <= 20)
            ADD_FAILURE() << "case " << c.at("id") << ", " << shape << ' ' << c.at("tags") << "\n      in "
                          << c.at("in").as_string() << '\n'
                          << wrong;
    }
    for (auto const& [shape, count] : failed) ADD_FAILURE() << shape << ": " << count << " of " << ran[shape];
    std::cout << GetParam().filename().string() << ": " << total << " cases of " << ran.size() << " shapes\n";
    EXPECT_GT(total, 0) << "the file is empty";
}

INSTANTIATE_TEST_SUITE_P(files, random_cases, testing::ValuesIn(files()), [](auto const& file) {
    auto name = file.param.stem().string();
    std::ranges::replace_if(
        name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
    return name;
});
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(random_cases);

TEST(random_cases_folder, is_here) {
    if (files().empty()) GTEST_SKIP() << absent;
}

} // namespace
} // namespace kubeproxy::conformance::random_conformance_tests
