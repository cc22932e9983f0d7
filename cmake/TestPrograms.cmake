# How a test program is built and registered; used by tests/ and by the tests beside the examples.
find_package(doctest REQUIRED)

# doctest's main, compiled once for all test programs.
add_library(moden_test_main OBJECT ${PROJECT_SOURCE_DIR}/tests/support/main.cpp)
target_link_libraries(moden_test_main PUBLIC doctest::doctest)
target_compile_definitions(moden_test_main PUBLIC DOCTEST_CONFIG_SUPER_FAST_ASSERTS)  # a tenth of the compile time
target_compile_features(moden_test_main PUBLIC cxx_std_20)

# Threads of a test that wait sleep instead of spinning, since several tests share the machine's cores.
set(MODEN_TEST_ENVIRONMENT OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive)

# The tests of a build with sanitizers carry a prefix, so that one summary can list both builds' tests.
# libarcher tells the thread sanitizer what OpenMP synchronises; OpenBLAS is not instrumented and thus left out.
set(MODEN_TEST_PREFIX "")
if(MODEN_SANITIZE)
  set(MODEN_TEST_PREFIX "sanitized.")
  list(APPEND MODEN_TEST_ENVIRONMENT UBSAN_OPTIONS=print_stacktrace=1
    TSAN_OPTIONS=ignore_noninstrumented_modules=1 OMP_TOOL_LIBRARIES=libarcher.so)
endif()

# moden_register_test(NAME TARGET [LABELS ...]): one ctest entry per program. Exit code 77 means skipped.
function(moden_register_test name target)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "" "LABELS")
  add_test(NAME ${MODEN_TEST_PREFIX}${name} COMMAND ${target})
  set_tests_properties(${MODEN_TEST_PREFIX}${name} PROPERTIES
    TIMEOUT 600 LABELS "${arg_LABELS}" SKIP_RETURN_CODE 77 ENVIRONMENT "${MODEN_TEST_ENVIRONMENT}")
endfunction()

# Optimised once over in half the compile time: the kernels are unrolled by pragma and keep their vectors, and examples and
# benchmarks are what runs at full optimisation.
set(MODEN_TEST_COMPILE_OPTIONS "$<$<AND:$<CONFIG:Release>,$<COMPILE_LANGUAGE:CXX>>:-O1>")

# moden_add_test(NAME SOURCE [LIBRARIES ...] [LABELS ...]): a doctest program of one source file, with doctest's main.
function(moden_add_test name source)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "" "LIBRARIES;LABELS")
  string(REPLACE "." "_" target test_${name})
  add_executable(${target} ${source})
  target_link_libraries(${target} PRIVATE moden_test_main moden::moden ${arg_LIBRARIES})
  target_compile_options(${target} PRIVATE ${MODEN_TEST_COMPILE_OPTIONS})
  moden_register_test(${name} ${target} LABELS ${arg_LABELS})
endfunction()

# moden_add_policy_tests(GROUP SOURCES ... [LIBRARIES ...]): tests typed over scalar x policy, labelled GROUP. Each source is
# a program GROUP.NAME for the CPU. When CUDA is on, nvcc compiles all of them (with MODEN_TEST_CUDA defined) into one
# program cuda.GROUP: the same cases, the same tolerances. nvcc reads the headers in 12 s and a test in one more, so the
# sources share a reading: their includes come first, then each source in a namespace of its own.
function(moden_add_policy_tests group)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LIBRARIES")
  set(includes "")
  set(contents "")
  foreach(source IN LISTS arg_SOURCES)
    get_filename_component(name ${source} NAME_WE)
    moden_add_test(${group}.${name} ${source} LIBRARIES ${arg_LIBRARIES} LABELS ${group})
    file(STRINGS ${source} lines REGEX "^#include ")
    list(APPEND includes ${lines})
    string(APPEND contents "namespace ${name}_source {\n#include \"${source}\"\n}\n")
  endforeach()
  if(NOT TARGET moden::cuda)
    return()
  endif()
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${arg_SOURCES})

  if(NOT TARGET moden_test_cuda_main)
    add_library(moden_test_cuda_main OBJECT ${PROJECT_SOURCE_DIR}/tests/support/cuda_main.cpp)
    target_link_libraries(moden_test_cuda_main PUBLIC doctest::doctest CUDA::toolkit)
    target_compile_definitions(moden_test_cuda_main PUBLIC DOCTEST_CONFIG_SUPER_FAST_ASSERTS)
    target_compile_features(moden_test_cuda_main PUBLIC cxx_std_20)
  endif()
  list(REMOVE_DUPLICATES includes)
  list(JOIN includes "\n" includes)
  set(cuda_source ${CMAKE_CURRENT_BINARY_DIR}/${group}.cu)
  file(CONFIGURE OUTPUT ${cuda_source} CONTENT "${includes}\n\n${contents}" @ONLY)
  set(target test_cuda_${group})
  add_executable(${target} ${cuda_source})
  target_compile_definitions(${target} PRIVATE MODEN_TEST_CUDA)
  target_include_directories(${target} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
  # What GCC 12 imagines at -O3 about lists of test cases.
  target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wno-maybe-uninitialized>")
  target_link_libraries(${target} PRIVATE moden_test_cuda_main moden::cuda ${arg_LIBRARIES})
  moden_register_test(cuda.${group} ${target} LABELS gpu)
endfunction()
