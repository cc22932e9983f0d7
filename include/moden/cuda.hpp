#pragma once

// Everything, with the CUDA policy and device tensors. For sources that nvcc compiles.

#if !defined(__CUDACC__)
#error "moden/cuda.hpp is CUDA C++: compile this file with nvcc, or include <moden/moden.hpp> for the CPU only"
#else

#include <moden/moden.hpp>
#include <moden/policy/cuda.hpp>

#endif
