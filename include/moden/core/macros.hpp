#pragma once

/// Marks functions that run on the host and, when nvcc compiles them, on the device as well.
#ifdef __CUDACC__
#define MODEN_HOST_DEVICE __host__ __device__
#else
#define MODEN_HOST_DEVICE
#endif
