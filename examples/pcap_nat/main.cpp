// Translates the packets of a capture as a node's service proxy would: see --help.

#include "kubeproxy/control/controller.hpp"
#include "kubeproxy/dataplane/proxy.hpp"

#include "pcap_nat/frame.hpp"
#include "pcap_nat/progress.hpp"
#include "support/capture.hpp"
#include "support/configuration.hpp"
#include "support/report.hpp"

#include <boost/program_options.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

namespace {

using namespace std::chrono_literals;
using examples::capture_error;
using examples::capture_reader;
using examples::capture_writer;
using examples::frame;

/// The command line is wrong, or the configuration is.
class usage_error : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// The library, configured from files: control path and data path of one worker.
class translator {
  public:
    translator(examples::configuration_files const& files, std::optional<std::uint64_t> seed, bool track_direct)
        : control_{services_, {.seed = examples::ring_seed_of(seed), .hooks = hooks()}}, notes_{configured(files)},
          flows_{examples::table_size(control_.configuration().node()), kubeproxy::secret{seed.value_or(1)}},
          proxy_{flows_, services_, {.ring_seed = examples::ring_seed_of(seed), .track_direct = track_direct}} {}

    /// Calls settle(frame, outcome) for each frame, in order, and for those that it took from `spares`.
    template <class Settle>
    void process(std::span<frame> frames, std::chrono::nanoseconds now, examples::spare_frames& spares,
                 Settle&& settle) {
        auto const count_and_settle = [&](frame& f, kubeproxy::outcome const& o) {
            count_refusal(o);
            settle(f, o);
        };
        proxy_.process(frames, now, count_and_settle,
                       [&](frame const& like, std::size_t size) { return spares.take(like, size); });
    }
    [[nodiscard]] kubeproxy::verdict_counters const& verdicts() const noexcept { return proxy_.verdicts(); }

    /// \pre `f` was settled with `o`, and not changed since
    [[nodiscard]] examples::packet_report describe(frame& f, kubeproxy::outcome const& o) const {
        examples::packet_report report{.verdict = o.what, .flow = name_of(o.relation)};
        if (o.masqueraded) report.from = examples::packet_report::source::masqueraded;
        if (o.service != kubeproxy::no_service) report.service = *control_.current()->service_at(o.service).name;
        if (o.backend != kubeproxy::no_backend) report.backend = backend_text(f, o);
        return report;
    }

    [[nodiscard]] std::vector<examples::service_report> services() const;

    /// Whether an address of the packet is a service's or a backend's, so that a packet with a damaged header may be
    /// meant for a service. O(services + backends)
    [[nodiscard]] bool may_be_ours(frame& f) const {
        if (examples::ip_version(f.bytes()) == 4) return concerns<kubeproxy::ipv4>(f.bytes());
        return concerns<kubeproxy::ipv6>(f.bytes());
    }

    /// A capture of one IP version cannot hold what becomes of its packets where they change it.
    [[nodiscard]] int written_data_link(int captured) const noexcept {
        bool const is_too_narrow = (captured == DLT_IPV4 && changes_version<kubeproxy::ipv4>()) ||
                                   (captured == DLT_IPV6 && changes_version<kubeproxy::ipv6>());
        return is_too_narrow ? DLT_RAW : captured;
    }

    /// What the configuration's `show` lines said.
    [[nodiscard]] std::string const& answers() const noexcept { return notes_.answers; }
    /// Objects of the cluster that were not taken, and why.
    [[nodiscard]] std::vector<std::string> const& refused_objects() const noexcept { return notes_.refused; }

  private:
    /// The file is read before the first packet, so there are no flows yet to show or to flush.
    [[nodiscard]] static kubeproxy::controller_hooks hooks() {
        return {.flows = [] { return std::vector<kubeproxy::flow_view>{}; },
                .clients = [] { return std::vector<kubeproxy::affinity_view>{}; },
                .counters = [] { return std::vector<kubeproxy::counter_view>{}; },
                .flush = [] {}};
    }

    [[nodiscard]] examples::configuration_notes configured(examples::configuration_files const& files) {
        try {
            return examples::configure(control_, files);
        } catch (examples::file_error const& wrong) {
            throw usage_error{wrong.what()};
        }
    }

    [[nodiscard]] static std::string_view name_of(kubeproxy::flow_relation relation) noexcept {
        switch (relation) {
        case kubeproxy::flow_relation::none: break;
        case kubeproxy::flow_relation::fresh: return "new";
        case kubeproxy::flow_relation::original: return "original";
        case kubeproxy::flow_relation::reply: return "reply";
        case kubeproxy::flow_relation::related: return "related";
        }
        return "none";
    }

    /// Where the service keeps the packet's port, that is the backend's.
    [[nodiscard]] static std::uint16_t kept_port(frame& f, kubeproxy::flow_relation relation) noexcept {
        auto const port = [relation]<kubeproxy::ip_version V>(kubeproxy::parsed<V> const& p) -> std::uint16_t {
            if (p.what != kubeproxy::content::ports) return 0;
            auto const key = kubeproxy::tuple_of(p);
            return relation == kubeproxy::flow_relation::reply ? key.source_port : key.destination_port;
        };
        auto const packet = kubeproxy::parse(f.bytes());
        if (auto const* p = std::get_if<kubeproxy::parsed<kubeproxy::ipv4>>(&packet)) return port(*p);
        if (auto const* p = std::get_if<kubeproxy::parsed<kubeproxy::ipv6>>(&packet)) return port(*p);
        return 0;
    }

    [[nodiscard]] static std::string text(kubeproxy::ip_address const& address, std::uint16_t port) {
        return port != 0 ? kubeproxy::to_text(address, port) : kubeproxy::to_text(address);
    }

    [[nodiscard]] std::string backend_text(frame& f, kubeproxy::outcome const& o) const {
        auto const& services = *control_.current();
        auto const& b = services.backend_at(o.backend);
        auto const port = b.port != 0 ? b.port : kept_port(f, o.relation);
        if (services.service_at(b.service).pod_version == 4) return text(b.address_as<kubeproxy::ipv4>(), port);
        return text(b.address_as<kubeproxy::ipv6>(), port);
    }

    template <kubeproxy::ip_version V>
    [[nodiscard]] bool concerns(kubeproxy::byte_span packet) const {
        constexpr std::size_t source = std::same_as<V, kubeproxy::ipv4> ? 12 : 8;
        using address = typename V::address;
        if (packet.size() < source + 2 * sizeof(address)) return false;
        auto const from = kubeproxy::load_object<address>(packet, source);
        auto const to = kubeproxy::load_object<address>(packet, source + sizeof(address));
        auto const is_ours = [&](auto const& service) {
            if (service == nullptr) return false;
            for (auto const& a : service->addresses)
                if (auto const* where = std::get_if<kubeproxy::prefix<V>>(&a.where); where && where->contains(to))
                    return true;
            for (auto const& slice : service->slices)
                for (auto const& e : slice.endpoints)
                    if (e.address == kubeproxy::ip_address{from}) return true;
            return false;
        };
        return std::ranges::any_of(control_.configuration().services(), is_ours);
    }

    template <kubeproxy::ip_version V>
    [[nodiscard]] bool changes_version() const noexcept {
        auto const* services = control_.current();
        return services != nullptr &&
               std::ranges::any_of(services->frontends<V>().all(), [&](kubeproxy::frontend<V> const& f) {
                   return f.service != kubeproxy::no_service &&
                          services->service_at(f.service).pod_version != V::number;
               });
    }

    /// The library counts what it forwards; a service without backends would look as if nobody asked for it.
    void count_refusal(kubeproxy::outcome const& o) {
        using kubeproxy::action;
        if (o.service == kubeproxy::no_service || o.what.what() == action::forward) return;
        if (refused_.size() <= o.service) refused_.resize(o.service + 1);
        ++refused_[o.service];
    }
    [[nodiscard]] std::uint64_t refused(std::uint32_t service) const noexcept {
        return service < refused_.size() ? refused_[service] : 0;
    }

    kubeproxy::service_source services_;
    kubeproxy::controller control_;
    examples::configuration_notes notes_;
    kubeproxy::flow_table flows_;
    kubeproxy::proxy<frame> proxy_;
    std::vector<std::uint64_t> refused_; ///< packets by service
};

std::vector<examples::service_report> translator::services() const {
    std::vector<examples::service_report> reports;
    for (auto const& service : control_.compiled().services()) {
        for (auto const& port : service.ports) {
            auto const view =
                view_of(*service.source, port, control_.compiled().node(), *control_.current(), services_);
            auto const packets = view.counted.packets + refused(port.service) + refused(port.guarded);
            auto& report = reports.emplace_back();
            report.all = {view.name, packets, view.counted.flows};
            for (auto const& e : view.endpoints)
                report.backends.push_back({text(e.address, e.port), e.counted.packets, e.counted.flows});
        }
    }
    return reports;
}

/// The frames of a capture, from the reader through the library to the writer.
class nat_run {
  public:
    static constexpr std::size_t burst_size = kubeproxy::proxy<frame>::burst_size;
    /// The library has one time for a burst, so this is how exact a flow's lifetime is.
    static constexpr auto burst_time = 1ms;
    static_assert(frame::front_room >= kubeproxy::proxy<frame>::headroom);

    nat_run(translator& nat, capture_reader const& in, capture_writer& out, std::ostream* report,
            examples::capture_point point)
        : nat_{nat}, in_{in}, out_{out}, report_{report}, link_{*examples::link_layer_of(in.data_link())},
          point_{point}, frames_(burst_size) {}

    void take(examples::captured_packet const& packet) {
        auto const time = std::max(in_.time_of(packet.header), now_); // a capture's clock may step back, ours must not
        if (waiting_ == burst_size || time > burst_began_ + burst_time) flush();
        if (packet.bytes.size() > frame::capacity || !is_for_library(packet)) return pass_unread(packet);
        if (waiting_ == 0) burst_began_ = time;
        now_ = time;
        ++waiting_;
    }

    void flush() {
        nat_.process(std::span{frames_}.first(waiting_), burst_began_, spares_,
                     [&](frame& f, kubeproxy::outcome const& o) { settle(f, o); });
        waiting_ = 0;
        progress_.show(packets_);
    }

    [[nodiscard]] std::uint64_t packets() const noexcept { return packets_; }
    [[nodiscard]] std::uint64_t not_ip() const noexcept { return not_ip_; }

  private:
    /// A packet with a damaged header is the library's to drop only where it may be meant for a service: no router
    /// between would drop it for the lengths that it gives.
    [[nodiscard]] bool is_for_library(examples::captured_packet const& packet) {
        auto& f = frames_[waiting_];
        switch (f.assign(link_, packet, point_)) {
        case frame::content::packet: return true;
        case frame::content::malformed: return nat_.may_be_ours(f);
        case frame::content::other: break;
        }
        return false;
    }

    void pass_unread(examples::captured_packet const& packet) {
        flush();
        out_.write(packet.header, packet.bytes, packet.header.len);
        ++not_ip_;
        ++packets_;
        if (report_ != nullptr) examples::write_json_line(*report_, packets_, {});
    }

    void settle(frame& f, kubeproxy::outcome const& o) {
        if (f.from() == frame::origin::capture) {
            ++packets_;
            if (report_ != nullptr) examples::write_json_line(*report_, packets_, nat_.describe(f, o));
        }
        write(f, o.what.what());
        if (f.from() == frame::origin::spare) spares_.give_back(f);
    }

    void write(frame& f, kubeproxy::action what) {
        switch (what) {
        case kubeproxy::action::forward: return write(f, f.forwarded());
        case kubeproxy::action::reply: return write(f, f.replied());
        case kubeproxy::action::pass:
            return write(f, f.from() == frame::origin::capture ? f.captured() : f.forwarded());
        case kubeproxy::action::drop:
        case kubeproxy::action::count_: break;
        }
    }

    void write(frame const& f, frame::output const& whole) { out_.write(f.record(), whole.bytes, whole.on_wire); }

    translator& nat_;
    capture_reader const& in_;
    capture_writer& out_;
    std::ostream* report_; ///< null: nobody wants one
    examples::link_layer link_;
    examples::capture_point point_;
    std::vector<frame> frames_;
    examples::spare_frames spares_;
    std::size_t waiting_ = 0;
    std::uint64_t packets_ = 0;
    std::uint64_t not_ip_ = 0;
    std::chrono::nanoseconds now_{};
    std::chrono::nanoseconds burst_began_{};
    examples::progress progress_;
};

struct settings {
    std::string read;
    std::string write;
    examples::configuration_files config;
    std::string report;
    std::optional<std::uint64_t> seed; ///< none: backends as on every node. No client is there to keep a secret from
    examples::capture_point point = examples::capture_point::on_the_way;
    enum class table { none, printed } stats = table::none;
    bool track_direct = false;
};

namespace options = boost::program_options;

[[nodiscard]] options::options_description described() {
    options::options_description all{"pcap_nat --read IN --write OUT [options]\n\n"
                                     "Translates the packets of a capture as a node's service proxy would.\n\n"
                                     "Options"};
    auto add = all.add_options();
    add("read", options::value<std::string>()->value_name("IN"),
        "capture to read, pcap or pcapng; - is standard input");
    add("write", options::value<std::string>()->value_name("OUT"), "capture to write, pcap; - is standard output");
    add("config", options::value<std::string>()->value_name("FILE.ku"), "services and pods in the ku language");
    add("kubernetes", options::value<std::vector<std::string>>()->value_name("FILE.json"),
        "Services and EndpointSlices as kubectl get -o json prints them, or watches them; may be given again");
    add("node", options::value<std::string>()->value_name("FILE.json"),
        "which node this is: its name, zone, addresses, podCIDRs, ...");
    add("report", options::value<std::string>()->value_name("FILE.jsonl"), "write what became of each packet, as JSON");
    add("stats", "print packets by verdict, and by service and backend");
    add("seed", options::value<std::uint64_t>()->value_name("N"),
        "repeatable run: the choice of backends and source ports follows from N");
    add("track-direct",
        "know connections that go directly to pods, too, so that a client may use one source port for a "
        "pod and for a service in front of it");
    add("offloads", "the capture was taken on the sending host: complete no checksum that was left to the device, and "
                    "translate packets that the device was to cut into segments");
    add("help", "print this text");
    return all;
}

[[nodiscard]] options::variables_map parsed(int argc, char const* const* argv,
                                            options::options_description const& all) {
    using namespace options::command_line_style;
    options::variables_map found;
    try {
        options::command_line_parser parser{argc, argv};
        options::store(parser.options(all).positional({}).style(unix_style & ~allow_guessing).run(), found);
    } catch (options::error const& wrong) {
        throw usage_error{wrong.what()};
    }
    return found;
}

[[nodiscard]] std::string text(options::variables_map const& found, std::string const& name) {
    return found.contains(name) ? found[name].as<std::string>() : std::string{};
}

[[nodiscard]] settings settings_of(options::variables_map const& found) {
    settings s{.read = text(found, "read"),
               .write = text(found, "write"),
               .config = {.ku = text(found, "config"), .node = text(found, "node"), .kubernetes = {}},
               .report = text(found, "report"),
               .seed = std::nullopt};
    for (auto const name : {"read", "write"}) {
        if (text(found, name).empty()) throw usage_error{std::string{"option '--"} + name + "' is missing"};
    }
    if (found.contains("kubernetes")) s.config.kubernetes = found["kubernetes"].as<std::vector<std::string>>();
    if (found.contains("seed")) s.seed = found["seed"].as<std::uint64_t>();
    if (found.contains("stats")) s.stats = settings::table::printed;
    s.track_direct = found.contains("track-direct");
    if (found.contains("offloads")) s.point = examples::capture_point::sending_host;
    std::error_code no_such_file;
    if (std::filesystem::is_regular_file(s.write, no_such_file) &&
        std::filesystem::equivalent(s.read, s.write, no_such_file)) {
        throw usage_error{s.write + ": would be overwritten while it is read"};
    }
    return s;
}

[[nodiscard]] std::unique_ptr<std::ofstream> open_report(std::string const& file) {
    if (file.empty()) return nullptr;
    auto report = std::make_unique<std::ofstream>(file);
    if (!*report) throw capture_error{file, std::string{"cannot open: "} + std::strerror(errno)};
    return report;
}

void require_known_link(capture_reader const& in) {
    auto const link = in.data_link();
    if (examples::link_layer_of(link)) return;
    char const* const name = pcap_datalink_val_to_name(link);
    throw capture_error{in.file(),
                        "link type " + (name != nullptr ? std::string{name} : std::to_string(link)) +
                            " is not supported; convert the capture to Ethernet first: editcap -F pcap -T ether"};
}

enum exit_status { all_well = 0, bad_capture = 1, bad_usage = 2 };

[[nodiscard]] exit_status translate(settings const& s) {
    translator nat{s.config, s.seed, s.track_direct};
    capture_reader in{s.read};
    require_known_link(in);
    capture_writer out{s.write, nat.written_data_link(in.data_link()), in.precision()};
    auto const report = open_report(s.report);
    auto& screen = s.write == "-" ? std::cerr : std::cout;
    screen << nat.answers();
    for (auto const& line : nat.refused_objects()) std::cerr << "pcap_nat: " << line << '\n';

    nat_run run{nat, in, out, report.get(), s.point};
    while (auto const packet = in.next()) run.take(*packet);
    run.flush();
    out.finish();
    if (report && !report->flush()) throw capture_error{s.report, "cannot write"};

    if (s.stats == settings::table::printed) {
        examples::print_verdicts(screen, nat.verdicts(), run.not_ip());
        examples::print_services(screen, nat.services());
    }
    if (in.damage().empty()) return all_well;
    if (in.has_several_interfaces())
        throw capture_error{in.file(), "after packet " + std::to_string(run.packets()) + ": " + in.damage() +
                                           "; convert the capture to one link type first: editcap -F pcap -T ether"};
    std::cerr << "pcap_nat: " << in.file() << ": damaged behind packet " << run.packets() << ": " << in.damage()
              << '\n';
    return bad_capture;
}

} // namespace

int main(int argc, char** argv) {
    try {
        auto const all = described();
        auto const found = parsed(argc, argv, all);
        if (found.contains("help")) {
            std::cout << all;
            return all_well;
        }
        return translate(settings_of(found));
    } catch (usage_error const& wrong) {
        std::cerr << "pcap_nat: " << wrong.what() << '\n';
        return bad_usage;
    } catch (std::exception const& wrong) {
        std::cerr << "pcap_nat: " << wrong.what() << '\n';
        return bad_capture;
    }
}
