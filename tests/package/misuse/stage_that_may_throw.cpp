// error: a host's stage may throw: declare its operator\(\) noexcept
#include <kubeproxy/kubeproxy.hpp>

using namespace kubeproxy;

struct access_list {
    template <class P>
    step<seen<P, ipv4>> operator()(seen<P, ipv4>& packet) {
        return packet;
    }
};

void host(flow_table& flows, service_source& services) {
    proxy<span_packet, flow_table, access_list> proxy{flows, services};
}
