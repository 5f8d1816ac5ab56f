// error: a host's stage returns `step<seen<P, V>>`
#include <kubeproxy/kubeproxy.hpp>

using namespace kubeproxy;

struct access_list {
    template <class P, class V>
    bool operator()(seen<P, V>& packet) noexcept {
        return true;
    }
};

void host(flow_table& flows, service_source& services) {
    proxy<span_packet, flow_table, access_list> proxy{flows, services};
}
