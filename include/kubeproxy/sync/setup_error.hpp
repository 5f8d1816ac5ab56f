#pragma once

#include "kubeproxy/version.hpp"

#include <cstdio>
#include <exception>

namespace kubeproxy {
inline namespace v0_2 {

/// What set-up does when it cannot go on: throws `error`. A program that is compiled without exceptions instead writes
/// the error's text to stderr and ends (std::terminate). What can be asked before says so: can_build_ring(),
/// service_source::has_room(), a Memory policy of the host's. No packet comes here.
template <class Error>
[[noreturn]] void fail_setup(Error const& error) {
#if defined(__cpp_exceptions)
    throw error;
#else
    static_cast<void>(std::fprintf(stderr, "kubeproxy: %s\n", error.what()));
    std::terminate();
#endif
}

} // namespace v0_2
} // namespace kubeproxy
