#pragma once

// The third execution policy: it computes with another one and keeps books on what every primitive was asked to do.
//
// Not derived from any policy of the library and known to no algorithm: that everything runs on it shows what a new
// policy takes. The books serve the tests of the costs that the documentation states. On the way every call is held
// against the contract of its primitive (extents, strides, storage orders, no overlap), so that an algorithm that gets
// away with a breach on one back end is found here.

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include <moden/core/error.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/core/view.hpp>
#include <moden/policy/cpu.hpp>
#include <moden/core/execution_policy.hpp>

namespace moden_test {

enum class primitive : std::size_t {
    allocate,
    make_tensor,
    copy,
    copy_matrix,
    download,
    upload,
    permute,
    transform,
    transform_grid,
    transform_rows,
    reduce,
    gemm,
    gemm_strided_batched,
    syrk,
    syrk_strided_batched,
    trsm,
    prepare_directions,
    nearest_directions,
    eigh,
    svd,
    qr,
    cholesky_solve,
    how_many
};

/// What one primitive was asked to do.
struct tally {
    std::size_t calls = 0;
    double flops = 0;     ///< products and factorizations, by the usual LAPACK counts
    double bytes = 0;     ///< memory: the size of what was allocated; copies: read and written together
    double elements = 0;  ///< loops: how often the function was called (what it reads is its own secret)
};

/// The books of one counting policy and its copies.
class ledger {
public:
    const tally& operator[](primitive which) const { return tallies_[static_cast<std::size_t>(which)]; }

    void add(primitive which, double flops, double bytes = 0, double elements = 0) {
        tally& entry = tallies_[static_cast<std::size_t>(which)];
        ++entry.calls;
        entry.flops += flops;
        entry.bytes += bytes;
        entry.elements += elements;
    }

    void allocated(std::size_t bytes) {
        held_ += bytes;
        peak_ = peak_ < held_ ? held_ : peak_;
    }
    void released(std::size_t bytes) { held_ -= bytes; }

    /// Flops of all primitives together.
    double flops() const {
        double sum = 0;
        for (const tally& entry : tallies_) {
            sum += entry.flops;
        }
        return sum;
    }

    /// Flops of the matrix products, which is what most cost formulas speak of.
    double product_flops() const { return (*this)[primitive::gemm].flops + (*this)[primitive::gemm_strided_batched].flops; }
    double gram_flops() const { return (*this)[primitive::syrk].flops + (*this)[primitive::syrk_strided_batched].flops; }

    std::size_t held_bytes() const { return held_; }  ///< in buffers, now
    std::size_t peak_bytes() const { return peak_; }  ///< in buffers, the most at any time

    /// Bytes of the tensors handed out by make_tensor. They belong to results, so that nobody reports their end.
    double tensor_bytes() const { return (*this)[primitive::make_tensor].bytes; }

    /// Forgets everything but the buffers that are still held.
    void reset() {
        tallies_ = {};
        peak_ = held_;
    }

private:
    std::array<tally, static_cast<std::size_t>(primitive::how_many)> tallies_{};
    std::size_t held_ = 0;
    std::size_t peak_ = 0;
};

/// A buffer of another policy that reports its end.
template <class T, class Buffer>
class counted_buffer {
public:
    counted_buffer() = default;
    counted_buffer(std::shared_ptr<ledger> books, Buffer buffer) : books_(std::move(books)), buffer_(std::move(buffer)) {
        books_->allocated(buffer_.size() * sizeof(T));
    }
    counted_buffer(counted_buffer&& other) noexcept = default;  // leaves the other one without books
    counted_buffer& operator=(counted_buffer&& other) noexcept {
        std::swap(books_, other.books_);
        std::swap(buffer_, other.buffer_);
        return *this;
    }
    ~counted_buffer() {
        if (books_) {
            books_->released(buffer_.size() * sizeof(T));
        }
    }

    T* data() const { return buffer_.data(); }
    std::size_t size() const { return buffer_.size(); }

private:
    std::shared_ptr<ledger> books_;
    Buffer buffer_;
};

/// Another policy's prepared rows and their number.
template <class Prepared>
struct counted_directions {
    Prepared inner;
    std::size_t rows;
    std::size_t columns;
};

namespace contract {

inline void require(bool condition, const char* primitive, const char* rule) {
    moden::detail::require<moden::shape_error>(condition, "contract of ", primitive, ": ", rule);
}

/// Strides reach over a row (or column), and there is memory where there are elements.
template <class T, class Space>
void well_formed(const moden::matrix_view<T, Space>& matrix, const char* primitive) {
    const bool by_rows = matrix.order == moden::storage_order::row_major;
    const std::size_t lines = by_rows ? matrix.rows : matrix.columns;
    const std::size_t length = by_rows ? matrix.columns : matrix.rows;
    require(matrix.data != nullptr || lines * length == 0, primitive, "a matrix without memory");
    require(lines <= 1 || matrix.stride >= length, primitive, "a stride shorter than a row or column");
}

template <class T, class Space>
std::pair<const void*, const void*> span_of(const moden::matrix_view<T, Space>& matrix, std::size_t extra = 0) {
    if (matrix.rows == 0 || matrix.columns == 0) {
        return {matrix.data, matrix.data};
    }
    const bool by_rows = matrix.order == moden::storage_order::row_major;
    const std::size_t lines = by_rows ? matrix.rows : matrix.columns;
    const std::size_t length = by_rows ? matrix.columns : matrix.rows;
    return {matrix.data, matrix.data + (lines - 1) * matrix.stride + length + extra};
}

inline bool apart(std::pair<const void*, const void*> a, std::pair<const void*, const void*> b) {
    const std::less_equal<const void*> before;
    return a.first == a.second || b.first == b.second || before(a.second, b.first) || before(b.second, a.first);
}

template <class T>
bool apart(const T* source, const T* target, std::size_t count) {
    return apart({source, source + count}, {target, target + count});
}

}  // namespace contract

/// Computes with Inner and keeps books. Copies share one ledger.
template <class Inner>
class counting {
public:
    using memory_space = typename Inner::memory_space;
    template <class T>
    using matrix = moden::matrix_view<T, memory_space>;
    template <class T>
    using const_matrix = moden::const_matrix_view<T, memory_space>;

    counting() : inner_(std::make_shared<Inner>()), books_(std::make_shared<ledger>()) {}

    const Inner& inner() const { return *inner_; }
    ledger& books() const { return *books_; }

    // ---- memory -----------------------------------------------------------------------------------------------------

    template <class T>
    auto allocate(std::size_t count) const {
        books_->add(primitive::allocate, 0, size_of<T>(count));
        auto buffer = inner_->template allocate<T>(count);
        return counted_buffer<T, decltype(buffer)>(books_, std::move(buffer));
    }

    template <class T, std::size_t N>
    auto make_tensor(const moden::extents& shape) const {
        books_->add(primitive::make_tensor, 0, size_of<T>(moden::element_count(shape)));
        return inner_->template make_tensor<T, N>(shape);
    }

    template <class T>
    void copy(const T* source, T* target, std::size_t count) const {
        contract::require(contract::apart(source, target, count), "copy", "source and target overlap");
        books_->add(primitive::copy, 0, 2 * size_of<T>(count));
        inner_->copy(source, target, count);
    }

    template <class T>
    void copy(const_matrix<T> source, matrix<T> target) const {
        contract::well_formed(source, "copy");
        contract::well_formed(target, "copy");
        contract::require(source.rows == target.rows && source.columns == target.columns, "copy", "extents differ");
        contract::require(contract::apart(contract::span_of(source), contract::span_of(target)), "copy", "source and target overlap");
        books_->add(primitive::copy_matrix, 0, 2 * size_of<T>(source.rows * source.columns));
        inner_->template copy<T>(source, target);
    }

    template <class T>
    void download(const T* source, T* host, std::size_t count) const {
        books_->add(primitive::download, 0, 2 * size_of<T>(count));
        inner_->download(source, host, count);
    }

    template <class T>
    void upload(const T* host, T* target, std::size_t count) const {
        books_->add(primitive::upload, 0, 2 * size_of<T>(count));
        inner_->upload(host, target, count);
    }

    template <class T>
    void permute(const moden::tensor_view<const T, memory_space>& source, const moden::extents& axes, T* target) const {
        std::size_t seen = 0;
        for (const std::size_t axis : axes) {
            contract::require(axis < source.order() && (seen >> axis & 1) == 0, "permute", "axes are not a permutation");
            seen |= std::size_t{1} << axis;
        }
        contract::require(axes.size() == source.order(), "permute", "one axis per mode");
        contract::require(contract::apart(source.data, static_cast<const T*>(target), source.size()), "permute",
                          "source and target overlap");
        books_->add(primitive::permute, 0, 2 * size_of<T>(source.size()));
        inner_->template permute<T>(source, axes, target);
    }

    // ---- loops ------------------------------------------------------------------------------------------------------

    template <class Function>
    void transform(std::size_t count, Function function, std::size_t work = 1) const {
        books_->add(primitive::transform, 0, 0, static_cast<double>(count));
        inner_->transform(count, function, work);
    }

    template <class Function>
    void transform_grid(std::size_t rows, std::size_t columns, Function function) const {
        books_->add(primitive::transform_grid, 0, 0, static_cast<double>(rows) * static_cast<double>(columns));
        inner_->transform_grid(rows, columns, function);
    }

    template <class Function>
    void transform_rows(std::size_t rows, std::size_t columns, Function function, std::size_t work = 0) const {
        books_->add(primitive::transform_rows, 0, 0, static_cast<double>(rows) * static_cast<double>(columns));
        inner_->transform_rows(rows, columns, function, work);
    }

    template <class Result, class Map, class Combine>
    Result reduce(std::size_t count, Result initial, Map map, Combine combine) const {
        books_->add(primitive::reduce, 0, 0, static_cast<double>(count));
        return inner_->reduce(count, initial, map, combine);
    }

    // ---- products ---------------------------------------------------------------------------------------------------

    template <class T>
    void gemm(T alpha, const_matrix<T> a, const_matrix<T> b, T beta, matrix<T> c) const {
        check_product<T>("gemm", a, 0, b, 0, c, 0, 1);
        books_->add(primitive::gemm, product_flops<T>(a, b));
        inner_->template gemm<T>(alpha, a, b, beta, c);
    }

    template <class T>
    void gemm_strided_batched(T alpha, const_matrix<T> a, std::size_t a_step, const_matrix<T> b, std::size_t b_step,
                              T beta, matrix<T> c, std::size_t c_step, std::size_t count) const {
        check_product<T>("gemm_strided_batched", a, a_step, b, b_step, c, c_step, count);
        contract::require(count <= 1 || c_step > 0, "gemm_strided_batched", "all products write the same matrix");
        books_->add(primitive::gemm_strided_batched, product_flops<T>(a, b) * static_cast<double>(count));
        inner_->template gemm_strided_batched<T>(alpha, a, a_step, b, b_step, beta, c, c_step, count);
    }

    template <class T>
    void syrk(T alpha, const_matrix<T> a, T beta, matrix<T> c) const {
        check_gram<T>("syrk", a, 0, 1, c);
        books_->add(primitive::syrk, gram_flops<T>(a));
        inner_->template syrk<T>(alpha, a, beta, c);
    }

    template <class T>
    void syrk_strided_batched(T alpha, const_matrix<T> a, std::size_t a_step, std::size_t count, T beta,
                              matrix<T> c) const {
        check_gram<T>("syrk_strided_batched", a, a_step, count, c);
        books_->add(primitive::syrk_strided_batched, gram_flops<T>(a) * static_cast<double>(count));
        inner_->template syrk_strided_batched<T>(alpha, a, a_step, count, beta, c);
    }

    template <class T>
    void trsm(moden::side where, moden::triangle half, T alpha, const_matrix<T> a, matrix<T> b) const {
        contract::well_formed(a, "trsm");
        contract::well_formed(b, "trsm");
        const std::size_t n = where == moden::side::left ? b.rows : b.columns;
        contract::require(a.rows == n && a.columns == n, "trsm", "A is not square or does not fit B");
        const double size = static_cast<double>(n);
        books_->add(primitive::trsm, size * static_cast<double>(b.rows) * static_cast<double>(b.columns));
        inner_->template trsm<T>(where, half, alpha, a, b);
    }

    template <class T>
    auto prepare_directions(const_matrix<T> rows, const T* inverse_lengths) const {
        contract::well_formed(rows, "prepare_directions");
        contract::require(rows.order == moden::storage_order::row_major && rows.stride == rows.columns && rows.columns > 0, "prepare_directions",
                          "X is not dense and row-major, or has no columns");
        books_->add(primitive::prepare_directions, 0);
        return counted_directions<decltype(inner_->template prepare_directions<T>(rows, inverse_lengths))>{
            inner_->template prepare_directions<T>(rows, inverse_lengths), rows.rows, rows.columns};
    }

    /// Counted as products of all rows with all centres, whatever is left out.
    template <class T, class Prepared>
    void nearest_directions(const counted_directions<Prepared>& prepared, const T* centres, std::size_t count, std::uint32_t* labels) const {
        contract::require(count > 0, "nearest_directions", "no centres");
        books_->add(primitive::nearest_directions, 2.0 * static_cast<double>(prepared.rows * prepared.columns) * static_cast<double>(count));
        inner_->template nearest_directions<T>(prepared.inner, centres, count, labels);
    }

    // ---- factorizations ---------------------------------------------------------------------------------------------

    template <class T>
    void eigh(matrix<T> a, T* values, matrix<T> vectors) const {
        contract::well_formed(a, "eigh");
        contract::well_formed(vectors, "eigh");
        contract::require(a.rows == a.columns, "eigh", "A is not square");
        contract::require(vectors.rows == a.rows && vectors.columns <= a.rows, "eigh", "vectors do not fit A");
        contract::require(vectors.order == moden::storage_order::column_major, "eigh", "vectors are column-major");
        contract::require(values != nullptr, "eigh", "values without memory");
        const double n = static_cast<double>(a.rows);
        books_->add(primitive::eigh, 4.0 / 3.0 * n * n * n + 2 * n * n * static_cast<double>(vectors.columns));
        inner_->template eigh<T>(a, values, vectors);
    }

    template <class T>
    void svd(matrix<T> a, T* values, matrix<T> u, matrix<T> vt) const {
        contract::well_formed(a, "svd");
        contract::well_formed(u, "svd");
        contract::well_formed(vt, "svd");
        const std::size_t k = a.rows < a.columns ? a.rows : a.columns;
        contract::require(u.rows == a.rows && u.columns == k && vt.rows == k && vt.columns == a.columns, "svd",
                          "U or V' does not fit A");
        contract::require(u.order == a.order && vt.order == a.order, "svd", "storage orders differ");
        contract::require(values != nullptr, "svd", "values without memory");
        const double longer = static_cast<double>(a.rows < a.columns ? a.columns : a.rows);
        const double shorter = static_cast<double>(k);
        books_->add(primitive::svd, 6 * longer * shorter * shorter + 20 * shorter * shorter * shorter);
        inner_->template svd<T>(a, values, u, vt);
    }

    template <class T>
    void qr(matrix<T> a, matrix<T> r, moden::qr_output output = moden::qr_output::q_and_r) const {
        contract::well_formed(a, "qr");
        contract::require(a.rows >= a.columns, "qr", "more columns than rows");
        if (r.data != nullptr) {
            contract::well_formed(r, "qr");
            contract::require(r.rows == a.columns && r.columns == a.columns && r.order == a.order, "qr", "R does not fit A");
        }
        const double m = static_cast<double>(a.rows);
        const double n = static_cast<double>(a.columns);
        const double triangle = 2 * m * n * n - 2.0 / 3.0 * n * n * n;  // forming Q takes as much again
        books_->add(primitive::qr, output == moden::qr_output::r_only ? triangle : 2 * triangle);
        inner_->template qr<T>(a, r, output);
    }

    template <class T>
    moden::definiteness cholesky_solve(matrix<T> a, matrix<T> b) const {
        contract::well_formed(a, "cholesky_solve");
        contract::well_formed(b, "cholesky_solve");
        contract::require(a.rows == a.columns && b.rows == a.rows, "cholesky_solve", "A is not square or does not fit B");
        const double n = static_cast<double>(a.rows);
        books_->add(primitive::cholesky_solve, n * n * n / 3 + 2 * n * n * static_cast<double>(b.columns));
        return inner_->template cholesky_solve<T>(a, b);
    }

private:
    template <class T>
    static double size_of(std::size_t count) {
        return static_cast<double>(count) * static_cast<double>(sizeof(T));
    }

    template <class T>
    static double product_flops(const_matrix<T> a, const_matrix<T> b) {
        return 2.0 * static_cast<double>(a.rows) * static_cast<double>(a.columns) * static_cast<double>(b.columns);
    }

    /// One triangle is computed.
    template <class T>
    static double gram_flops(const_matrix<T> a) {
        return static_cast<double>(a.rows) * static_cast<double>(a.rows + 1) * static_cast<double>(a.columns);
    }

    template <class T>
    static void check_product(const char* name, const_matrix<T> a, std::size_t a_step, const_matrix<T> b, std::size_t b_step,
                              matrix<T> c, std::size_t c_step, std::size_t count) {
        contract::well_formed(a, name);
        contract::well_formed(b, name);
        contract::well_formed(c, name);
        contract::require(a.rows == c.rows && a.columns == b.rows && b.columns == c.columns, name, "extents do not fit");
        const std::size_t steps = count > 0 ? count - 1 : 0;
        const auto written = contract::span_of(c, steps * c_step);
        contract::require(contract::apart(contract::span_of(a, steps * a_step), written) &&
                              contract::apart(contract::span_of(b, steps * b_step), written),
                          name, "a factor overlaps the result");
    }

    template <class T>
    static void check_gram(const char* name, const_matrix<T> a, std::size_t a_step, std::size_t count, matrix<T> c) {
        contract::well_formed(a, name);
        contract::well_formed(c, name);
        contract::require(c.rows == a.rows && c.columns == a.rows, name, "C does not fit A");
        const std::size_t steps = count > 0 ? count - 1 : 0;
        contract::require(contract::apart(contract::span_of(a, steps * a_step), contract::span_of(c)), name, "A overlaps C");
    }

    std::shared_ptr<const Inner> inner_;  // shared, since some policies cannot be copied
    std::shared_ptr<ledger> books_;
};

using counting_policy = counting<moden::cpu_policy>;

}  // namespace moden_test

template <class Inner>
inline constexpr bool moden::enable_execution_policy<moden_test::counting<Inner>> = true;
