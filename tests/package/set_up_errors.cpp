// Construction that fails in a program without exceptions: the error's text appears on stderr, and the program ends.
// The argument names the mistake that the program makes.

#include <kubeproxy/kubeproxy.hpp>

#include <cstdlib>
#include <exception>
#include <string_view>

int main(int count, char** arguments) {
    using namespace kubeproxy;
    std::set_terminate([] { std::_Exit(3); });
    std::string_view const mistake = count == 2 ? arguments[1] : "";
    service_source services, other;
    if (mistake == "other_domain") {
        shared_flow_table flows{{.narrow = 64, .wide = 64}, secret{1}, other};
        proxy<span_packet, shared_flow_table> const proxy{flows, services};
    }
    if (mistake == "table_too_large") flow_table const flows{{.narrow = 0xffff'ffff}, secret{1}};
    if (mistake == "no_share") port_pool<ipv4> const ports{1, {.index = 1, .count = 1}};
    return 0;
}
