#pragma once

#include "kubeproxy/version.hpp"

#include <exception>

namespace kubeproxy {
inline namespace v0_2 {

/// What set-up does when it cannot go on: throws `error`, or ends the program (std::terminate) where it is compiled
/// without exceptions. What can be asked before says so: can_build_ring(), service_source::has_room(), a Memory policy
/// of the host's. No packet comes here.
template <class Error>
[[noreturn]] void fail_set_up([[maybe_unused]] Error const& error) {
#if defined(__cpp_exceptions)
    throw error;
#else
    std::terminate();
#endif
}

} // namespace v0_2
} // namespace kubeproxy
