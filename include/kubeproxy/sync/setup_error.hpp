#pragma once

#include "kubeproxy/version.hpp"

#include <cstdio>
#include <exception>

namespace kubeproxy {
inline namespace v0_2 {

/// Reports that an object cannot be constructed: throws `error`. In a program that is compiled without exceptions it
/// writes the error's text to stderr and calls std::terminate(). Such programs can check some conditions before:
/// can_build_ring(), service_source::has_room(). It is never called on the packet path.
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
