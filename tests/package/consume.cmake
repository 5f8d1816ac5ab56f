# cmake -D WAY=find_package|add_subdirectory|fetch_content|pkg_config … -P consume.cmake: builds and runs the project of that name beside this
# file as a stranger would, with nothing from the network.

set(options -D CMAKE_CXX_COMPILER=${COMPILER} -D CMAKE_BUILD_TYPE=Debug -D KUBEPROXY_EXPECTED_VERSION=${VERSION})
if(WAY MATCHES "^(find_package|pkg_config)$") # from an installation
    file(REMOVE_RECURSE ${WORK}/prefix)
    execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/prefix
                    OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
    list(APPEND options -D CMAKE_PREFIX_PATH=${WORK}/prefix)
else()
    list(APPEND options -D KUBEPROXY_SOURCE=${SOURCE})
endif()
execute_process(COMMAND ${CMAKE_COMMAND} -G ${GENERATOR} -S ${CMAKE_CURRENT_LIST_DIR}/${WAY} -B ${WORK}/build ${options}
                COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} --build ${WORK}/build COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${WORK}/build/consumer COMMAND_ERROR_IS_FATAL ANY)
