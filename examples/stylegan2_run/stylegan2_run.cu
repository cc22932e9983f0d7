// The same program with the CUDA policy: compiled instead of stylegan2_run.cpp where nvcc is at hand.

#include <moden/cuda.hpp>

#include "stylegan2_run.cpp"
