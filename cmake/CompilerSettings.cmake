# How moden's own programs and tests are compiled. Nothing here reaches a project that uses the library: the options
# are set for this directory and those below, never on the library's targets.

if((CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 12)
   OR (CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 16))
  message(WARNING "moden is made for g++ 12, clang 16 and newer; "
    "this is ${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}")
endif()

if(PROJECT_IS_TOP_LEVEL)
  # Release is -O3 -DNDEBUG; moden's checks do not depend on NDEBUG.
  if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
  endif()
  set(CMAKE_CXX_EXTENSIONS OFF)
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
  find_program(MODEN_CCACHE ccache)
  mark_as_advanced(MODEN_CCACHE)
  if(MODEN_CCACHE)
    foreach(language CXX CUDA)
      if(NOT DEFINED CMAKE_${language}_COMPILER_LAUNCHER)
        set(CMAKE_${language}_COMPILER_LAUNCHER ${MODEN_CCACHE})
      endif()
    endforeach()
  endif()
endif()

add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wconversion>")
# nvcc hands generated code to the host compiler, where -Wconversion finds only nvcc's own.
add_compile_options("$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra>")
# GCC 12 imagines overlapping copies in "text" + string at -O3 (bug 105651).
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict>" "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wno-restrict>")
endif()
if(MODEN_WARNINGS_AS_ERRORS)
  add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:-Werror>")
  add_compile_options("$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Werror;--Werror=all-warnings>")
endif()

if(MODEN_SANITIZE)
  list(JOIN MODEN_SANITIZE "," MODEN_SANITIZE_FLAG)
  add_compile_options(-fsanitize=${MODEN_SANITIZE_FLAG} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${MODEN_SANITIZE_FLAG})
  if(NOT MODEN_CUDA STREQUAL "OFF")
    message(STATUS "moden: CUDA is off in a build with sanitizers")
    set(MODEN_CUDA OFF)
  endif()
endif()
