// The data path as a program that its author compiles without exceptions and run-time types, and with every warning:
// made, run and asked once.

#include <kubeproxy/kubeproxy.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <span>

namespace {

using kubeproxy::span_packet;

template <class Table>
bool passes_what_is_not_ours(Table& flows, kubeproxy::service_source& services) {
    std::array<std::byte, kubeproxy::proxy<span_packet, Table>::headroom + 20> memory{};
    auto const headroom = memory.size() - 20;
    memory[headroom] = std::byte{0x45}; // an IPv4 header (RFC 791) of 20 bytes, nothing behind it
    memory[headroom + 3] = std::byte{20};
    memory[headroom + 9] = std::byte{254}; // RFC 3692: for experiments
    std::array burst{span_packet{memory, headroom}};

    bool passed = false;
    kubeproxy::proxy<span_packet, Table> proxy{flows, services};
    proxy.process(std::span{burst}, std::chrono::seconds{1},
                  [&](span_packet&, kubeproxy::outcome const& outcome) noexcept {
                      passed = outcome.what == kubeproxy::verdict::pass();
                  });
    return passed && proxy.verdicts().packets(kubeproxy::action::pass) == 1;
}

} // namespace

int main() {
    if (!kubeproxy::can_build_ring(1, 257)) return 1;
    kubeproxy::service_source services;
    if (!services.has_room()) return 1;
    kubeproxy::flow_table own{{.narrow = 64, .wide = 64}, kubeproxy::secret{1}};
    kubeproxy::shared_flow_table shared{{.narrow = 64, .wide = 64}, kubeproxy::secret{1}, services};
    return passes_what_is_not_ours(own, services) && passes_what_is_not_ours(shared, services) ? 0 : 1;
}
