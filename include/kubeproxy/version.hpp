#pragma once

// Every header includes this one, directly or through others, before anything else. #error alone does not end a
// compiler's work, which would go on to thousands of errors; a file that does not exist does.
#if __cplusplus < 202002L
#error kubeproxy needs C++20 or newer: compile with -std=c++20
#include <kubeproxy needs C++20 or newer>
#endif

// The version, said once (semver.org 2.0.0): CMakeLists.txt reads these three lines.
#define KUBEPROXY_VERSION_MAJOR 0
#define KUBEPROXY_VERSION_MINOR 2
#define KUBEPROXY_VERSION_PATCH 0

namespace kubeproxy {
inline namespace v0_2 {

inline constexpr unsigned version_major = KUBEPROXY_VERSION_MAJOR;
inline constexpr unsigned version_minor = KUBEPROXY_VERSION_MINOR;
inline constexpr unsigned version_patch = KUBEPROXY_VERSION_PATCH;

} // namespace v0_2
} // namespace kubeproxy
