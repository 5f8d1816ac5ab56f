// error: P needs `mutable_byte_span bytes\(\) noexcept`
#include <kubeproxy/kubeproxy.hpp>

#include <cstddef>
#include <vector>

void host(kubeproxy::flow_table& flows, kubeproxy::service_source& services) {
    kubeproxy::proxy<std::vector<std::byte>> proxy{flows, services};
}
