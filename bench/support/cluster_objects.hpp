#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// Objects of a large cluster as the API server writes them, without managedFields.
namespace kubeproxy::bench {

/// 10.<block>.0.0 and what follows it.
inline std::string address_in(unsigned block, std::size_t n) {
    return "10." + std::to_string(block + n / 65536) + '.' + std::to_string(n / 256 % 256) + '.' +
           std::to_string(n % 256);
}

inline std::string service_name(std::size_t service) { return "app-" + std::to_string(service); }

inline std::string service_object(std::size_t service) {
    auto const name = service_name(service);
    auto const ip = address_in(16, service);
    return R"({"apiVersion":"v1","kind":"Service","metadata":{"creationTimestamp":"2024-05-01T10:00:00Z",)"
           R"("labels":{"app":")" +
           name + R"("},"name":")" + name +
           R"(","namespace":"production","resourceVersion":"1234567","uid":"0b9a7a52-7d5e-4f5d-9b1c-1f6d1f2f3a4b"},)"
           R"("spec":{"clusterIP":")" +
           ip + R"(","clusterIPs":[")" + ip +
           R"("],"internalTrafficPolicy":"Cluster","ipFamilies":["IPv4"],"ipFamilyPolicy":"SingleStack",)"
           R"("ports":[{"name":"http","port":80,"protocol":"TCP","targetPort":8080}],"selector":{"app":")" +
           name + R"("},"sessionAffinity":"None","type":"ClusterIP"},"status":{"loadBalancer":{}}})";
}

/// One of the slices that hold a service's pods.
struct slice {
    std::size_t service = 0;
    std::size_t part = 0;
    std::vector<std::size_t> pods{};
    std::optional<std::size_t> not_ready{}; ///< one of them
};

inline std::string endpoint_object(slice const& s, std::size_t pod) {
    auto const* const ready = s.not_ready == pod ? "false" : "true";
    return R"({"addresses":[")" + address_in(128, pod) + R"("],"conditions":{"ready":)" + ready + R"(,"serving":)" +
           ready + R"(,"terminating":false},"nodeName":"node-)" + std::to_string(pod % 500) +
           R"(","targetRef":{"kind":"Pod","name":")" + service_name(s.service) + "-5d9c7b6f4-" + std::to_string(pod) +
           R"(","namespace":"production","uid":"5f7c8f8e-6c55-4c4e-8f4c-7a9b1c2d3e4f"},"zone":"zone-a"})";
}

inline std::string slice_object(slice const& s) {
    auto const name = service_name(s.service);
    std::string endpoints;
    for (auto const pod : s.pods) endpoints += (endpoints.empty() ? "" : ",") + endpoint_object(s, pod);
    return R"({"addressType":"IPv4","apiVersion":"discovery.k8s.io/v1","endpoints":[)" + endpoints +
           R"(],"kind":"EndpointSlice","metadata":{"creationTimestamp":"2024-05-01T10:00:01Z","generateName":")" +
           name + R"(-","labels":{"app":")" + name +
           R"(","endpointslice.kubernetes.io/managed-by":"endpointslice-controller.k8s.io",)"
           R"("kubernetes.io/service-name":")" +
           name + R"("},"name":")" + name + "-x7k" + std::to_string(s.part) +
           R"(2","namespace":"production","ownerReferences":[{"apiVersion":"v1","blockOwnerDeletion":true,)"
           R"("controller":true,"kind":"Service","name":")" +
           name + R"(","uid":"0b9a7a52-7d5e-4f5d-9b1c-1f6d1f2f3a4b"}],"resourceVersion":"2345678",)" +
           R"("uid":"c2a1e0d4-3b5f-4a6e-8d7c-9b8a7f6e5d4c"},"ports":[{"name":"http","port":8080,"protocol":"TCP"}]})";
}

/// The API server's controller puts at most 100 endpoints into a slice.
constexpr std::size_t max_in_slice = 100;

/// \param first_pod of the service
inline slice slice_of(std::size_t service, std::size_t first_pod, std::size_t pods, std::size_t part = 0) {
    slice s{.service = service, .part = part};
    auto const end = std::min(pods, (part + 1) * max_in_slice);
    for (auto i = part * max_in_slice; i < end; ++i) s.pods.push_back(first_pod + i);
    return s;
}

inline std::string event(std::string_view type, std::string const& object) {
    return R"({"type":")" + std::string{type} + R"(","object":)" + object + "}\n";
}

} // namespace kubeproxy::bench
