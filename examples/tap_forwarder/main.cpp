// A router between TAP devices whose data plane is the library: see --help.
//
// link/        TAP devices, and the frames and packets that they carry
// router/      IPv4 and IPv6 forwarding around the library: routes, ARP and neighbour discovery, packets to the router
// worker/      the data threads: from a queue through router and library to a queue
// operations/  options, configuration, control socket, metrics and health checks
//
// Each folder includes only itself, those above it and support/.

#include "support/command_line.hpp"
#include "support/configuration.hpp"
#include "tap_forwarder/operations/forwarder.hpp"
#include "tap_forwarder/operations/forwarder_operations.hpp"
#include "tap_forwarder/operations/ku_reload.hpp"
#include "tap_forwarder/operations/kubernetes_streams.hpp"
#include "tap_forwarder/operations/options.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <csignal>
#include <iostream>
#include <iterator>
#include <optional>
#include <string>
#include <utility>

namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using examples::startup_error;

void say(std::string const& line) { std::cerr << "tap_forwarder: " << line << std::endl; }

/// The forwarder and everything around it that speaks with people and programs, on one thread.
class program {
  public:
    explicit program(examples::forwarder_options options)
        : options_{std::move(options)}, forwarder_{options_.forwarder}, operations_{context_, forwarder_, say},
          streams_{context_, forwarder_.control(), say, [this] { services_changed(); }},
          signals_{context_, SIGINT, SIGTERM, SIGHUP}, timer_{context_} {
        configure();
        if (!options_.restore.empty()) operations_.restore(options_.restore);
        if (!options_.metrics.empty()) operations_.serve_metrics(options_.metrics);
        if (!options_.control.empty()) operations_.serve_control(options_.control);
    }

    void run() {
        forwarder_.start();
        print_banner();
        await_signal();
        await_timer();
        context_.run();
        forwarder_.stop();
        forwarder_.flush_capture();
    }

  private:
    void configure() {
        auto& control = forwarder_.control();
        try {
            if (!options_.files.node.empty()) {
                examples::load_node(control, options_.files.node);
                operations_.set_node_eligible(examples::is_eligible_node(options_.files.node));
            }
        } catch (examples::file_error const& wrong) {
            throw startup_error{std::string{"--node "} + wrong.what()};
        }
        node_ = control.configuration().node();
        forwarder_.set_pod_links(node_);
        streams_.watch_node(node_.name, [this](bool is_eligible) { operations_.set_node_eligible(is_eligible); });
        control.publish();
        if (!options_.files.ku.empty())
            if (auto const wrong = reload()) throw startup_error{"--config " + *wrong};
        try {
            for (auto const& file : options_.files.kubernetes) streams_.follow(file);
        } catch (examples::file_error const& wrong) {
            throw startup_error{std::string{"--kubernetes "} + wrong.what()};
        }
        operations_.services_changed();
    }

    void services_changed() {
        forwarder_.wait_for_workers();
        operations_.services_changed();
    }

    /// \return why the file is refused; then nothing has changed
    [[nodiscard]] std::optional<std::string> reload() {
        try {
            auto input = examples::open_text(options_.files.ku);
            std::string const text{std::istreambuf_iterator<char>{input}, {}};
            auto const wrong = examples::replace_ku(forwarder_.control(), node_, text);
            if (wrong) return options_.files.ku + ": " + *wrong;
        } catch (examples::file_error const& wrong) {
            return wrong.what();
        }
        return std::nullopt;
    }

    void await_signal() {
        signals_.async_wait([this](boost::system::error_code const& wrong, int signal) {
            if (wrong) return;
            if (signal != SIGHUP) return context_.stop();
            reload_and_say();
            await_signal();
        });
    }
    void reload_and_say() {
        look_at_node();
        if (options_.files.ku.empty()) return say("SIGHUP: there is no --config file to read again");
        if (auto const wrong = reload()) return say(*wrong + "; everything stays as it was");
        services_changed();
        say(options_.files.ku + ": read again, " + std::to_string(services()) + " services");
    }

    /// Only whether the node is to be deleted; everything else of it stays as it was at the start.
    void look_at_node() {
        if (options_.files.node.empty()) return;
        try {
            operations_.set_node_eligible(examples::is_eligible_node(options_.files.node));
        } catch (examples::file_error const& wrong) {
            say(std::string{"--node "} + wrong.what());
        }
    }

    void await_timer() {
        timer_.expires_after(1s);
        timer_.async_wait([this](boost::system::error_code const& wrong) {
            if (wrong) return;
            tick();
            await_timer();
        });
    }

    void tick() {
        streams_.tick();
        operations_.tick(streams_.unread_since());
        if (forwarder_.control().tick(forwarder_.now())) services_changed();
        forwarder_.control().collect();
    }

    [[nodiscard]] std::size_t services() { return forwarder_.control().configuration().service_count(); }

    void print_banner() {
        auto& out = std::cout;
        auto const& links = forwarder_.links();
        for (std::size_t i = 0; i < links.size(); ++i) {
            auto const& device = forwarder_.devices()[i];
            out << links[i].name() << (device.is_created() ? "  created" : "  attached") << ", MTU " << links[i].mtu()
                << ", TSO" << (device.has_udp_segmentation() ? " and USO" : "") << ", ";
            if (!device.steering().refusal().empty())
                out << "no steering by processor (" << device.steering().refusal() << "), ";
            out << "router at";
            for (auto const& station : links[i].addresses<kubeproxy::ipv4>())
                out << ' ' << kubeproxy::to_text(station.address) << '/' << unsigned{station.network.length};
            for (auto const& station : links[i].addresses<kubeproxy::ipv6>())
                out << ' ' << kubeproxy::to_text(station.address) << '/' << unsigned{station.network.length};
            out << '\n';
        }
        for (auto const& route : options_.forwarder.routes) out << "route " << route.text << '\n';
        out << services() << " services; room for " << options_.forwarder.flows
            << " flows of IPv4 and as many of IPv6; " << options_.forwarder.workers
            << (options_.forwarder.workers == 1 ? " worker" : " workers")
            << (forwarder_.has_processor_for_each_worker() ? ", one for each processor" : "") << '\n'
            << "ready" << std::endl;
    }

    examples::forwarder_options options_;
    asio::io_context context_{1};
    examples::forwarder forwarder_;
    examples::forwarder_operations operations_;
    kubeproxy::node_configuration node_; ///< as --node said it, before the ku file
    examples::kubernetes_streams streams_;
    asio::signal_set signals_;
    asio::steady_timer timer_;
};

} // namespace

int main(int argc, char** argv) {
    return examples::run_program("tap_forwarder", [&] {
        if (auto options = examples::read_options(argc, argv, std::cout)) program{std::move(*options)}.run();
        return examples::success;
    });
}
