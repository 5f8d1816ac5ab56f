#pragma once

#include "kubeproxy/control/health.hpp"
#include "support/http_server.hpp"

#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace examples {

/// Answers load balancers at the healthCheckNodePorts of the services, at all addresses of this host.
class health_ports {
  public:
    using say = std::function<void(std::string const&)>;

    health_ports(boost::asio::io_context& context, say tell) : context_{&context}, say_{std::move(tell)} {}

    /// Opens, changes and closes ports as the services are now. One that cannot be opened is said, and tried again
    /// with the next change.
    void update(std::vector<kubeproxy::health_answer> const& answers) {
        std::map<std::uint16_t, std::unique_ptr<port>> before;
        before.swap(ports_);
        for (auto const& answer : answers) {
            auto& slot = ports_[answer.port];
            slot = std::move(before[answer.port]);
            if (!slot) slot = std::make_unique<port>();
            slot->answer = answer;
        }
        before.clear(); // whose sockets close first: a port may have moved
        for (auto& [number, slot] : ports_)
            if (!slot->server) open(number, *slot);
    }

  private:
    struct port {
        kubeproxy::health_answer answer{};
        std::unique_ptr<http_server> server{};
    };

    void open(std::uint16_t number, port& slot) {
        auto const answer = [&slot](std::string_view) {
            return http_answer{slot.answer.status(), "application/json", slot.answer.body()};
        };
        try {
            boost::asio::ip::tcp::endpoint const anywhere{boost::asio::ip::tcp::v6(), number};
            slot.server = std::make_unique<http_server>(*context_, anywhere, answer);
        } catch (std::exception const& wrong) {
            say_("healthCheckNodePort of " + slot.answer.service + ": " + wrong.what());
        }
    }

    boost::asio::io_context* context_;
    say say_;
    std::map<std::uint16_t, std::unique_ptr<port>> ports_;
};

} // namespace examples
