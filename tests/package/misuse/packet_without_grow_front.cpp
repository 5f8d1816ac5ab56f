// error: P needs `void grow_front\(std::size_t\) noexcept`
#include <kubeproxy/kubeproxy.hpp>

#include <cstddef>

struct my_packet {
    kubeproxy::mutable_byte_span memory;
    kubeproxy::mutable_byte_span bytes() const noexcept { return memory; }
    std::size_t headroom() const noexcept { return 0; }
    void shrink_front(std::size_t n) noexcept { memory = memory.subspan(n); }
    void truncate(std::size_t n) noexcept { memory = memory.first(n); }
};

void host(kubeproxy::flow_table& flows, kubeproxy::service_source& services) {
    kubeproxy::proxy<my_packet> proxy{flows, services};
}
