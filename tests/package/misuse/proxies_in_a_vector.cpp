// error: a_proxy_cannot_be_moved|a proxy cannot be moved
#include <kubeproxy/kubeproxy.hpp>

#include <vector>

using namespace kubeproxy;

void host(std::vector<proxy<span_packet>>& workers, flow_table& flows, service_source& services) {
    workers.emplace_back(flows, services);
}
