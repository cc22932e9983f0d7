# Installs the headers, the CMake package (components io, stylegan2 and cuda), the pkg-config files and the licence.
include(CMakePackageConfigHelpers)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/moden DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN "*.hpp" PATTERN "*.ipp" PATTERN "*.cuh")
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

# One export set per component, so that a component's dependencies are looked for only when it is asked for.
set(MODEN_PACKAGE_DIR ${CMAKE_INSTALL_DATADIR}/cmake/moden)
install(TARGETS moden EXPORT moden-targets)
install(TARGETS moden_io EXPORT moden-io-targets)
install(TARGETS moden_stylegan2 EXPORT moden-stylegan2-targets)
install(TARGETS moden_cuda EXPORT moden-cuda-targets)
foreach(set moden-targets moden-io-targets moden-stylegan2-targets moden-cuda-targets)
  install(EXPORT ${set} NAMESPACE moden:: DESTINATION ${MODEN_PACKAGE_DIR})
endforeach()

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/moden-config.cmake.in moden-config.cmake
  INSTALL_DESTINATION ${MODEN_PACKAGE_DIR})
write_basic_package_version_file(moden-config-version.cmake COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES
  ${CMAKE_CURRENT_BINARY_DIR}/moden-config.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/moden-config-version.cmake
  ${PROJECT_SOURCE_DIR}/cmake/FindOpenBLASOpenMP.cmake
  DESTINATION ${MODEN_PACKAGE_DIR})

# Paths inside the pkg-config files are relative to the files themselves, so that the prefix may be moved.
set(MODEN_PKGCONFIG_DIR ${CMAKE_INSTALL_DATADIR}/pkgconfig)
file(RELATIVE_PATH MODEN_PREFIX_FROM_PKGCONFIG "/${MODEN_PKGCONFIG_DIR}" "/")
string(REGEX REPLACE "/$" "" MODEN_PREFIX_FROM_PKGCONFIG "${MODEN_PREFIX_FROM_PKGCONFIG}")
get_filename_component(MODEN_OPENBLAS_DIR ${OpenBLASOpenMP_LIBRARY} DIRECTORY)
foreach(package moden moden-io)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/${package}.pc.in ${package}.pc @ONLY)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/${package}.pc DESTINATION ${MODEN_PKGCONFIG_DIR})
endforeach()
