#include <kubeproxy/kubeproxy.hpp>

kubeproxy::ipv4::address first_pod() noexcept { return kubeproxy::ipv4_address(0x0af40107); } // 10.244.1.7
