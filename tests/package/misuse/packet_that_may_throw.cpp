// error: P needs `void truncate\(std::size_t\) noexcept`
#include <kubeproxy/kubeproxy.hpp>

#include <cstddef>
#include <span>
#include <vector>

struct my_packet {
    std::vector<std::byte> memory;
    std::size_t front = 0;
    kubeproxy::mutable_byte_span bytes() noexcept { return std::span{memory}.subspan(front); }
    std::size_t headroom() const noexcept { return front; }
    void grow_front(std::size_t n) noexcept { front -= n; }
    void shrink_front(std::size_t n) noexcept { front += n; }
    void truncate(std::size_t n) { memory.resize(front + n); }
};

void host(kubeproxy::flow_table& flows, kubeproxy::service_source& services) {
    kubeproxy::proxy<my_packet> proxy{flows, services};
}
