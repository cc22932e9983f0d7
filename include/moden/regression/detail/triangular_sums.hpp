#pragma once

// The triangular factor of [1 X Y], a panel of rows at a time: everything that a regression by QR needs to know of its samples.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/core/view.hpp>
#include <moden/linalg/detail/panels.hpp>
#include <moden/regression/detail/column_moments.hpp>
#include <moden/regression/detail/solved_coefficients.hpp>

namespace moden::detail {

/// result(i, .) = [1, x(i, .) - a, y(i, .) - b] for a shift [a b].
template <class T>
struct bordered_rows {
    const T* x;
    const T* y;
    const T* shift;
    std::size_t d, t;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t i, std::size_t j) const {
        const T value = j == 0 ? T(1) : j <= d ? x[i * d + j - 1] - shift[j - 1] : y[i * t + j - 1 - d] - shift[j - 1];
        result[i * (1 + d + t) + j] = value;
    }
};

/// A triangular factor and rows [1, x - a, y - b] below it, as panels of columns for triangular_factor.
template <class T, class Space>
struct bordered_panels {
    const T* earlier;  ///< null: none
    matrix_view<const T, Space> x;
    matrix_view<const T, Space> y;
    const T* shift;

    std::size_t rows() const { return 1 + x.columns + y.columns; }
    std::size_t columns() const { return x.rows + (earlier == nullptr ? 0 : rows()); }

    template <class Policy, class Visit>
    void for_each(const Policy& policy, std::size_t width, Visit visit) const {
        const std::size_t n = rows();
        std::size_t offset = 0;
        if (earlier != nullptr) {
            visit(transposed(row_major<const T, Space>(earlier, n, n)), 0);
            offset = n;
        }
        const auto scratch = policy.template allocate<T>(std::min(width, x.rows) * n);
        for (std::size_t first = 0; first < x.rows; first += width) {
            const std::size_t count = std::min(width, x.rows - first);
            policy.transform_grid(count, n, bordered_rows<T>{x.data + first * x.columns, y.data + first * y.columns, shift, x.columns, y.columns,
                                                             scratch.data()});
            visit(transposed(row_major<const T, Space>(scratch.data(), count, n)), offset + first);
        }
    }
};

/// First row of a triangular factor of [1 Z] (size x size) made that of [1 Z + 1 shift'].
template <class T>
struct shift_first_row {
    T* r;
    const double* shift;
    MODEN_HOST_DEVICE void operator()(std::size_t j) const {
        r[j + 1] = static_cast<T>(static_cast<double>(r[j + 1]) + static_cast<double>(r[0]) * shift[j]);
    }
};

/// The columns of a square matrix but the first; the rows but the first `skipped`.
struct without_border {
    const double* matrix;
    std::size_t size, skipped;
    double* result;
    MODEN_HOST_DEVICE void operator()(std::size_t i, std::size_t j) const { result[i * (size - 1) + j] = matrix[(i + skipped) * size + j + 1]; }
};

/// [M; sqrt(ridge) I 0] for a square M.
struct above_ridge {
    const double* matrix;
    std::size_t size, d;
    double root;
    double* result;
    MODEN_HOST_DEVICE void operator()(std::size_t i, std::size_t j) const {
        result[i * size + j] = i < size ? matrix[i * size + j] : i - size == j && j < d ? root : 0;
    }
};

/// Squares of the columns of an upper triangular matrix, first to last, and its diagonal.
struct triangular_squares {
    const double* matrix;
    std::size_t size;
    double* squares;
    double* diagonal;
    MODEN_HOST_DEVICE void operator()(std::size_t j) const {
        double sum = 0;
        for (std::size_t i = 0; i <= j; ++i) {
            sum += matrix[i * size + j] * matrix[i * size + j];
        }
        squares[j] = sum;
        diagonal[j] = matrix[j * size + j];
    }
};

/// Squares of what is left of every target: the first d rows in `left` (d x t), the rows below of the triangular matrix.
struct residual_of_triangle {
    const double* left;
    const double* matrix;
    std::size_t size, d, t;
    double* squares;
    MODEN_HOST_DEVICE void operator()(std::size_t k) const {
        double sum = 0;
        for (std::size_t i = 0; i < d; ++i) {
            sum += left[i * t + k] * left[i * t + k];
        }
        for (std::size_t i = d; i <= d + k; ++i) {
            sum += matrix[i * size + d + k] * matrix[i * size + d + k];
        }
        squares[k] = sum;
    }
};

/// R of [1 X Y] of any number of samples. X and Y are counted from about the mean of the first batch, which QR takes back exactly.
template <class Policy, class T>
class triangular_sums {
    using space = typename Policy::memory_space;

public:
    triangular_sums(const Policy& policy, std::size_t d, std::size_t t) : policy_(policy), d_(d), t_(t), moments_(d + t) {}

    const column_moments& moments() const { return moments_; }

    /// Adds rows whose moments are known.
    void add(matrix_view<const T, space> x, matrix_view<const T, space> y, const column_moments& batch) {
        if (x.rows == 0) {
            return;
        }
        if (moments_.count == 0) {
            std::vector<T> origin(d_ + t_);
            std::transform(batch.mean.begin(), batch.mean.end(), origin.begin(), [](double mean) { return static_cast<T>(mean); });
            origin_ = policy_.template allocate<T>(d_ + t_);
            policy_.upload(origin.data(), origin_.data(), d_ + t_);
            shift_.assign(origin.begin(), origin.end());
        }
        r_ = triangular_factor<T>(policy_, bordered_panels<T, space>{moments_.count > 0 ? r_.data() : nullptr, x, y, origin_.data()});
        moments_.merge(batch);
    }

    void merge(const triangular_sums& other) {
        if (other.moments_.count == 0) {
            return;
        }
        const std::size_t n = size();
        if (moments_.count == 0) {
            shift_ = other.shift_;
            origin_ = copied(other.origin_);
            r_ = copied(other.r_);
        } else {
            const auto stack = policy_.template allocate<T>(2 * n * n);
            policy_.copy(static_cast<const T*>(r_.data()), stack.data(), n * n);
            policy_.copy(static_cast<const T*>(other.r_.data()), stack.data() + n * n, n * n);
            std::vector<double> shift(d_ + t_);
            for (std::size_t j = 0; j < d_ + t_; ++j) {
                shift[j] = other.shift_[j] - shift_[j];
            }
            const auto moved = uploaded(policy_, shift);
            policy_.transform(d_ + t_, shift_first_row<T>{stack.data() + n * n, moved.data()});
            policy_.template qr<T>(row_major<T, space>(stack.data(), 2 * n, n), row_major<T, space>(r_.data(), n, n), qr_output::r_only);
        }
        moments_.merge(other.moments_);
    }

    /// Solves by back substitution. Refuses columns that are constant, or dependent unless there is a ridge.
    solved_coefficients<Policy> solve(const least_squares_options& options, const char* function) const {
        refuse_idle_columns<T>(moments_, d_, options, function);
        const std::size_t w = d_ + t_;
        const auto plain = without_ones(options);
        const auto penalised = with_ridge(plain.data(), options.ridge);
        const auto [scales, smallest] = scales_of(penalised.data());
        const auto scale = uploaded(policy_, scales);
        const auto keep = uploaded(policy_, kept_targets<T>(moments_, d_, options));
        const auto system = policy_.template allocate<double>(d_ * d_);
        const auto right = policy_.template allocate<double>(d_ * (t_ + d_));
        policy_.transform_grid(d_, d_ + t_ + d_,
                               scaled_system{penalised.data(), w, d_, t_, nullptr, scale.data(), keep.data(), 0.0, system.data(), right.data()});
        if (!(smallest > tolerance(options.ridge))) {
            refuse_dependent(policy_, system.data(), d_, function,
                             options.ridge > 0 ? "a larger ridge would decide" : "a ridge > 0 would decide");
        }
        const double norm = one_norm(policy_, system.data(), d_, d_, d_);
        policy_.template trsm<double>(side::left, triangle::upper, 1.0, row_major<const double, space>(system.data(), d_, d_),
                                      row_major<double, space>(right.data(), d_, t_ + d_));
        solved_coefficients<Policy> result;
        result.condition = norm * one_norm(policy_, right.data() + t_, d_, d_, t_ + d_);
        result.values = policy_.template allocate<double>(d_ * t_);
        policy_.transform_grid(d_, t_, unscaled_coefficients{right.data(), scale.data(), t_ + d_, t_, result.values.data()});
        result.residual_squares = residual_squares(plain.data(), result.values.data());
        return result;
    }

private:
    std::size_t size() const { return 1 + d_ + t_; }

    buffer_of<Policy, T> copied(const buffer_of<Policy, T>& source) const {
        auto result = policy_.template allocate<T>(source.size());
        policy_.copy(static_cast<const T*>(source.data()), result.data(), source.size());
        return result;
    }

    /// The sine of the angle between a column and those before it below which rounding has decided it.
    double tolerance(double ridge) const {
        const double longest = static_cast<double>(std::max(moments_.count, d_));
        return ridge > 0 ? 4 * std::numeric_limits<double>::epsilon()
                         : 10 * std::sqrt(longest) * static_cast<double>(std::numeric_limits<T>::epsilon());
    }

    /// R of [X Y] (d + t squared) about the means, or about 0 without an intercept.
    buffer_of<Policy, double> without_ones(const least_squares_options& options) const {
        const std::size_t n = size(), w = n - 1;
        const auto full = policy_.template allocate<double>(n * n);
        policy_.transform(n * n, convert_to<T, double>{r_.data(), full.data()});
        auto result = policy_.template allocate<double>(w * w);
        if (options.intercept == intercept_term::fitted) {
            policy_.transform_grid(w, w, without_border{full.data(), n, 1, result.data()});
        } else {
            const auto shift = uploaded(policy_, shift_);
            policy_.transform(w, shift_first_row<double>{full.data(), shift.data()});
            const auto tall = policy_.template allocate<double>(n * w);
            policy_.transform_grid(n, w, without_border{full.data(), n, 0, tall.data()});
            policy_.template qr<double>(row_major<double, space>(tall.data(), n, w), row_major<double, space>(result.data(), w, w),
                                        qr_output::r_only);
        }
        return result;
    }

    buffer_of<Policy, double> with_ridge(const double* plain, double ridge) const {
        const std::size_t w = d_ + t_;
        auto result = policy_.template allocate<double>(w * w);
        if (ridge > 0) {
            const auto tall = policy_.template allocate<double>((w + d_) * w);
            policy_.transform_grid(w + d_, w, above_ridge{plain, w, d_, std::sqrt(ridge), tall.data()});
            policy_.template qr<double>(row_major<double, space>(tall.data(), w + d_, w), row_major<double, space>(result.data(), w, w),
                                        qr_output::r_only);
        } else {
            policy_.copy(plain, result.data(), w * w);
        }
        return result;
    }

    /// What brings the columns of X to length 1, and the smallest diagonal entry afterwards.
    std::pair<std::vector<double>, double> scales_of(const double* triangular) const {
        const std::size_t w = d_ + t_;
        const auto buffer = policy_.template allocate<double>(2 * w);
        policy_.transform(w, triangular_squares{triangular, w, buffer.data(), buffer.data() + w}, w);
        const auto host = to_vector<Policy, double>(policy_, buffer.data(), 2 * w);
        std::vector<double> scales(d_, 1.0);
        double smallest = 1;
        for (std::size_t j = 0; j < d_; ++j) {
            if (host[j] > 0) {
                scales[j] = 1 / std::sqrt(host[j]);
            }
            smallest = std::min(smallest, std::abs(host[w + j]) * scales[j]);
        }
        return {scales, smallest};
    }

    std::vector<double> residual_squares(const double* plain, const double* coefficients) const {
        if (t_ == 0) {
            return {};
        }
        const std::size_t w = d_ + t_;
        const auto left = policy_.template allocate<double>(d_ * t_);
        const auto rest = row_major<double, space>(left.data(), d_, t_);
        policy_.template copy<double>(matrix_view<const double, space>{plain + d_, d_, t_, w, storage_order::row_major}, rest);
        policy_.template gemm<double>(-1.0, matrix_view<const double, space>{plain, d_, d_, w, storage_order::row_major},
                                      row_major<const double, space>(coefficients, d_, t_), 1.0, rest);
        const auto squares = policy_.template allocate<double>(t_);
        policy_.transform(t_, residual_of_triangle{left.data(), plain, w, d_, t_, squares.data()}, w);
        return to_vector<Policy, double>(policy_, squares.data(), t_);
    }

    const Policy& policy_;
    std::size_t d_, t_;
    column_moments moments_;
    std::vector<double> shift_;        ///< what X and Y are counted from
    buffer_of<Policy, T> origin_ = {};  ///< the same, where the policy computes
    buffer_of<Policy, T> r_ = {};
};

}  // namespace moden::detail
