#pragma once

#include "kubeproxy/control/ku/words.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace examples {

/// Files that are there whole, as they were before or as they are now.

/// Writes beside the file and puts that in its place, readable by its owner alone. \throws kubeproxy::ku_error
inline void write_whole_file(std::string const& file, std::span<std::byte const> content) {
    auto const beside = file + ".new";
    auto const demand = [&](bool is_well) {
        if (is_well) return;
        auto const why = std::string{std::strerror(errno)};
        ::unlink(beside.c_str());
        throw kubeproxy::ku_error{"cannot write " + file + ": " + why};
    };
    ::unlink(beside.c_str()); // of a process that died
    int const number = ::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    demand(number >= 0);
    bool is_written = true;
    while (is_written && !content.empty()) {
        auto const size = ::write(number, content.data(), content.size());
        if (size < 0 && errno == EINTR) continue;
        is_written = size >= 0;
        if (is_written) content = content.subspan(static_cast<std::size_t>(size));
    }
    is_written = is_written && ::fsync(number) == 0;
    is_written = ::close(number) == 0 && is_written;
    demand(is_written && ::rename(beside.c_str(), file.c_str()) == 0);
}
inline void write_whole_file(std::string const& file, std::string_view text) {
    write_whole_file(file, std::as_bytes(std::span{text}));
}

/// \throws kubeproxy::ku_error
[[nodiscard]] inline std::vector<std::byte> read_whole_file(std::string const& file) {
    errno = 0;
    std::ifstream input{file, std::ios::binary};
    std::vector<std::byte> content;
    std::vector<char> part(1u << 20);
    while (input.read(part.data(), static_cast<std::streamsize>(part.size())), input.gcount() > 0) {
        auto const bytes = std::as_bytes(std::span{part}.first(static_cast<std::size_t>(input.gcount())));
        content.insert(content.end(), bytes.begin(), bytes.end());
    }
    if (!input.eof()) throw kubeproxy::ku_error{std::strerror(errno != 0 ? errno : EIO)};
    return content;
}

} // namespace examples
