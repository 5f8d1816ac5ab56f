#pragma once

#include "kubeproxy/control/compile/compiler.hpp"
#include "kubeproxy/control/compile/drain_deadlines.hpp"
#include "kubeproxy/control/compile/publisher.hpp"
#include "kubeproxy/control/config/valid_configuration.hpp"
#include "kubeproxy/control/ku/edit.hpp"
#include "kubeproxy/control/ku/grammar.hpp"
#include "kubeproxy/control/ku/query.hpp"
#include "kubeproxy/control/show/config_text.hpp"
#include "kubeproxy/control/show/flows.hpp"
#include "kubeproxy/control/show/json.hpp"
#include "kubeproxy/control/show/services.hpp"
#include "kubeproxy/control/show/text.hpp"
#include "kubeproxy/service/publication.hpp"

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

/// What the data path of the host has to say. A command that asks for one that is not set is refused.
struct controller_hooks {
    std::function<std::vector<flow_view>()> flows = {};       ///< show flows
    std::function<std::vector<affinity_view>()> clients = {}; ///< show affinity
    std::function<std::vector<counter_view>()> counters = {}; ///< show counters
    std::function<void()> flush = {};                         ///< test ku flowtable flush
    /// ku save: writes the file, which other content had before or has after, but no mixture; says what it wrote,
    /// or throws ku_error.
    std::function<std::string(std::string const& file, std::string_view text)> save_config = {};
    std::function<std::string(std::string const& file)> save_flows = {};
};

struct controller_options {
    std::uint64_t seed = compiler::default_seed; ///< the same on every node that must choose the same backends
    controller_hooks hooks = {};
};

/// What snapshots took to compile and publish.
struct publication_times {
    std::uint64_t count = 0;
    std::chrono::nanoseconds last{};
    std::chrono::nanoseconds sum{};
};

struct command_error {
    std::size_t line = 1; ///< from 1
    std::string reason;
};

/// What commands answered, or the one that was refused.
struct [[nodiscard]] command_result {
    std::string text; ///< of the `show` lines
    std::optional<command_error> error;

    [[nodiscard]] bool ok() const noexcept { return !error; }
};

/// Configuration in, snapshots out: keeps the configuration, compiles what changes and publishes it.
/// One thread at a time; workers go on meanwhile.
class controller {
  public:
    explicit controller(service_source& source, controller_options options = {})
        : source_{&source}, compiler_{options.seed}, publisher_{source}, hooks_{std::move(options.hooks)} {}

    /// Does the lines of a text in the `ku` language: all of them, or none if one is bad. What they change is
    /// published once; `show`, `save` and `test` lines come after that, in their order. A file that cannot be written
    /// would come too late for that, so `save` does not stand beside changes.
    command_result apply(std::string_view text);
    /// The same for one line.
    command_result execute(std::string_view line) { return apply(line); }

    /// For changes that no `ku` line makes: change it, then publish().
    [[nodiscard]] valid_configuration& configuration() noexcept { return configuration_; }
    [[nodiscard]] valid_configuration const& configuration() const noexcept { return configuration_; }
    /// Compiles the configuration and shows it to the workers.
    void publish() { publish(configuration_); }
    /// Does what is due at this time of the host's clock: ends the flows of endpoints that have been terminating for
    /// the node's drain time. For hosts that set one, about once a second; times are as exact as that.
    /// \param now does not go back \return whether something was published
    bool tick(std::chrono::nanoseconds now);

    /// What workers see; null: nothing was published.
    [[nodiscard]] snapshot const* current() const noexcept { return publisher_.current(); }
    [[nodiscard]] compiler const& compiled() const noexcept { return compiler_; }
    [[nodiscard]] publication_times const& times() const noexcept { return times_; }
    [[nodiscard]] std::size_t snapshots_alive() const noexcept { return publisher_.alive(); }
    /// Frees snapshots that no worker holds any more, as publish() does; returns how many are alive.
    std::size_t collect() noexcept { return publisher_.collect(); }
    /// Services as they were published last.
    [[nodiscard]] std::vector<service_view> views() const {
        if (current() == nullptr) return {};
        return all_views(compiler_, *current(), *source_);
    }

  private:
    using query = std::variant<ku_query, ku_save, ku_flush>;
    struct numbered_query {
        std::size_t line;
        query what;
    };

    void publish(valid_configuration const& next);
    [[nodiscard]] query checked(query what) const;
    [[nodiscard]] std::string answer(ku_query const& what) const;
    [[nodiscard]] std::string answer(ku_save const& what) const;
    [[nodiscard]] std::string answer(ku_flush) const {
        hooks_.flush();
        return {};
    }
    [[nodiscard]] std::vector<service_view> views_of(std::string_view service) const;

    service_source* source_;
    valid_configuration configuration_;
    compiler compiler_;
    publisher publisher_;
    publication_times times_;
    drain_deadlines drains_;
    controller_hooks hooks_;
};

inline command_result controller::apply(std::string_view text) {
    std::optional<ku_edit> edit;
    std::vector<numbered_query> queries;
    std::size_t line = 0;
    bool saves = false;
    auto const take = [&](auto const& command) {
        using type = std::remove_cvref_t<decltype(command)>;
        saves = saves || std::same_as<type, ku_save>;
        if constexpr (requires(ku_edit & e) { e(command); }) {
            if (!edit) edit.emplace(configuration_);
            (*edit)(command);
        } else if constexpr (!std::same_as<type, std::monostate>) {
            queries.push_back({line, checked(command)});
        }
        if (saves && edit) throw ku_error{"\"ku save\" does not stand beside lines that change something"};
    };
    command_result result;
    try {
        while (!text.empty()) {
            ++line;
            auto const end = std::min(text.find('\n'), text.size());
            std::visit(take, parse_command(text.substr(0, end)));
            text.remove_prefix(std::min(end + 1, text.size()));
        }
        if (edit) {
            auto next = std::move(*edit).finish();
            publish(next);
            configuration_ = std::move(next);
        }
        for (auto const& [at, what] : queries) {
            line = at;
            result.text += std::visit([this](auto const& asked) { return answer(asked); }, what);
        }
    } catch (ku_error const& refused) {
        return {.text = {}, .error = command_error{line, refused.what()}};
    }
    return result;
}

inline void controller::publish(valid_configuration const& next) {
    auto const begin = std::chrono::steady_clock::now();
    auto services = compiler_.compile(next);
    for (auto const place : compiler_.renewed_services()) source_->clear_service_traffic(place);
    for (auto const place : compiler_.renewed_backends()) source_->clear_backend_traffic(place);
    publisher_.publish(std::move(services));
    times_.last = std::chrono::steady_clock::now() - begin;
    times_.sum += times_.last;
    ++times_.count;
}

inline bool controller::tick(std::chrono::nanoseconds now) {
    if (current() == nullptr) return false;
    auto const due = drains_.due(*current(), now, configuration_.node().drain);
    if (!due.empty()) publisher_.publish(compiler_.end_flows(due));
    return !due.empty();
}

inline controller::query controller::checked(query what) const {
    auto const* show = std::get_if<ku_query>(&what);
    auto const asks_for = [&](ku_show other) { return show != nullptr && show->what == other; };
    auto const* save = std::get_if<ku_save>(&what);
    if (save != nullptr && !(save->what == ku_save::content::config ? static_cast<bool>(hooks_.save_config)
                                                                    : static_cast<bool>(hooks_.save_flows)))
        throw ku_error{"no files are written here"};
    if ((std::holds_alternative<ku_flush>(what) && !hooks_.flush) || (asks_for(ku_show::flows) && !hooks_.flows))
        throw ku_error{"no flow table is attached"};
    if (asks_for(ku_show::affinity) && !hooks_.clients) throw ku_error{"no affinity table is attached"};
    if (asks_for(ku_show::counters) && !hooks_.counters) throw ku_error{"no counters are attached"};
    return what;
}

inline std::string controller::answer(ku_save const& what) const {
    if (what.what == ku_save::content::flows) return hooks_.save_flows(what.file);
    return hooks_.save_config(what.file, config_text(configuration_));
}

/// All ports of one service, or one of them; empty: everything.
inline std::vector<service_view> controller::views_of(std::string_view service) const {
    auto all = views();
    if (service.empty()) return all;
    std::erase_if(all, [service](service_view const& v) {
        auto const is_whole = v.name.size() == service.size() || v.name[std::min(service.size(), v.name.size())] == ':';
        return !v.name.starts_with(service) || !is_whole;
    });
    return all;
}

inline std::string controller::answer(ku_query const& what) const {
    bool const json = what.format == show_format::json;
    switch (what.what) {
    case ku_show::overview: {
        auto const& node = configuration_.node();
        return json ? overview_json(node, views()) : overview_text(node, views());
    }
    case ku_show::vips: return json ? services_json(views()) : services_text(views());
    case ku_show::vips_verbose: return json ? services_json(views()) : verbose_text(views());
    case ku_show::endpoints:
        return json ? endpoints_json(views_of(what.service)) : all_endpoints_text(views_of(what.service));
    case ku_show::flows: return json ? flows_json(hooks_.flows()) : flows_text(hooks_.flows());
    case ku_show::affinity: return json ? affinity_json(hooks_.clients()) : affinity_text(hooks_.clients());
    case ku_show::config: return json ? config_json(configuration_) : config_text(configuration_);
    case ku_show::counters: return json ? counters_json(hooks_.counters()) : counters_text(hooks_.counters());
    }
    return {};
}

} // namespace v0_2
} // namespace kubeproxy
