include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(package_folder "${CMAKE_INSTALL_LIBDIR}/cmake/replica_router")

if(CMAKE_VERSION VERSION_LESS 3.23)
  install(TARGETS replica_router EXPORT replica_router-targets)
  install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
else()
  install(TARGETS replica_router EXPORT replica_router-targets FILE_SET HEADERS)
endif()
install(EXPORT replica_router-targets NAMESPACE replica_router:: DESTINATION "${package_folder}")

configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/replica_router-config.cmake.in" replica_router-config.cmake
  INSTALL_DESTINATION "${package_folder}")
# While the major version is 0, every minor version may change the interface.
write_basic_package_version_file(replica_router-config-version.cmake COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES
    "${CMAKE_CURRENT_BINARY_DIR}/replica_router-config.cmake"
    "${CMAKE_CURRENT_BINARY_DIR}/replica_router-config-version.cmake"
    "${PROJECT_SOURCE_DIR}/cmake/find_libpqxx.cmake"
  DESTINATION "${package_folder}")
