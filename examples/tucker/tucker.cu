// The same program with the CUDA policy: compiled instead of tucker.cpp where nvcc is at hand.

#include <moden/cuda.hpp>

#include "tucker.cpp"
