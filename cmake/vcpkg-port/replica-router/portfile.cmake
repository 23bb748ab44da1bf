# Builds from the checkout that this port lies in.
cmake_path(GET CURRENT_PORT_DIR PARENT_PATH checkout)
cmake_path(GET checkout PARENT_PATH checkout)
cmake_path(GET checkout PARENT_PATH checkout)

set(VCPKG_BUILD_TYPE release) # headers only: there is nothing to debug

vcpkg_cmake_configure(
  SOURCE_PATH "${checkout}"
  OPTIONS
    -DREPLICA_ROUTER_BUILD_TESTS=OFF
    -DREPLICA_ROUTER_BUILD_EXAMPLES=OFF
    -DREPLICA_ROUTER_INSTALL=ON
    -DFETCHCONTENT_FULLY_DISCONNECTED=ON)
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(PACKAGE_NAME replica_router CONFIG_PATH lib/cmake/replica_router)
file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/lib")

file(INSTALL "${CURRENT_PORT_DIR}/usage" DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}")
vcpkg_install_copyright(FILE_LIST "${checkout}/LICENSE")
