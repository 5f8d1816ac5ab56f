#pragma once

#include "kubeproxy/control/ku/words.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

/// `show` lines of the `ku` language.
namespace kubeproxy {
inline namespace v0_2 {

/// Each with json behind it:
/// \verbatim
/// show ku | show ku vip [verbose] | show ku flows | show ku counters
/// show services | show endpoints [<service>] | show flows | show affinity | show counters | show config
/// \endverbatim
enum class ku_show : std::uint8_t { overview, vips, vips_verbose, endpoints, flows, affinity, counters, config };

enum class show_format : std::uint8_t { text, json };

struct ku_query {
    ku_show what = ku_show::overview;
    show_format format = show_format::text;
    std::string service{}; ///< only this one: "default/web", "default/web:http"; empty: all

    [[nodiscard]] friend bool operator==(ku_query const&, ku_query const&) = default;
};

namespace detail {

[[nodiscard]] inline ku_query parse_show_ku(ku_words& words) {
    if (words.empty() || words.peek() == "json") return {};
    auto const word = words.next();
    if (word == "flows") return {.what = ku_show::flows};
    if (word == "affinity") return {.what = ku_show::affinity};
    if (word == "counters") return {.what = ku_show::counters};
    if (word != "vip") refuse_word(word, "show ku", "vip, flows, affinity, counters, json");
    if (words.empty() || words.peek() != "verbose") return {.what = ku_show::vips};
    static_cast<void>(words.next());
    return {.what = ku_show::vips_verbose};
}

[[nodiscard]] inline ku_query parse_show_endpoints(ku_words& words) {
    ku_query query{.what = ku_show::endpoints};
    if (!words.empty() && words.peek() != "json") query.service = words.next();
    return query;
}

[[nodiscard]] inline ku_query parse_what(ku_words& words) {
    constexpr std::string_view known = "ku, services, endpoints, flows, affinity, counters, config";
    auto const word = words.next(known);
    if (word == "ku") return parse_show_ku(words);
    if (word == "services") return {.what = ku_show::vips};
    if (word == "endpoints") return parse_show_endpoints(words);
    if (word == "flows") return {.what = ku_show::flows};
    if (word == "affinity") return {.what = ku_show::affinity};
    if (word == "counters") return {.what = ku_show::counters};
    if (word == "config") return {.what = ku_show::config};
    refuse_word(word, "show", known);
}

[[nodiscard]] inline ku_query parse_show(ku_words words) {
    auto query = parse_what(words);
    if (!words.empty() && words.peek() == "json") {
        static_cast<void>(words.next());
        query.format = show_format::json;
    }
    expect_end(words, "what is to be shown");
    return query;
}

} // namespace detail

} // namespace v0_2
} // namespace kubeproxy
