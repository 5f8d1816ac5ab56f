# The captures of the conformance folder through pcap_nat and dpdk_forwarder, a test per scenario and program. The folder
# is looked up when ctest runs, so that KUBEPROXY_CONFORMANCE may change without configuring anew.

find_program(KUBEPROXY_PYTHON python3 PATHS /usr/bin NO_DEFAULT_PATH) # the one that sees Debian's python3-scapy
find_program(KUBEPROXY_PYTHON python3 REQUIRED)
mark_as_advanced(KUBEPROXY_PYTHON)

set(tool "")
if(TARGET pcap_nat)
    set(tool $<TARGET_FILE:pcap_nat>)
endif()
set(dpdk_tool "")
if(TARGET dpdk_forwarder)
    set(dpdk_tool
        "'${KUBEPROXY_PYTHON}' -B '${CMAKE_CURRENT_SOURCE_DIR}/support/dpdk_on_captures.py' '$<TARGET_FILE:dpdk_forwarder>'")
endif()
file(CONFIGURE OUTPUT scenarios.cmake.in @ONLY CONTENT [[
set(tool "@tool@")
set(dpdk_tool "@dpdk_tool@")
set(folder "$ENV{KUBEPROXY_CONFORMANCE}")
if(NOT folder)
    set(folder "@PROJECT_SOURCE_DIR@/../shared/conformance")
endif()
file(GLOB checks "${folder}/scenarios/*/check.py")
if(NOT tool OR NOT checks)
    if(NOT tool)
        set(why "pcap_nat is not built")
    else()
        set(why "${folder}/scenarios holds no scenario")
    endif()
    add_test(scenarios sh -c "echo 'SKIP: ${why}'; exit 77")
    set_tests_properties(scenarios PROPERTIES SKIP_RETURN_CODE 77)
endif()
foreach(check IN LISTS checks)
    get_filename_component(directory "${check}" DIRECTORY)
    get_filename_component(name "${directory}" NAME)
    if(tool)
        add_test("scenario.${name}" "@KUBEPROXY_PYTHON@" -B "${folder}/scenarios/run_scenarios.py" --tool "'${tool}'" "${name}")
        set_tests_properties("scenario.${name}" PROPERTIES LABELS scenario TIMEOUT 300)
    endif()
    if(dpdk_tool)
        add_test("scenario.dpdk.${name}" "@KUBEPROXY_PYTHON@" -B "${folder}/scenarios/run_scenarios.py" --tool "${dpdk_tool}" "${name}")
        set_tests_properties("scenario.dpdk.${name}" PROPERTIES LABELS scenario TIMEOUT 300)
    endif()
endforeach()
]])
file(GENERATE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/scenarios.cmake INPUT ${CMAKE_CURRENT_BINARY_DIR}/scenarios.cmake.in)
set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES ${CMAKE_CURRENT_BINARY_DIR}/scenarios.cmake)

if(TARGET pcap_nat)
    foreach(test IN ITEMS pcap_nat pcap_nat_captures kube_proxy_pcap_nat pcap_nat_kubectl)
        add_test(NAME ${test} COMMAND ${KUBEPROXY_PYTHON} -B ${CMAKE_CURRENT_SOURCE_DIR}/paths/${test}_test.py
                                      $<TARGET_FILE:pcap_nat>)
        set_tests_properties(${test} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)
    endforeach()
endif()

if(TARGET xdp_forwarder AND NOT KUBEPROXY_SANITIZE)
    add_test(NAME xdp_forwarder COMMAND ${KUBEPROXY_PYTHON} -B ${CMAKE_CURRENT_SOURCE_DIR}/paths/xdp_forwarder_test.py
                                        $<TARGET_FILE:xdp_forwarder>)
    set_tests_properties(xdp_forwarder PROPERTIES LABELS e2e SKIP_RETURN_CODE 77 TIMEOUT 300 RUN_SERIAL ON)
endif()

if(TARGET dpdk_forwarder AND NOT KUBEPROXY_SANITIZE)
    add_test(NAME dpdk_forwarder COMMAND ${KUBEPROXY_PYTHON} -B ${CMAKE_CURRENT_SOURCE_DIR}/paths/dpdk_forwarder_test.py
                                         $<TARGET_FILE:dpdk_forwarder>)
    set_tests_properties(dpdk_forwarder PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)
endif()
