#pragma once

#include "kubeproxy/control/show/health.hpp"
#include "kubeproxy/control/show/proxy_health.hpp"
#include "tap_forwarder/operations/http_server.hpp"
#include "tap_forwarder/operations/listen_addresses.hpp"

#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace examples {

/// Answers load balancers at the healthCheckNodePorts of the services, at the addresses of this host that
/// nodePortAddresses names. Each IP family has its own sockets, which answer with the endpoints of that family.
class health_ports {
  public:
    using say = std::function<void(std::string const&)>;
    using is_healthy = std::function<bool()>;

    /// \param healthy whether the proxy works; called for each request
    health_ports(boost::asio::io_context& context, say tell, is_healthy healthy)
        : context_{&context}, say_{std::move(tell)}, is_healthy_{std::move(healthy)} {}

    /// Opens, changes and closes ports for the services of now.
    void update(std::vector<kubeproxy::health_answer> const& answers, kubeproxy::node_configuration const& node) {
        auto const here = interface_addresses();
        addresses const v4 = listen_addresses<kubeproxy::ipv4>(node, here),
                        v6 = listen_addresses<kubeproxy::ipv6>(node, here);
        std::map<key, std::unique_ptr<port>> before;
        before.swap(ports_);
        for (auto const& answer : answers) {
            key const where{answer.port, answer.ip_family};
            auto& slot = ports_[where];
            slot = std::move(before[where]);
            auto const& wanted = answer.ip_family == 4 ? v4 : v6;
            if (!slot || slot->at != wanted) slot = std::make_unique<port>(port{.at = wanted});
            slot->answer = answer;
        }
        before.clear(); // closes sockets first, because another service may now have the port
        open_missing();
    }
    /// Tries again to open what could not be opened. Call it about once a second.
    void open_missing() {
        for (auto& [where, slot] : ports_)
            if (slot->servers.empty()) open(where, *slot);
    }

  private:
    using addresses = std::vector<boost::asio::ip::address>; ///< empty: all of the family
    using key = std::pair<std::uint16_t, unsigned>;          ///< port and IP family
    struct port {
        addresses at{};
        kubeproxy::health_answer answer{};
        std::vector<std::unique_ptr<http_server>> servers{}; ///< empty: a port could not be opened
        std::string problem{};                               ///< the message about it, which is said once
    };

    [[nodiscard]] http_answer answer_of(port const& slot) const {
        auto answer = slot.answer;
        answer.is_proxy_healthy = is_healthy_();
        return {.status = answer.status(),
                .type = "application/json",
                .body = answer.body(),
                .headers = {{"X-Content-Type-Options", "nosniff"},
                            {std::string{kubeproxy::health_answer::weight_header}, answer.weight()}}};
    }

    /// Opens all sockets of the port or, as kube-proxy, none.
    void open(key const& where, port& slot) {
        using boost::asio::ip::tcp;
        addresses at = slot.at;
        if (at.empty())
            at.push_back(where.second == 4 ? boost::asio::ip::address{boost::asio::ip::address_v4::any()}
                                           : boost::asio::ip::address{boost::asio::ip::address_v6::any()});
        try {
            for (auto const& address : at)
                slot.servers.push_back(std::make_unique<http_server>(
                    *context_, tcp::endpoint{address, where.first},
                    [this, &slot](std::string_view) { return answer_of(slot); }, http_settings{.is_ipv6_only = true}));
            slot.problem.clear();
        } catch (std::exception const& wrong) {
            slot.servers.clear();
            if (std::exchange(slot.problem, wrong.what()) != wrong.what())
                say_("healthCheckNodePort of " + slot.answer.service + ": " + wrong.what());
        }
    }

    boost::asio::io_context* context_;
    say say_;
    is_healthy is_healthy_;
    std::map<key, std::unique_ptr<port>> ports_;
};

} // namespace examples
