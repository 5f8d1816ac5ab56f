#pragma once

#include "kubeproxy/nat/rewrite.hpp"

#include <boost/json.hpp>

#include <arpa/inet.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

/// One packet through the public rewriter, as the conformance files describe it.
namespace kubeproxy::conformance {

using octets = std::vector<std::byte>;

template <ip_version V>
typename V::address address_of(std::string const& text) {
    typename V::address result;
    if (::inet_pton(std::same_as<V, ipv4> ? AF_INET : AF_INET6, text.c_str(), result.data()) != 1)
        throw std::runtime_error{"not an address: " + text};
    return result;
}

/// What became of a packet.
struct run {
    bool forwarded = false;
    octets packet{}; ///< as it left
    drop_reason why = drop_reason::none;
    std::optional<icmp_error_fields> answer{};
    bool is_untouched = true; ///< the bytes of a refused packet
};

template <ip_version V>
bool is_echo_request(parsed<V> const& p) {
    return p.what == content::echo && load_be<std::uint8_t>(p.payload(), icmp_at::type) == icmp_type<V>::echo_request;
}

/// The tuple after a translation by a `map` of the files: null is unchanged, and so are ports that are not there.
template <ip_version To, ip_version From>
tuple<To> after(boost::json::object const& map, parsed<From> const& p, tuple<From> const& before) {
    tuple<To> t{.source_port = before.source_port,
                .destination_port = before.destination_port,
                .protocol = detail::protocol_after<From>(before.protocol)};
    if constexpr (std::same_as<From, To>) {
        t.source = before.source;
        t.destination = before.destination;
        t.protocol = before.protocol;
    }
    if (auto const& a = map.at("src"); !a.is_null()) t.source = address_of<To>(std::string{a.as_string()});
    if (auto const& a = map.at("dst"); !a.is_null()) t.destination = address_of<To>(std::string{a.as_string()});
    auto const set = [&](char const* name, std::uint16_t& port) {
        if (auto const& value = map.at(name); !value.is_null()) port = value.to_number<std::uint16_t>();
    };
    if (p.what == content::ports) {
        set("sport", t.source_port);
        set("dport", t.destination_port);
    } else if (p.what == content::echo) {
        set("id", is_echo_request(p) ? t.source_port : t.destination_port);
    }
    return t;
}

template <ip_version From, ip_version To>
rewrite_result rewrite(span_packet& packet, parsed<From> const& p, boost::json::object const& map,
                       translation_settings const& settings) {
    rewriter<From, To> const rewrite{settings};
    auto const before = tuple_of(p);
    auto const outer = after<To>(map, p, before);
    if (p.what != content::icmp_error || p.flaw != drop_reason::none)
        return rewrite(packet, p, outer, changes_of(before, outer));
    auto const quoted = quoted_of(p);
    if (quoted.why != drop_reason::none) return {quoted.why, {}};
    auto const& inner = map.at("inner");
    if (inner.is_null()) throw std::runtime_error{"an ICMP error without a mapping of what it quotes"};
    return rewrite.error(packet, p,
                         {outer.source, outer.destination, after<To>(inner.as_object(), quoted.headers, quoted.key)});
}

/// \param in from the IP header on, link-layer padding included
template <ip_version From, ip_version To>
run translate(octets const& in, boost::json::object const& map, translation_settings const& settings) {
    octets memory(rewriter<From, To>::headroom + in.size());
    std::ranges::copy(in, memory.end() - static_cast<std::ptrdiff_t>(in.size()));
    span_packet packet{memory, rewriter<From, To>::headroom};
    auto const parsed_bytes = parse(packet.bytes());
    auto const* const p = std::get_if<parsed<From>>(&parsed_bytes);
    auto const* const no_packet = std::get_if<drop_reason>(&parsed_bytes);
    if (p == nullptr) return {.why = no_packet != nullptr ? *no_packet : drop_reason::bad_version};
    auto const result = rewrite<From, To>(packet, *p, map, settings);
    run r{.forwarded = result.done(), .why = result.why, .answer = result.answer};
    auto const bytes = packet.bytes();
    if (r.forwarded)
        r.packet.assign(bytes.begin(), bytes.end());
    else
        r.is_untouched = std::ranges::equal(bytes, in);
    return r;
}

/// \param mode "44", "46", "64" or "66"
inline run translate(std::string_view mode, octets const& in, boost::json::object const& map,
                     translation_settings const& settings) {
    if (mode == "44") return translate<ipv4, ipv4>(in, map, settings);
    if (mode == "46") return translate<ipv4, ipv6>(in, map, settings);
    if (mode == "64") return translate<ipv6, ipv4>(in, map, settings);
    if (mode == "66") return translate<ipv6, ipv6>(in, map, settings);
    throw std::runtime_error{"an unknown mode: " + std::string{mode}};
}

} // namespace kubeproxy::conformance
