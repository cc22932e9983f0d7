#pragma once

/// Marks functions that run on the host and, when nvcc compiles them, on the device as well.
#ifdef __CUDACC__
#define MODEN_HOST_DEVICE __host__ __device__
#else
#define MODEN_HOST_DEVICE
#endif

/// Before a loop over a few values whose number is known when compiling: unrolled, so that they can live in registers.
#if defined(__CUDACC__)
#define MODEN_UNROLL
#elif defined(__clang__)
#define MODEN_UNROLL _Pragma("unroll")
#else
#define MODEN_UNROLL _Pragma("GCC unroll 16")
#endif

/// Before a loop whose iterations touch memory of their own, to be vectorised.
#if defined(__CUDACC__)
#define MODEN_INDEPENDENT
#elif defined(__clang__)
#define MODEN_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define MODEN_INDEPENDENT _Pragma("GCC ivdep")
#endif

/// Asks for memory that will be read before long; on a device nothing needs to be asked.
#if defined(__CUDA_ARCH__)
#define MODEN_PREFETCH(address)
#else
#define MODEN_PREFETCH(address) __builtin_prefetch(address)
#endif
