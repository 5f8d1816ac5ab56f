#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <string>

/// The folder of facts that tests hold the library against, where there is one.
namespace kubeproxy::conformance {

/// KUBEPROXY_CONFORMANCE, or the folder beside the project.
inline std::optional<std::filesystem::path> folder() {
    auto const* const named = std::getenv("KUBEPROXY_CONFORMANCE");
    std::filesystem::path const path =
        named != nullptr ? named : std::filesystem::path{KUBEPROXY_SOURCE_DIR} / ".." / "shared" / "conformance";
    if (!std::filesystem::is_directory(path)) return std::nullopt;
    return path;
}

/// Why a test that needs the folder is skipped.
inline constexpr char const* absent = "the conformance data is not here: name its folder in KUBEPROXY_CONFORMANCE";

inline std::string contents(std::filesystem::path const& file) {
    std::ifstream in{file, std::ios::binary};
    if (!in) throw std::runtime_error{"cannot read " + file.string()};
    return {std::istreambuf_iterator<char>{in}, {}};
}

} // namespace kubeproxy::conformance
