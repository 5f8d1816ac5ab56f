// error: it needs `step<seen<P, V>> operator\(\)\(seen<P, V>&\) noexcept`
#include <kubeproxy/kubeproxy.hpp>

using namespace kubeproxy;

// An access list for packets of another type than the proxy's.
struct my_packet : span_packet {};
struct access_list {
    step<seen<span_packet, ipv4>> operator()(seen<span_packet, ipv4>& packet) noexcept { return packet; }
};

void host(flow_table& flows, service_source& services) {
    proxy<my_packet, flow_table, access_list> proxy{flows, services};
}
