#pragma once

// OpenMP as it is for a program of one thread: what the fuzzers compile with, because a finding has to be found again, and
// because the compiler that has libFuzzer need not have OpenMP.

inline int omp_get_max_threads() { return 1; }
inline int omp_get_num_threads() { return 1; }
inline int omp_get_thread_num() { return 0; }
inline int omp_in_parallel() { return 0; }
inline void omp_set_num_threads(int) {}
