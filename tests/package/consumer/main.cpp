#include <kubeproxy/kubeproxy.hpp>
#include <kubeproxy/version.hpp>

#include <cstdio>
#include <string>

kubeproxy::ipv4::address first_pod() noexcept; // other.cpp

int main() {
    auto const version = std::to_string(kubeproxy::version_major) + "." + std::to_string(kubeproxy::version_minor) +
                         "." + std::to_string(kubeproxy::version_patch);
    auto const pod = kubeproxy::to_number(first_pod());
    std::printf("kubeproxy %s, first pod %08x\n", version.c_str(), static_cast<unsigned>(pod));
    return version == EXPECTED_VERSION && pod == 0x0af40107 ? 0 : 1;
}
