#include "support/testbed.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <span>

namespace kubeproxy::testing_support {

testbed::testbed(std::string_view ku, proxy_settings const& settings, flow_table_size size, secret const& key)
    : flows_{size, key}, control_{services_}, proxy_{flows_, services_, settings} {
    configure(ku);
}

testbed::~testbed() = default;

void testbed::configure(std::string_view ku) {
    auto const result = control_.apply(ku);
    if (!result.ok()) ADD_FAILURE() << "line " << result.error->line << ": " << result.error->reason;
}

std::vector<settled> testbed::send(std::vector<octets> const& packets, std::chrono::nanoseconds now) {
    std::vector<test_packet> burst(packets.begin(), packets.end());
    std::vector<settled> result;
    std::deque<test_packet> spares;
    extra_.clear();
    auto const settle = [&](test_packet& p, outcome const& o) {
        bool const is_extra = std::ranges::any_of(spares, [&](test_packet const& spare) { return &spare == &p; });
        auto const bytes = p.bytes();
        (is_extra ? extra_ : result).push_back({o, octets(bytes.begin(), bytes.end())});
    };
    auto const spare = [&](test_packet&, std::size_t size) { return &spares.emplace_back(octets(size)); };
    if (gives_spares_)
        proxy_.process(std::span{burst}, now, settle, spare);
    else
        proxy_.process(std::span{burst}, now, settle);
    return result;
}

settled testbed::send(octets const& packet, std::chrono::nanoseconds now) {
    return send(std::vector<octets>(1, packet), now).front();
}

} // namespace kubeproxy::testing_support
