#pragma once

#include "support/configuration.hpp"
#include "support/startup_error.hpp"

#include "kubeproxy/flow/new_flow.hpp"

#include <boost/program_options.hpp>

#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iostream>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

/// The command line of a program: the options that several programs have, and one way to read them all.
namespace examples {

/// What a program returns to the shell.
enum exit_status { success = 0, failure = 1, wrong_usage = 2 };

/// Decimal digits only: no sign, no space.
template <std::unsigned_integral T>
[[nodiscard]] std::optional<T> read_number(std::string_view text) noexcept {
    T value = 0;
    auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

/// A --kubernetes option as the help text shows it.
struct kubernetes_option {
    char const* value_name = "FILE.json";
    char const* description =
        "Services and EndpointSlices as kubectl get -o json prints them, or watches them; may be given again";
};

/// Adds the options that command_line::files() reads.
inline void add_configuration_options(boost::program_options::options_description& all,
                                      kubernetes_option const& kubernetes = {}) {
    namespace options = boost::program_options;
    auto add = all.add_options();
    add("config", options::value<std::string>()->value_name("FILE.ku"), "services and pods in the ku language");
    add("kubernetes", options::value<std::vector<std::string>>()->value_name(kubernetes.value_name),
        kubernetes.description);
    add("node", options::value<std::string>()->value_name("FILE.json"),
        "which node this is: its name, zone, addresses, podCIDRs, ...");
}

/// Adds the option that command_line::flows() reads.
inline void add_flows_option(boost::program_options::options_description& all) {
    all.add_options()("flows", boost::program_options::value<std::string>()->value_name("N"),
                      "room for N connections of IPv4 and N of IPv6 (default 1048576)");
}

/// The options that were given, and their values.
///
/// Options that take a number are declared as strings: Boost.Program_options would read -1 as the largest number.
class command_line {
  public:
    /// Option names cannot be abbreviated, so that a new option never changes the meaning of a script.
    /// \param argv without an option in its first element
    /// \throws startup_error
    command_line(int argc, char const* const* argv, boost::program_options::options_description const& all) {
        namespace options = boost::program_options;
        using namespace options::command_line_style;
        try {
            options::command_line_parser parser{argc, argv};
            options::store(parser.options(all).positional({}).style(unix_style & ~allow_guessing).run(), found_);
        } catch (options::error const& wrong) {
            throw startup_error{wrong.what()};
        }
    }

    [[nodiscard]] bool has(std::string const& option) const { return found_.contains(option); }

    /// \pre the option is declared with values of type T
    template <class T>
    [[nodiscard]] T value_or(std::string const& option, T otherwise) const {
        return has(option) ? found_[option].as<T>() : otherwise;
    }
    /// Empty if the option is not given.
    [[nodiscard]] std::string text(std::string const& option) const { return value_or<std::string>(option, {}); }
    /// The values of an option that may be given again.
    [[nodiscard]] std::vector<std::string> texts(std::string const& option) const {
        return value_or<std::vector<std::string>>(option, {});
    }

    /// \pre the option is declared as a string \throws startup_error
    template <std::unsigned_integral T>
    [[nodiscard]] T number(std::string const& option, T otherwise, T min, T max) const {
        if (!has(option)) return otherwise;
        auto const given = text(option);
        auto const value = read_number<T>(given);
        if (!value || *value < min || *value > max)
            throw startup_error{"--" + option + ' ' + given + ": a number from " + std::to_string(min) + " to " +
                                std::to_string(max) + " is wanted"};
        return *value;
    }

    [[nodiscard]] configuration_files files() const {
        return {.ku = text("config"), .node = text("node"), .kubernetes = texts("kubernetes")};
    }
    /// The size of the flow table for each IP version.
    [[nodiscard]] std::uint32_t flows() const {
        return number("flows", 1u << 20, 64u, kubeproxy::flow_table_size::max);
    }
    /// What makes a run repeatable.
    [[nodiscard]] std::optional<std::uint64_t> seed() const {
        if (!has("seed")) return std::nullopt;
        return number("seed", std::uint64_t{0}, std::uint64_t{0}, std::numeric_limits<std::uint64_t>::max());
    }

  private:
    boost::program_options::variables_map found_;
};

/// Runs a program and reports an exception in one line on standard error.
/// \param run returns the exit status
template <class Run>
[[nodiscard]] int run_program(std::string_view name, Run run) {
    auto const report = [name](std::exception const& wrong, exit_status status) {
        std::cerr << name << ": " << wrong.what() << '\n';
        return status;
    };
    try {
        return run();
    } catch (startup_error const& wrong) {
        return report(wrong, wrong_usage);
    } catch (file_error const& wrong) {
        return report(wrong, wrong_usage);
    } catch (std::exception const& wrong) {
        return report(wrong, failure);
    }
}

} // namespace examples
