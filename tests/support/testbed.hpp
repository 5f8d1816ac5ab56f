#pragma once

#include "kubeproxy/control/controller.hpp"
#include "kubeproxy/dataplane/proxy.hpp"
#include "support/seed_packets.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <deque>
#include <span>
#include <string_view>
#include <vector>

/// A whole data plane for tests: `ku` text in, then packet by packet.
namespace kubeproxy::testing_support {

using seed::octets;
using namespace std::chrono_literals;

/// A packet with the headroom that every translation may need.
class test_packet {
  public:
    explicit test_packet(octets const& bytes) : memory_(headroom_size + bytes.size()) {
        std::ranges::copy(bytes, memory_.begin() + headroom_size);
        view_ = span_packet{memory_, headroom_size};
    }
    [[nodiscard]] mutable_byte_span bytes() const noexcept { return view_.bytes(); }
    [[nodiscard]] std::size_t headroom() const noexcept { return view_.headroom(); }
    void grow_front(std::size_t n) noexcept { view_.grow_front(n); }
    void shrink_front(std::size_t n) noexcept { view_.shrink_front(n); }
    void truncate(std::size_t size) noexcept { view_.truncate(size); }

  private:
    static constexpr std::size_t headroom_size = 128;
    octets memory_;
    span_packet view_{{}, 0};
};

struct settled {
    outcome what;
    octets bytes;
};

class testbed {
  public:
    explicit testbed(std::string_view ku, proxy_settings const& settings = {}, flow_table_size size = {4096, 4096})
        : flows_{size, 1}, control_{services_}, proxy_{flows_, services_, settings} {
        configure(ku);
    }

    void configure(std::string_view ku) {
        auto const result = control_.apply(ku);
        if (!result.ok()) ADD_FAILURE() << "line " << result.error->line << ": " << result.error->reason;
    }

    std::vector<settled> send(std::vector<octets> const& packets, std::chrono::nanoseconds now = 0s) {
        std::vector<test_packet> burst(packets.begin(), packets.end());
        std::vector<settled> result;
        extra_.clear();
        std::deque<test_packet> spares;
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
    settled send(octets const& packet, std::chrono::nanoseconds now = 0s) {
        return send(std::vector<octets>(1, packet), now).front();
    }

    /// From now on packets may become several.
    void give_spares() noexcept { gives_spares_ = true; }
    /// The packets beside those sent that came out last time.
    [[nodiscard]] std::vector<settled> const& extra() const noexcept { return extra_; }

    [[nodiscard]] controller& control() noexcept { return control_; }
    [[nodiscard]] flow_table& flows() noexcept { return flows_; }
    [[nodiscard]] service_source& services() noexcept { return services_; }
    [[nodiscard]] auto& path() noexcept { return proxy_; }

  private:
    service_source services_;
    flow_table flows_;
    controller control_;
    proxy<test_packet> proxy_;
    std::vector<settled> extra_;
    bool gives_spares_ = false;
};

} // namespace kubeproxy::testing_support
