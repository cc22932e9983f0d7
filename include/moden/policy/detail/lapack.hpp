#pragma once

// The BLAS and LAPACK routines that the CPU policy calls, bound by name to the Fortran symbols of the linked library.
//
// No BLAS header is included: <cblas.h> and the copy of it inside xtensor-blas declare the same C names with different
// types, so whichever came first would make the other one an error in the user's program. The declarations here have
// names of their own and meet nothing. Everything is column-major, as in Fortran.

#include <climits>
#include <cstddef>

#include <moden/core/error.hpp>

// One declaration per routine and scalar. `length` arguments are Fortran's hidden string lengths.
#define MODEN_DECLARE_LAPACK(T, prefix)                                                                                  \
    void moden_##prefix##gemm(const char* transa, const char* transb, const int* m, const int* n, const int* k,         \
                              const T* alpha, const T* a, const int* lda, const T* b, const int* ldb, const T* beta,    \
                              T* c, const int* ldc, std::size_t length1, std::size_t length2) __asm__(#prefix "gemm_"); \
    void moden_##prefix##gemv(const char* trans, const int* m, const int* n, const T* alpha, const T* a, const int* lda, \
                              const T* x, const int* incx, const T* beta, T* y, const int* incy, std::size_t length)    \
        __asm__(#prefix "gemv_");                                                                                       \
    void moden_##prefix##syrk(const char* uplo, const char* trans, const int* n, const int* k, const T* alpha,          \
                              const T* a, const int* lda, const T* beta, T* c, const int* ldc, std::size_t length1,     \
                              std::size_t length2) __asm__(#prefix "syrk_");                                            \
    void moden_##prefix##trsm(const char* side, const char* uplo, const char* transa, const char* diag, const int* m,   \
                              const int* n, const T* alpha, const T* a, const int* lda, T* b, const int* ldb,           \
                              std::size_t length1, std::size_t length2, std::size_t length3,                            \
                              std::size_t length4) __asm__(#prefix "trsm_");                                            \
    void moden_##prefix##geqrf(const int* m, const int* n, T* a, const int* lda, T* tau, T* work, const int* lwork,     \
                               int* info) __asm__(#prefix "geqrf_");                                                    \
    void moden_##prefix##orgqr(const int* m, const int* n, const int* k, T* a, const int* lda, const T* tau, T* work,   \
                               const int* lwork, int* info) __asm__(#prefix "orgqr_");                                  \
    void moden_##prefix##gelqf(const int* m, const int* n, T* a, const int* lda, T* tau, T* work, const int* lwork,     \
                               int* info) __asm__(#prefix "gelqf_");                                                    \
    void moden_##prefix##orglq(const int* m, const int* n, const int* k, T* a, const int* lda, const T* tau, T* work,   \
                               const int* lwork, int* info) __asm__(#prefix "orglq_");                                  \
    void moden_##prefix##gesdd(const char* jobz, const int* m, const int* n, T* a, const int* lda, T* s, T* u,          \
                               const int* ldu, T* vt, const int* ldvt, T* work, const int* lwork, int* iwork,           \
                               int* info, std::size_t length) __asm__(#prefix "gesdd_");                                \
    void moden_##prefix##syevd(const char* jobz, const char* uplo, const int* n, T* a, const int* lda, T* w, T* work,   \
                               const int* lwork, int* iwork, const int* liwork, int* info, std::size_t length1,         \
                               std::size_t length2) __asm__(#prefix "syevd_");                                          \
    void moden_##prefix##sytrd(const char* uplo, const int* n, T* a, const int* lda, T* d, T* e, T* tau, T* work,       \
                               const int* lwork, int* info, std::size_t length) __asm__(#prefix "sytrd_");              \
    void moden_##prefix##sterf(const int* n, T* d, T* e, int* info) __asm__(#prefix "sterf_");                          \
    void moden_##prefix##stemr(const char* jobz, const char* range, const int* n, T* d, T* e, const T* vl, const T* vu, \
                               const int* il, const int* iu, int* m, T* w, T* z, const int* ldz, const int* nzc,        \
                               int* isuppz, int* tryrac, T* work, const int* lwork, int* iwork, const int* liwork,      \
                               int* info, std::size_t length1, std::size_t length2) __asm__(#prefix "stemr_");          \
    void moden_##prefix##stedc(const char* compz, const int* n, T* d, T* e, T* z, const int* ldz, T* work,              \
                               const int* lwork, int* iwork, const int* liwork, int* info, std::size_t length)          \
        __asm__(#prefix "stedc_");                                                                                      \
    void moden_##prefix##ormtr(const char* side, const char* uplo, const char* trans, const int* m, const int* n,       \
                               const T* a, const int* lda, const T* tau, T* c, const int* ldc, T* work,                 \
                               const int* lwork, int* info, std::size_t length1, std::size_t length2,                   \
                               std::size_t length3) __asm__(#prefix "ormtr_");                                          \
    void moden_##prefix##potrf(const char* uplo, const int* n, T* a, const int* lda, int* info, std::size_t length)     \
        __asm__(#prefix "potrf_");                                                                                      \
    void moden_##prefix##potrs(const char* uplo, const int* n, const int* nrhs, const T* a, const int* lda, T* b,       \
                               const int* ldb, int* info, std::size_t length) __asm__(#prefix "potrs_");

extern "C" {
MODEN_DECLARE_LAPACK(float, s)
MODEN_DECLARE_LAPACK(double, d)
}
#undef MODEN_DECLARE_LAPACK

namespace moden::detail {

/// The routines of one scalar type by their names without the type letter.
template <class T>
struct lapack;

#define MODEN_DEFINE_LAPACK(T, prefix)                        \
    template <>                                               \
    struct lapack<T> {                                        \
        static constexpr auto gemm = moden_##prefix##gemm;    \
        static constexpr auto gemv = moden_##prefix##gemv;    \
        static constexpr auto syrk = moden_##prefix##syrk;    \
        static constexpr auto trsm = moden_##prefix##trsm;    \
        static constexpr auto geqrf = moden_##prefix##geqrf;  \
        static constexpr auto orgqr = moden_##prefix##orgqr;  \
        static constexpr auto gelqf = moden_##prefix##gelqf;  \
        static constexpr auto orglq = moden_##prefix##orglq;  \
        static constexpr auto gesdd = moden_##prefix##gesdd;  \
        static constexpr auto syevd = moden_##prefix##syevd;  \
        static constexpr auto sytrd = moden_##prefix##sytrd;  \
        static constexpr auto sterf = moden_##prefix##sterf;  \
        static constexpr auto stemr = moden_##prefix##stemr;  \
        static constexpr auto stedc = moden_##prefix##stedc;  \
        static constexpr auto ormtr = moden_##prefix##ormtr;  \
        static constexpr auto potrf = moden_##prefix##potrf;  \
        static constexpr auto potrs = moden_##prefix##potrs;  \
    };
MODEN_DEFINE_LAPACK(float, s)
MODEN_DEFINE_LAPACK(double, d)
#undef MODEN_DEFINE_LAPACK

/// A size as the 32-bit integer that BLAS and LAPACK take.
inline int blas_size(std::size_t size, const char* routine) {
    require<shape_error>(size <= static_cast<std::size_t>(INT_MAX), routine, ": a single dimension of ", size,
                         " exceeds what BLAS can address (", INT_MAX, ")");
    return static_cast<int>(size);
}

inline void check_info(int info, const char* routine) {
    require<solver_error>(info == 0, routine, ": LAPACK returned ", info,
                          info < 0 ? " (illegal argument)" : " (no convergence)");
}

/// Runs a LAPACK routine twice: once to ask for its workspace, once to work. `call(work, lwork, info)`.
template <class T, class Allocate, class Call>
void with_workspace(Allocate allocate, Call call, const char* routine) {
    int info = 0;
    T wanted{};
    int size = -1;
    call(&wanted, &size, &info);
    check_info(info, routine);
    // The size comes back as a T; a float near 2^24 may have been rounded down.
    size = static_cast<int>(static_cast<double>(wanted) * (1 + 1e-6)) + 1;
    auto work = allocate(static_cast<std::size_t>(size));
    call(work.data(), &size, &info);
    check_info(info, routine);
}

}  // namespace moden::detail
