// error: process\(\) calls `P\* spare\(P& like, std::size_t size\)`
#include <kubeproxy/kubeproxy.hpp>

#include <chrono>
#include <cstddef>
#include <span>

using namespace kubeproxy;

void host(proxy<span_packet>& proxy, std::span<span_packet> burst, std::chrono::nanoseconds now) {
    proxy.process(
        burst, now, [](span_packet&, outcome const&) {}, [](span_packet&, std::size_t) { return false; });
}
