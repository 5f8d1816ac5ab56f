#pragma once

#include "kubeproxy/control/controller.hpp"
#include "kubeproxy/dataplane/proxy.hpp"
#include "support/seed_packets.hpp"

#include <chrono>
#include <cstddef>
#include <string_view>
#include <vector>

/// A whole data plane for tests: `ku` text in, then packet by packet. Its code is in testbed.cpp, compiled once.
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
    explicit testbed(std::string_view ku, proxy_settings const& settings = {}, flow_table_size size = {4096, 4096},
                     secret const& key = secret{1});
    ~testbed();

    /// A line that is refused fails the test.
    void configure(std::string_view ku);

    std::vector<settled> send(std::vector<octets> const& packets, std::chrono::nanoseconds now = 0s);
    settled send(octets const& packet, std::chrono::nanoseconds now = 0s);

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
