# cmake --install build/release --prefix DIR: the tool, described machines, and the library for find_package(Terrace).
include(GNUInstallDirs)
set(package ${CMAKE_INSTALL_LIBDIR}/cmake/Terrace)
set(libraries core graph ops passes machine kernels plan planner engine run sim nn io program)
list(TRANSFORM libraries PREPEND terrace_)
foreach(library ${libraries})
  string(REPLACE terrace_ "" short ${library})
  set_target_properties(${library} PROPERTIES EXPORT_NAME ${short})
endforeach()
set_target_properties(terrace_options PROPERTIES EXPORT_NAME options)

install(TARGETS terrace_options ${libraries} EXPORT Terrace ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT Terrace NAMESPACE Terrace:: FILE TerraceTargets.cmake DESTINATION ${package})
install(DIRECTORY terrace DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h" PATTERN cli EXCLUDE)
install(TARGETS terrace terrace-train terrace-topology RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY machines DESTINATION ${CMAKE_INSTALL_DATADIR}/terrace FILES_MATCHING PATTERN "*.toml")

include(CMakePackageConfigHelpers)
configure_package_config_file(cmake/TerraceConfig.cmake.in ${CMAKE_BINARY_DIR}/TerraceConfig.cmake
  INSTALL_DESTINATION ${package})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/TerraceConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/TerraceConfig.cmake ${CMAKE_BINARY_DIR}/TerraceConfigVersion.cmake
  DESTINATION ${package})
