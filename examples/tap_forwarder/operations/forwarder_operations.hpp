#pragma once

#include "support/control_server.hpp"
#include "support/startup_error.hpp"
#include "tap_forwarder/operations/health_ports.hpp"
#include "tap_forwarder/operations/http_server.hpp"
#include "tap_forwarder/operations/metrics.hpp"

#include <boost/asio/io_context.hpp>

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace examples {

/// How people and programs reach a forwarder while it runs: the control socket, metrics, health checks, and the flows
/// of the process before it.
class forwarder_operations {
  public:
    using say = std::function<void(std::string const&)>;

    forwarder_operations(boost::asio::io_context& context, forwarder& host, say const& tell)
        : context_{&context}, forwarder_{&host}, say_{tell}, health_{context, tell, [this] { return is_healthy(); }} {}

    /// \throws startup_error
    void serve_control(std::string const& path) {
        try {
            control_.emplace(*context_, path, [this](std::string_view line) { return execute(line); });
        } catch (control_socket_error const& wrong) {
            throw startup_error{std::string{"--control "} + wrong.what()};
        }
    }
    /// \throws startup_error
    void serve_metrics(std::string const& where) {
        try {
            metrics_.emplace(*context_, parse_endpoint(where), [this](std::string_view path) { return answer(path); });
        } catch (std::exception const& wrong) {
            throw startup_error{std::string{"--metrics "} + wrong.what()};
        }
    }
    /// Takes over the flows of a file. Those of services that are not known yet wait for them. \throws startup_error
    void restore(std::string const& file) {
        try {
            auto read = kubeproxy::read_flow_file(read_whole_file(file));
            if (auto const* wrong = std::get_if<kubeproxy::flow_file_error>(&read))
                throw startup_error{"--restore " + file + ' ' + wrong->reason};
            orphans_ = std::get<kubeproxy::flow_images>(std::move(read));
        } catch (kubeproxy::ku_error const& wrong) {
            throw startup_error{"--restore " + file + ": " + wrong.what()};
        }
        restored_at_ = forwarder_->flow_now();
        auto const counts = take_over_orphans();
        say_("--restore " + file + ": " + std::to_string(counts.restored) + " flows go on, " +
             std::to_string(counts.expired) + " have expired, " + std::to_string(counts.orphaned) +
             " wait for their service, " + std::to_string(counts.refused) + " found no room");
    }

    /// After any change of the configuration.
    void services_changed() {
        auto const* current = forwarder_->control().current();
        if (current == nullptr || current->generation == generation_) return;
        generation_ = current->generation;
        proxy_.last_updated = std::chrono::system_clock::now();
        auto const& configuration = forwarder_->control().configuration();
        health_.update(health_answers(configuration), configuration.node());
        if (orphans_.flows.empty()) return;
        auto const counts = take_over_orphans();
        if (counts.restored != 0) say_(std::to_string(counts.restored) + " more flows go on");
    }

    /// Call it about once a second.
    /// \param waiting_since since when changes of the sources may wait to be read; none: all sources are read
    void tick(std::optional<std::chrono::nanoseconds> waiting_since) {
        proxy_.waiting_since = waiting_since;
        health_.open_missing();
    }
    /// What the Node object says: kube-proxy's NodeEligible.
    void set_node_eligible(bool is_eligible) noexcept { proxy_.is_node_eligible = is_eligible; }

  private:
    static constexpr std::uint32_t max_wait = 60'000; ///< ms; by then the cluster's objects have come

    kubeproxy::command_result execute(std::string_view line) {
        auto result = forwarder_->execute(line);
        services_changed();
        return result;
    }

    kubeproxy::restore_counts take_over_orphans() {
        auto const* services = forwarder_->control().current();
        std::vector<kubeproxy::flow_image> left;
        kubeproxy::restore_counts counts;
        if (services != nullptr) counts = restore_flows(forwarder_->flows(), orphans_, *services, restored_at_, &left);
        if (forwarder_->flow_now().since(restored_at_) > max_wait) left.clear();
        orphans_.flows = std::move(left);
        return counts;
    }

    [[nodiscard]] http_answer answer(std::string_view target) {
        auto const path = target.substr(0, target.find('?'));
        if (path == "/metrics")
            return {.type = std::string{metrics_text::content_type}, .body = forwarder_metrics(*forwarder_, start_)};
        auto const wall = std::chrono::system_clock::now();
        if (path == "/healthz") return health_answer_of(healthz(proxy_, wall, forwarder::now()));
        if (path == "/livez") return health_answer_of(livez(proxy_, wall, forwarder::now()));
        return {.status = 404, .body = "there are /metrics, /healthz and /livez\n"};
    }
    [[nodiscard]] static http_answer health_answer_of(kubeproxy::health_report report) {
        return {.status = report.status,
                .type = "application/json",
                .body = std::move(report.body),
                .headers = {{"X-Content-Type-Options", "nosniff"}}};
    }
    [[nodiscard]] bool is_healthy() const noexcept { return proxy_.is_healthy(forwarder::now()); }

    boost::asio::io_context* context_;
    forwarder* forwarder_;
    say say_;
    kubeproxy::proxy_health proxy_;
    health_ports health_;
    std::optional<control_server> control_;
    std::optional<http_server> metrics_;
    kubeproxy::flow_images orphans_;
    kubeproxy::flow_time restored_at_{};
    std::uint64_t generation_ = 0;
    std::chrono::system_clock::time_point start_ = std::chrono::system_clock::now();
};

} // namespace examples
