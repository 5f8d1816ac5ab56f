#include "kubeproxy/control/kubernetes/json_stream.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace kubeproxy::kubernetes_text_tests {
namespace {

/// What came out of the text, in its order: values as they were, errors as "!" and their offset.
std::vector<std::string> read(std::string_view text, std::size_t chunk) {
    std::vector<std::string> seen;
    json_stream stream;
    auto const on_error = [&](json_text_error const& e) { seen.push_back('!' + std::to_string(e.offset)); };
    while (!text.empty()) {
        auto const size = std::min(chunk, text.size());
        stream.read(
            text.substr(0, size), [&](boost::json::value const& v) { seen.push_back(serialize(v)); }, on_error);
        text.remove_prefix(size);
    }
    stream.finish(on_error);
    return seen;
}

struct text_case {
    std::string_view name;
    std::string_view text;
    std::vector<std::string> seen;
};
void PrintTo(text_case const& c, std::ostream* out) { *out << c.name; }

class text : public testing::TestWithParam<text_case> {};

TEST_P(text, is_read_alike_wherever_it_is_cut) {
    for (std::size_t chunk = 1; chunk <= GetParam().text.size() + 1; ++chunk)
        ASSERT_EQ(read(GetParam().text, chunk), GetParam().seen) << "in chunks of " << chunk;
}

std::string const too_deep = std::string(520, '[') + "\n[2]";

INSTANTIATE_TEST_SUITE_P(
    table, text,
    testing::Values(text_case{"nothing", " \n", {}}, text_case{"one", R"({"a": [1, "\u00e9"]})", {"{\"a\":[1,\"é\"]}"}},
                    text_case{"side_by_side", R"({"a":1}{"b":2}[3])", {R"({"a":1})", R"({"b":2})", "[3]"}},
                    text_case{
                        "indented", "{\n    \"a\": {\n        \"b\": 1\n    }\n}\n{\n}\n", {R"({"a":{"b":1}})", "{}"}},
                    text_case{"a_broken_line_costs_that_line", "{\"a\":1,}\n{\"b\":2}\n", {"!7", R"({"b":2})"}},
                    text_case{"a_line_that_ends_early", "{\"a\":1\n{\"b\":2}\n", {"!7", R"({"b":2})"}},
                    text_case{"inside_a_string", "{\"a\":\"b\n{\"b\":2}\n", {"!7", R"({"b":2})"}},
                    text_case{"an_indented_one_ends_at_the_next_first_column",
                              "{\n  \"a\": [\n    {\"b\": }\n  ],\n  \"c\": {}\n}\n{\"d\":4}",
                              {"!21", R"({"d":4})"}},
                    text_case{"no_object", "4711\n{\"b\":2}", {"!0", R"({"b":2})"}},
                    text_case{"other_words", "kubectl: no\n  {\"a\":1}\n{\"b\":2}", {"!0", R"({"b":2})"}},
                    text_case{"too_deep", too_deep, {"!512", "[2]"}},
                    text_case{"ends_inside", "{\"a\":1}\n{\"b\"", {R"({"a":1})", "!12"}}),
    [](auto const& one) { return std::string{one.param.name}; });

} // namespace
} // namespace kubeproxy::kubernetes_text_tests
