// error: a shared_flow_table goes with a shared_affinity_table
#include <kubeproxy/kubeproxy.hpp>

using namespace kubeproxy;

void host(shared_flow_table& flows, affinity_table& clients, service_source& services) {
    proxy<span_packet, shared_flow_table> proxy{flows, clients, services};
}
