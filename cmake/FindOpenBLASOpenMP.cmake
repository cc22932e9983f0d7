# Finds the OpenMP build of OpenBLAS (BLAS and LAPACK in one library).
#
# The OpenMP build matters: inside an OpenMP parallel region it stays on one thread, and its thread count can be
# scoped to one call. Debian keeps its builds side by side, so the directory of the OpenMP one is searched first.
# Defines the target OpenBLASOpenMP::OpenBLAS.
include(FindPackageHandleStandardArgs)
find_library(OpenBLASOpenMP_LIBRARY NAMES openblas
  PATH_SUFFIXES openblas-openmp
  PATHS /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE} /usr/lib /usr/local/lib)
find_package_handle_standard_args(OpenBLASOpenMP REQUIRED_VARS OpenBLASOpenMP_LIBRARY)
if(OpenBLASOpenMP_FOUND AND NOT TARGET OpenBLASOpenMP::OpenBLAS)
  add_library(OpenBLASOpenMP::OpenBLAS UNKNOWN IMPORTED)
  set_target_properties(OpenBLASOpenMP::OpenBLAS PROPERTIES IMPORTED_LOCATION ${OpenBLASOpenMP_LIBRARY})
endif()
mark_as_advanced(OpenBLASOpenMP_LIBRARY)
