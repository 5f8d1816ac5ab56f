#pragma once

#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>

namespace examples {

/// A line on standard error that counts packets, when that is a terminal and the work takes more than a second.
class progress {
  public:
    progress() = default;
    progress(progress const&) = delete;
    progress& operator=(progress const&) = delete;
    ~progress() {
        if (is_shown_) std::fputs("\r\033[K", stderr);
    }

    void show(std::uint64_t packets) {
        if (!is_terminal_) return;
        auto const now = clock::now();
        if (now < next_) return;
        next_ = now + std::chrono::milliseconds{200};
        is_shown_ = true;
        std::fprintf(stderr, "\r%llu packets", static_cast<unsigned long long>(packets));
    }

  private:
    using clock = std::chrono::steady_clock;
    bool const is_terminal_ = isatty(STDERR_FILENO) != 0;
    bool is_shown_ = false;
    clock::time_point next_ = clock::now() + std::chrono::seconds{1};
};

} // namespace examples
