#pragma once

#include "kubeproxy/control/config/configuration.hpp"
#include "kubeproxy/control/config/rules.hpp"
#include "kubeproxy/control/ku/query.hpp"
#include "kubeproxy/control/ku/words.hpp"

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

/// The `ku` language: a line in, a command out. Whether the command fits the configuration is not asked here.
namespace kubeproxy {
inline namespace v0_2 {

enum class ku_action : std::uint8_t { add, del };

/// \verbatim
/// ku conf [buckets <n>] [timeout <s>] [drain <s>] [removed keep|reset] [snat4 <addr>[-<addr>]] [snat6 <addr>]
///         [nat64_prefix <prefix>/96] [node <addr>]...
/// \endverbatim
struct ku_conf {
    std::optional<std::uint32_t> buckets{};
    std::optional<std::uint32_t> timeout{}; ///< seconds
    std::optional<std::uint32_t> drain{};   ///< seconds; 0: endpoints keep their flows until they are removed
    std::optional<removed_endpoints> removed{};
    std::optional<ipv4_range> snat4{};
    std::optional<ipv6::address> snat6{};
    std::optional<prefix<ipv6>> nat64_prefix{};
    std::vector<ip_address> nodes{};
};

/// \verbatim
/// ku vip <prefix> [protocol tcp|udp|sctp] [port <n>] [target_port <n>] [node_port <n>] [nat4|nat6] [new_len <n>] [del]
/// \endverbatim
struct ku_vip {
    ip_prefix where{};
    std::optional<service_protocol> protocol{};
    std::optional<std::uint16_t> port{};
    std::optional<std::uint16_t> target_port{};
    std::optional<std::uint16_t> node_port{};
    std::optional<pod_family> pods{};
    std::optional<std::uint32_t> new_len{};
    std::optional<ku_action> action{};
};

/// \verbatim
/// ku pod <vip-prefix> <address>... [port <n>] [protocol tcp|udp|sctp] [weight <n>] [del]
/// \endverbatim
struct ku_pod {
    ip_prefix where{};
    std::optional<std::uint16_t> port{}; ///< with `protocol`: only services that have it
    std::optional<service_protocol> protocol{};
    std::vector<ip_address> addresses{};
    std::optional<std::uint16_t> weight{};
    std::optional<ku_action> action{};
};

/// \verbatim
/// ku set interface nat4|nat6 in <interface> [del]
/// \endverbatim
struct ku_interface {
    interface_nat what{};
    std::optional<ku_action> action{};
};

/// \verbatim
/// ku save config|flows <file>
/// \endverbatim
struct ku_save {
    enum class content : std::uint8_t { config, flows };

    content what = content::config;
    std::string file{};
};

/// \verbatim
/// test ku flowtable flush
/// \endverbatim
struct ku_flush {
    [[nodiscard]] friend bool operator==(ku_flush, ku_flush) = default;
};

/// monostate: a line without a command.
using ku_command = std::variant<std::monostate, ku_conf, ku_vip, ku_pod, ku_interface, ku_save, ku_query, ku_flush>;

namespace detail {

[[nodiscard]] inline std::uint16_t ku_port(std::string_view what, ku_words& words, std::uint16_t least) {
    return ku_number<std::uint16_t>(what, words.next("a port"), least, 65535);
}

[[nodiscard]] inline ipv4_range ku_range(std::string_view word) {
    auto const dash = word.find('-');
    auto const first = ku_address_of<ipv4>("snat4", word.substr(0, dash));
    if (dash == std::string_view::npos) return {first, first};
    return {first, ku_address_of<ipv4>("snat4", word.substr(dash + 1))};
}

[[nodiscard]] inline prefix<ipv6> ku_nat64_prefix(std::string_view word) {
    auto const found = ku_prefix(word);
    if (auto const* p = std::get_if<prefix<ipv6>>(&found); p != nullptr && p->length == 96) return *p;
    throw ku_error{"nat64_prefix " + quoted(word) + ": an IPv6 prefix of length 96 is wanted"};
}

[[nodiscard]] inline service_protocol ku_protocol(std::string_view word) {
    if (word == "tcp") return service_protocol::tcp;
    if (word == "udp") return service_protocol::udp;
    if (word == "sctp") return service_protocol::sctp;
    throw ku_error{"unknown protocol " + quoted(word) + " (known: tcp, udp, sctp)"};
}

[[nodiscard]] inline std::optional<pod_family> ku_family(std::string_view word) noexcept {
    if (word == "nat4") return pod_family::ipv4;
    if (word == "nat6") return pod_family::ipv6;
    return std::nullopt;
}

[[nodiscard]] inline removed_endpoints ku_removed(std::string_view word) {
    if (word == "keep") return removed_endpoints::keep;
    if (word == "reset") return removed_endpoints::reset;
    refuse_word(word, "ku conf removed", "keep, reset");
}

[[nodiscard]] inline ku_command parse_conf(ku_words words) {
    constexpr std::uint32_t largest = std::numeric_limits<std::uint32_t>::max();
    constexpr auto longest = static_cast<std::uint32_t>(max_timeout.count());
    if (words.empty()) throw ku_error{"\"ku conf\" without anything to set"};
    ku_conf conf;
    while (!words.empty()) {
        auto const word = words.next();
        if (word == "buckets") {
            say_once(conf.buckets, word, ku_number<std::uint32_t>(word, words.next("a number"), 1, largest));
        } else if (word == "timeout") {
            say_once(conf.timeout, word, ku_number<std::uint32_t>(word, words.next("seconds"), 1, longest));
        } else if (word == "drain") {
            say_once(conf.drain, word, ku_number<std::uint32_t>(word, words.next("seconds"), 0, longest));
        } else if (word == "removed") {
            say_once(conf.removed, word, ku_removed(words.next("keep or reset")));
        } else if (word == "snat4") {
            say_once(conf.snat4, word, ku_range(words.next("an address or a range")));
        } else if (word == "snat6") {
            say_once(conf.snat6, word, ku_address_of<ipv6>(word, words.next("an address")));
        } else if (word == "nat64_prefix") {
            say_once(conf.nat64_prefix, word, ku_nat64_prefix(words.next("a prefix")));
        } else if (word == "node") {
            conf.nodes.push_back(ku_address(words.next("an address")));
        } else {
            refuse_word(word, "ku conf", "buckets, timeout, drain, removed, snat4, snat6, nat64_prefix, node");
        }
    }
    return conf;
}

[[nodiscard]] inline ku_command parse_vip(ku_words words) {
    ku_vip vip{.where = ku_prefix(words.next("a prefix"))};
    while (!words.empty()) {
        auto const word = words.next();
        if (word == "protocol") {
            say_once(vip.protocol, word, ku_protocol(words.next("tcp, udp or sctp")));
        } else if (word == "port") {
            say_once(vip.port, word, ku_port(word, words, 0));
        } else if (word == "target_port") {
            say_once(vip.target_port, word, ku_port(word, words, 1));
        } else if (word == "node_port") {
            say_once(vip.node_port, word, ku_port(word, words, 1));
        } else if (auto const family = ku_family(word)) {
            say_once(vip.pods, "nat4 or nat6", *family);
        } else if (word == "new_len") {
            auto const most = ring_classes.back().size;
            say_once(vip.new_len, word, ku_number<std::uint32_t>(word, words.next("a number"), 1, most));
        } else if (word == "del") {
            say_once(vip.action, word, ku_action::del);
        } else {
            refuse_word(word, "ku vip", "protocol, port, target_port, node_port, nat4, nat6, new_len, del");
        }
    }
    return vip;
}

[[nodiscard]] inline ku_command parse_pod(ku_words words) {
    ku_pod pod{.where = ku_prefix(words.next("the prefix of a VIP"))};
    while (!words.empty()) {
        auto const word = words.next();
        if (word == "port") {
            say_once(pod.port, word, ku_port(word, words, 0));
        } else if (word == "protocol") {
            say_once(pod.protocol, word, ku_protocol(words.next("tcp, udp or sctp")));
        } else if (word == "weight") {
            say_once(pod.weight, word, ku_number<std::uint16_t>(word, words.next("a number"), 0, 65535));
        } else if (word == "del") {
            say_once(pod.action, word, ku_action::del);
        } else if (auto const address = parse_address(word)) {
            pod.addresses.push_back(*address);
        } else {
            refuse_word(word, "ku pod", "addresses, port, protocol, weight, del");
        }
    }
    if (pod.addresses.empty()) throw ku_error{"\"ku pod\" without the address of a pod"};
    if (pod.action && pod.weight) throw ku_error{"weight and del do not go together"};
    return pod;
}

[[nodiscard]] inline ku_command parse_set(ku_words words) {
    if (auto const word = words.next("\"interface\""); word != "interface") refuse_word(word, "ku set", "interface");
    auto const word = words.next("nat4 or nat6");
    auto const family = ku_family(word);
    if (!family) refuse_word(word, "ku set interface", "nat4, nat6");
    if (auto const in = words.next("\"in\""); in != "in")
        refuse_word(in, "ku set interface " + std::string{word}, "in");
    ku_interface set{.what = {std::string{words.next("an interface")}, *family}, .action = {}};
    while (!words.empty()) {
        auto const last = words.next();
        if (last != "del") refuse_word(last, "in " + set.what.interface, "del");
        say_once(set.action, last, ku_action::del);
    }
    return set;
}

[[nodiscard]] inline ku_command parse_save(ku_words words) {
    auto const word = words.next("config or flows");
    if (word != "config" && word != "flows") refuse_word(word, "ku save", "config, flows");
    auto const what = word == "config" ? ku_save::content::config : ku_save::content::flows;
    ku_save const save{what, std::string{words.next("a file")}};
    expect_end(words, "the file");
    return save;
}

[[nodiscard]] inline ku_command parse_ku(ku_words words) {
    auto const word = words.next("conf, vip, pod, set or save");
    if (word == "conf") return parse_conf(words);
    if (word == "vip") return parse_vip(words);
    if (word == "pod") return parse_pod(words);
    if (word == "set") return parse_set(words);
    if (word == "save") return parse_save(words);
    refuse_word(word, "ku", "conf, vip, pod, set, save");
}

[[nodiscard]] inline ku_command parse_test(ku_words words) {
    for (std::string_view const wanted : {"ku", "flowtable", "flush"})
        if (auto const word = words.next(wanted); word != wanted) refuse_word(word, "test", "ku flowtable flush");
    expect_end(words, "test ku flowtable flush");
    return ku_flush{};
}

} // namespace detail

/// Throws ku_error.
[[nodiscard]] inline ku_command parse_command(std::string_view line) {
    ku_words words{line};
    if (words.empty()) return std::monostate{};
    auto const word = words.next();
    if (word == "ku") return detail::parse_ku(words);
    if (word == "show") return detail::parse_show(words);
    if (word == "test") return detail::parse_test(words);
    throw ku_error{"unknown command " + quoted(word) + " (known: ku, show, test)"};
}

} // namespace v0_2
} // namespace kubeproxy
