// One packet through the whole proxy. The first bytes choose services, settings and what the host says about the
// packet; the rest is the packet.

#include "kubeproxy/dataplane/proxy.hpp"

#include "hostile_input.hpp"
#include "support/hostile_host.hpp"
#include "support/hostile_services.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

namespace {

using namespace kubeproxy;
using namespace kubeproxy::testing_support;

/// Making one costs more than a packet does, so each is made once. What an input leaves behind is gone before the next:
/// flows are flushed, and the clock makes a leap that is longer than anything is remembered: identifications for two
/// and a half minutes. The only thing left is which source port and which identification come next.
class bed {
  public:
    bed(hostile_services which, host_settings const& settings) {
        configure(control_, which);
        host_ = std::make_unique<hostile_host>(services_, settings);
    }
    void run(guarded_packet const& packet, std::size_t spares) {
        constexpr std::chrono::hours leap{4};
        clock_ += leap;
        host_->flows().flush();
        std::vector<guarded_packet> burst(1, packet);
        host_->run(burst, clock_, spares);
        std::vector<guarded_packet> again(2, packet); // known flows, and fragments after their first one
        host_->run(again, clock_, spares);
        fuzz::check(host_->broken());
    }

  private:
    service_source services_;
    controller control_{services_};
    std::unique_ptr<hostile_host> host_;
    std::chrono::nanoseconds clock_{};
};

bed& bed_for(std::uint8_t services, std::uint8_t settings) {
    static std::map<unsigned, bed> made;
    auto const which = static_cast<hostile_services>(services % static_cast<unsigned>(hostile_services::count_));
    auto const key = static_cast<unsigned>(which) << 8 | settings;
    if (auto const found = made.find(key); found != made.end()) return found->second;
    return made.try_emplace(key, which, fuzz::settings_of(settings, settings >> 5 & 3u)).first->second;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    fuzz::input in{{data, size}};
    auto const services = in.next();
    auto const settings = static_cast<std::uint8_t>(in.next() & 0x7fu);
    auto const shape = fuzz::packet_shape::read(in);
    bed_for(services, settings).run(shape.packet_of(in.rest()), shape.spares);
    return 0;
}
