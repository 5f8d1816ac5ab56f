#pragma once

#include "kubeproxy/version.hpp"
#include "tap_forwarder/operations/metrics_text.hpp"

#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

namespace examples {

/// The process as Prometheus' client libraries tell of it.
inline void write_process_metrics(metrics_text& out, std::chrono::system_clock::time_point start) {
    using enum metrics_text::kind;
    std::ifstream statm{"/proc/self/statm"};
    std::uint64_t size = 0, resident = 0;
    statm >> size >> resident;
    auto const page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    timespec used{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    std::error_code ignored;
    std::uint64_t descriptors = 0;
    for (std::filesystem::directory_iterator one{"/proc/self/fd", ignored}, end; one != end; one.increment(ignored))
        ++descriptors;
    auto const version = std::to_string(kubeproxy::version_major) + '.' + std::to_string(kubeproxy::version_minor) +
                         '.' + std::to_string(kubeproxy::version_patch);
    out.family("kubeproxy_build_info", gauge, "Version of the library.");
    out.sample({{"version", version}}, std::uint64_t{1});
    out.single("process_cpu_seconds_total", counter, "Processor time used, by system and user.",
               static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9);
    out.single("process_resident_memory_bytes", gauge, "Resident memory.", resident * page);
    out.single("process_virtual_memory_bytes", gauge, "Virtual memory.", size * page);
    out.single("process_open_fds", gauge, "Open file descriptors.", descriptors);
    out.single("process_start_time_seconds", gauge, "When the process began, since the epoch.",
               std::chrono::duration<double>(start.time_since_epoch()).count());
}

} // namespace examples
