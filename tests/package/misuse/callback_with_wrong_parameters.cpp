// error: process\(\) calls settle\(P&, outcome const&\)
#include <kubeproxy/kubeproxy.hpp>

#include <chrono>
#include <span>

using namespace kubeproxy;

void host(proxy<span_packet>& proxy, std::span<span_packet> burst, std::chrono::nanoseconds now) {
    proxy.process(burst, now, [](span_packet& packet, verdict what) {});
}
