#pragma once

#include "kubeproxy/handover/image.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>

namespace kubeproxy {
inline namespace v0_2 {

/// Why a file is refused, to be read behind its name: "is truncated".
struct flow_file_error {
    std::string reason{};
};

namespace detail {

/// What is wrong with the frame around the records; empty: nothing.
[[nodiscard]] inline std::string frame_flaw_of(byte_span file) {
    flow_file_reader start{file};
    auto const magic = start.text(std::min(file.size(), flow_file::magic.size()));
    if (magic.empty() || !flow_file::magic.starts_with(magic)) return "is no file of flows";
    auto const version = start.number<std::uint16_t>();
    if (!start.is_overrun() && (version < flow_file::oldest_version || version > flow_file::version))
        return "is of version " + std::to_string(version) + ", and this program reads versions " +
               std::to_string(flow_file::oldest_version) + " to " + std::to_string(flow_file::version);
    if (file.size() < flow_file::header + flow_file::checksum) return "is truncated";
    auto const size = load_be<std::uint64_t>(file, 24);
    if (file.size() < size) return "is truncated";
    if (file.size() > size) return "has bytes behind its end";
    auto const covered = file.first(file.size() - flow_file::checksum);
    return load_crc32c(file, covered.size()) == crc32c(covered) ? "" : "is damaged: its checksum is wrong";
}

} // namespace detail

/// What a file of flow_file_of() says: all of it, or why it is refused whole. Any bytes may be given.
[[nodiscard]] inline std::variant<flow_images, flow_file_error> read_flow_file(byte_span file) {
    using detail::flow_file;
    if (auto flaw = detail::frame_flaw_of(file); !flaw.empty()) return flow_file_error{std::move(flaw)};
    std::size_t const services = load_be<std::uint32_t>(file, 12);
    auto const flows = load_be<std::uint64_t>(file, 16);
    auto const version = load_be<std::uint16_t>(file, 8);
    detail::flow_file_reader in{file.first(file.size() - flow_file::checksum).subspan(flow_file::header)};
    if (load_be<std::uint16_t>(file, 10) != 0 || services > in.left() / sizeof(std::uint16_t) ||
        flows > in.left() / flow_file::smallest_flow)
        return flow_file_error{"is damaged: its header does not fit it"};
    flow_images images;
    images.services.reserve(services);
    for (std::size_t i = 0; i < services; ++i) images.services.push_back(in.text(in.number<std::uint16_t>()));
    images.flows.reserve(flows);
    for (std::uint64_t i = 0; i < flows; ++i) {
        auto flow = in.flow();
        if (flow && version == 1) flow->state = detail::state_of_version_1(static_cast<std::uint8_t>(flow->state));
        auto const flaw = flow ? detail::flaw_of(*flow, services) : "has unknown flags";
        if (!flaw.empty() && !in.is_overrun())
            return flow_file_error{"is damaged: flow " + std::to_string(i + 1) + ' ' + std::string{flaw}};
        if (flow) images.flows.push_back(*flow);
    }
    if (in.is_overrun() || in.left() != 0) return flow_file_error{"is damaged: its records do not fill it"};
    return images;
}

} // namespace v0_2
} // namespace kubeproxy
