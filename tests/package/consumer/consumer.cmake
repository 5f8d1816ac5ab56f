get_target_property(leaked kubeproxy::kubeproxy INTERFACE_COMPILE_OPTIONS)
if(leaked)
    message(FATAL_ERROR "kubeproxy::kubeproxy puts its own compile options on its consumers: ${leaked}")
endif()

add_executable(consumer ${CMAKE_CURRENT_LIST_DIR}/main.cpp ${CMAKE_CURRENT_LIST_DIR}/other.cpp)
target_compile_definitions(consumer PRIVATE EXPECTED_VERSION="${KUBEPROXY_EXPECTED_VERSION}")
target_link_libraries(consumer PRIVATE kubeproxy::kubeproxy)
