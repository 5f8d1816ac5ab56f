#include "support/command_line.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <iostream>
#include <limits>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <streambuf>
#include <string>
#include <vector>

namespace examples::command_line_tests {
namespace {

using words = std::vector<char const*>;

[[nodiscard]] boost::program_options::options_description described() {
    boost::program_options::options_description all;
    add_configuration_options(all);
    add_flows_option(all);
    all.add_options()("seed", boost::program_options::value<std::string>());
    all.add_options()("stats", "");
    return all;
}

[[nodiscard]] command_line read(words given) {
    given.insert(given.begin(), "program");
    return {static_cast<int>(given.size()), given.data(), described()};
}

/// Reads all options as a program does. \return why the program does not start; empty if it does
[[nodiscard]] std::string error_of(words const& given) {
    try {
        auto const line = read(given);
        static_cast<void>(line.files());
        static_cast<void>(line.flows());
        static_cast<void>(line.seed());
    } catch (startup_error const& wrong) {
        return wrong.what();
    }
    return {};
}

TEST(command_line, files_of_the_configuration) {
    auto const files =
        read({"--config", "a.ku", "--kubernetes=b.json", "--node", "n.json", "--kubernetes", "-"}).files();
    EXPECT_EQ(files.ku, "a.ku");
    EXPECT_EQ(files.node, "n.json");
    EXPECT_EQ(files.kubernetes, (std::vector<std::string>{"b.json", "-"}));
}

TEST(command_line, options_that_are_not_given) {
    auto const line = read({});
    EXPECT_EQ(line.files().ku, "");
    EXPECT_EQ(line.files().node, "");
    EXPECT_TRUE(line.files().kubernetes.empty());
    EXPECT_EQ(line.flows(), 1'048'576u); // as the help text says
    EXPECT_EQ(line.seed(), std::nullopt);
    EXPECT_FALSE(line.has("stats"));
    EXPECT_EQ(line.number<std::uint16_t>("flows", 7, 1, 9), 7);
}

TEST(command_line, numbers_within_their_bounds) {
    EXPECT_EQ(read({"--flows", "64"}).flows(), 64u);
    EXPECT_EQ(read({"--flows=536870912"}).flows(), 536'870'912u);
    EXPECT_EQ(read({"--seed", "0"}).seed(), std::uint64_t{0});
    EXPECT_EQ(read({"--seed", "18446744073709551615"}).seed(), std::numeric_limits<std::uint64_t>::max());
}

TEST(command_line, an_error_names_the_option_and_the_cause) {
    struct row {
        words given;
        char const* expected;
    };
    for (auto const& [given, expected] : std::vector<row>{
             {{"--flows", "63"}, "--flows 63: a number from 64 to 536870912 is wanted"},
             {{"--flows", "536870913"}, "--flows 536870913: a number from 64 to 536870912 is wanted"},
             {{"--flows", "4294967360"}, "--flows 4294967360: a number from 64 to 536870912 is wanted"}, // 64 + 2^32
             {{"--flows=-1"}, "--flows -1: a number"},
             {{"--flows", "+64"}, "--flows +64: a number"},
             {{"--flows", "64x"}, "--flows 64x: a number"},
             {{"--flows", "0x40"}, "--flows 0x40: a number"},
             {{"--flows="}, "--flows"},
             {{"--seed", "18446744073709551616"},
              "--seed 18446744073709551616: a number from 0 to 18446744073709551615"},
             {{"--seed=-1"}, "--seed -1: a number"},
             {{"--config"}, "'--config' is missing"},
             {{"--config", "a.ku", "--config", "b.ku"}, "'--config' cannot be specified more than once"},
             {{"--conf", "a.ku"}, "'--conf'"}, // no abbreviations
             {{"--unknown"}, "'--unknown'"},
             {{"--stats=yes"}, "'--stats'"},
             {{"a.ku"}, "positional"},
         }) {
        auto const error = error_of(given);
        EXPECT_NE(error.find(expected), std::string::npos) << given.front() << ": \"" << error << '"';
        EXPECT_EQ(error.find('\n'), std::string::npos) << error;
    }
}

TEST(command_line, a_program_ends_with_the_status_of_its_error) {
    struct standard_error {
        standard_error() : before{std::cerr.rdbuf(text.rdbuf())} {}
        standard_error(standard_error const&) = delete;
        standard_error& operator=(standard_error const&) = delete;
        ~standard_error() { std::cerr.rdbuf(before); }
        std::ostringstream text;
        std::streambuf* before;
    } errors;
    EXPECT_EQ(run_program("p", [] { return success; }), 0);
    EXPECT_EQ(run_program("p", []() -> int { throw std::runtime_error{"it broke"}; }), 1);
    EXPECT_EQ(run_program("p", []() -> int { throw startup_error{"--tap is missing"}; }), 2);
    EXPECT_EQ(run_program("p", []() -> int { throw file_error{"a.ku", "cannot read"}; }), 2);
    EXPECT_EQ(errors.text.str(), "p: it broke\np: --tap is missing\np: a.ku: cannot read\n");
}

} // namespace
} // namespace examples::command_line_tests
