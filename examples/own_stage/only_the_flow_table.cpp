// The flow table alone: which conversations there are, and how long each has been silent, for a monitor that changes
// nothing.

#include <kubeproxy/flow/table.hpp>
#include <kubeproxy/wire/address_text.hpp>

#include <chrono>
#include <iostream>

using namespace kubeproxy;
using namespace std::chrono_literals;

class monitor {
  public:
    void see(tuple<ipv4> const& packet, flow_time now) {
        timeouts const limits{};
        if (auto const known = flows_.find(packet); known && !flows_.is_expired(known, now))
            return flows_.touch(known, now, transport_event::packet, 0, limits);
        auto const state = initial_state(packet.protocol, transport_event::packet);
        (void)flows_.insert(packet, packet, {.state = state, .timeout = timeout_of(state, limits)}, now);
    }
    std::size_t print(flow_time now) {
        std::size_t count = 0;
        flows_.for_each([&](flow_ref flow) {
            auto const& body = flows_.body(flow);
            if (body.is_expired(now)) return;
            ++count;
            std::cout << body.packets[0].load() + 1 << " packets there, " << body.packets[1].load() << " back\n";
        });
        return count;
    }

  private:
    flow_table flows_{{.narrow = 1024, .wide = 64}, secret::from_system()};
};

int main() {
    monitor seen;
    tuple<ipv4> const question{*parse_address<ipv4>("192.0.2.1"), *parse_address<ipv4>("198.51.100.7"), 4711, 53,
                               ip_protocol::udp};
    tuple<ipv4> const other{*parse_address<ipv4>("192.0.2.2"), *parse_address<ipv4>("198.51.100.7"), 4711, 53,
                            ip_protocol::udp};
    seen.see(question, flow_time{0ms});
    seen.see(question.mirrored(), flow_time{1ms}); // the answer belongs to the same flow
    seen.see(other, flow_time{2ms});
    auto const early = seen.print(flow_time{1000ms});
    std::cout << "a minute later, without an answer to the second (RFC 4787: 30 s):\n";
    auto const late = seen.print(flow_time{60'000ms});
    return early == 2 && late == 1 ? 0 : 1;
}
