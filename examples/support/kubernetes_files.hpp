#pragma once

#include "kubeproxy/control/kubernetes/reader.hpp"

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

/// The files in which a cluster's objects are, for a controller.
namespace examples {

/// A file that cannot be read, or that holds nothing that can be taken.
class file_error : public std::runtime_error {
  public:
    file_error(std::string const& file, std::string const& why) : std::runtime_error{file + ": " + why} {}
};

[[nodiscard]] inline std::ifstream open_text(std::string const& file) {
    std::ifstream input{file, std::ios::binary};
    input.peek(); // a folder can be opened; it fails here
    if (!input.is_open() || input.bad()) throw file_error{file, std::string{"cannot read: "} + std::strerror(errno)};
    return input;
}

/// Which node the controller's is.
inline void load_node(kubeproxy::controller& control, std::string const& file) {
    auto input = open_text(file);
    std::string const text{std::istreambuf_iterator<char>{input}, {}};
    auto& configuration = control.configuration();
    auto node = configuration.node();
    auto wrong = read_node(node, text);
    if (!wrong) wrong = configuration.set_node(std::move(node));
    if (wrong) throw file_error{file, wrong->text()};
}

/// Whether the Node object of a file should get new connections; see is_node_eligible().
[[nodiscard]] inline bool is_eligible_node(std::string const& file) {
    auto input = open_text(file);
    std::string const text{std::istreambuf_iterator<char>{input}, {}};
    try {
        boost::json::error_code wrong;
        auto const value = boost::json::parse(text, wrong);
        if (wrong) throw file_error{file, "is no JSON: " + wrong.message()};
        return kubeproxy::is_node_eligible(kubeproxy::object_in(value));
    } catch (kubeproxy::field_error const& refused) {
        throw file_error{file, refused.field() + ": " + refused.what()};
    }
}

/// Services and endpoint slices of all files, published together. \return a line for each that was refused
[[nodiscard]] inline std::vector<std::string> load_objects(kubeproxy::controller& control,
                                                           std::span<std::string const> files) {
    kubeproxy::kubernetes_reader reader{control};
    std::vector<std::string> lines;
    std::array<char, 65536> buffer{};
    for (auto const& file : files) {
        auto input = open_text(file);
        while (input.read(buffer.data(), buffer.size()), input.gcount() > 0)
            reader.read({buffer.data(), static_cast<std::size_t>(input.gcount())});
        reader.finish();
        for (auto const& refused : reader.take_refusals()) lines.push_back(file + ": " + refused.text());
    }
    for (auto const& refused : reader.flush()) lines.push_back(files.back() + ": " + refused.text());
    return lines;
}

} // namespace examples
