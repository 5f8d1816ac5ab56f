#pragma once

// The version, said once (semver.org 2.0.0): CMakeLists.txt reads these three lines.
#define KUBEPROXY_VERSION_MAJOR 0
#define KUBEPROXY_VERSION_MINOR 2
#define KUBEPROXY_VERSION_PATCH 0

namespace kubeproxy::inline v0_2 {

inline constexpr unsigned version_major = KUBEPROXY_VERSION_MAJOR;
inline constexpr unsigned version_minor = KUBEPROXY_VERSION_MINOR;
inline constexpr unsigned version_patch = KUBEPROXY_VERSION_PATCH;

} // namespace kubeproxy::inline v0_2
