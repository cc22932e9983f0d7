#pragma once

// Sums that the normal equations need: X'X and X'Y about the means, a block of rows at a time.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/core/view.hpp>
#include <moden/regression/detail/column_moments.hpp>
#include <moden/regression/detail/solved_coefficients.hpp>

namespace moden::detail {

/// scatter(i, j) += [gram | cross](i, j).
template <class T>
struct add_block_products {
    const T* gram;
    std::size_t gram_stride;
    const T* cross;
    std::size_t cross_stride;
    std::size_t d, t;
    double* scatter;
    MODEN_HOST_DEVICE void operator()(std::size_t i, std::size_t first, std::size_t last) const {
        const std::size_t from_gram = last < d ? last : d, from_cross = first < d ? d : first;
        MODEN_INDEPENDENT
        for (std::size_t j = first; j < from_gram; ++j) {
            scatter[i * (d + t) + j] += static_cast<double>(gram[i * gram_stride + j]);
        }
        MODEN_INDEPENDENT
        for (std::size_t j = from_cross; j < last; ++j) {
            scatter[i * (d + t) + j] += static_cast<double>(cross[i * cross_stride + j - d]);
        }
    }
};

/// result(i, j) = rows(i, j) - mean(j), rows of the result `stride` apart.
template <class T>
struct centred_rows {
    const T* rows;
    const double* mean;
    std::size_t size;
    T* result;
    std::size_t stride;
    MODEN_HOST_DEVICE void operator()(std::size_t i, std::size_t first, std::size_t last) const {
        MODEN_INDEPENDENT
        for (std::size_t j = first; j < last; ++j) {
            result[i * stride + j] = static_cast<T>(static_cast<double>(rows[i * size + j]) - mean[j]);
        }
    }
};

struct diagonal_of {
    const double* matrix;
    std::size_t stride;
    double* diagonal;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { diagonal[i] = matrix[i * stride + i]; }
};

/// What b' (2 c - S b) is for every column: the part of the squares that coefficients explain. Second order in their errors.
struct explained_squares {
    const double* coefficients;  ///< d x t
    const double* cross;         ///< d rows of `stride` elements
    const double* product;       ///< d x t, S b
    std::size_t d, t, stride;
    double* explained;
    MODEN_HOST_DEVICE void operator()(std::size_t, std::size_t first, std::size_t last) const {
        for (std::size_t k = first; k < last; ++k) {
            explained[k] = 0;
        }
        for (std::size_t i = 0; i < d; ++i) {
            MODEN_INDEPENDENT
            for (std::size_t k = first; k < last; ++k) {
                explained[k] += coefficients[i * t + k] * (2 * cross[i * stride + k] - product[i * t + k]);
            }
        }
    }
};

/// [X'X | X'Y] about the means, of any number of samples.
///
/// A block of rows is multiplied in T, and blocks are added up in double precision, so that the length of the sums costs no digits. Nor
/// does the place of the origin: few targets are multiplied together with the samples, by one syrk of centred rows [X Y], many in
/// a product of their own, where they lie if their means are small beside their deviations and otherwise from centred copies.
template <class Policy, class T>
class gram_sums {
    using space = typename Policy::memory_space;

public:
    gram_sums(const Policy& policy, std::size_t d, std::size_t t)
        : policy_(policy), d_(d), t_(t), moments_(d + t), scatter_(policy.template allocate<double>(d * (d + t))) {
        policy.transform(scatter_.size(), fill_with<double>{scatter_.data(), 0.0});
    }

    const column_moments& moments() const { return moments_; }

    /// Adds rows whose moments are known ([X Y] side by side).
    void add(matrix_view<const T, space> x, matrix_view<const T, space> y, const column_moments& batch) {
        if (x.rows == 0) {
            return;
        }
        const auto mean = uploaded(policy_, batch.mean);
        const std::size_t width = d_ + t_;
        if (few_targets()) {
            // A copy that stays in cache.
            const std::size_t most = std::min(x.rows, std::clamp<std::size_t>((std::size_t{1} << 22) / width, 1024, 16384));
            const auto rows = policy_.template allocate<T>(most * width), products = policy_.template allocate<T>(width * width);
            for (std::size_t first = 0; first < x.rows; first += most) {
                const std::size_t count = std::min(most, x.rows - first);
                centre(rows_of(x, first, count), mean.data(), rows.data(), width);
                centre(rows_of(y, first, count), mean.data() + d_, rows.data() + d_, width);
                policy_.template syrk<T>(T(1), transposed(row_major<const T, space>(rows.data(), count, width)), T(0),
                                         row_major<T, space>(products.data(), width, width));
                add_products(products.data(), width, products.data() + d_, width);
            }
        } else {
            const bool apart = !means_are_small(batch);
            const std::size_t most = std::min(x.rows, std::clamp<std::size_t>((std::size_t{1} << 23) / width, 1024, 16384));
            const auto gram = policy_.template allocate<T>(d_ * d_), cross = policy_.template allocate<T>(d_ * t_);
            const auto x_copy = policy_.template allocate<T>(apart ? most * d_ : 0), y_copy = policy_.template allocate<T>(apart ? most * t_ : 0);
            for (std::size_t first = 0; first < x.rows; first += most) {
                const std::size_t count = std::min(most, x.rows - first);
                auto x_block = rows_of(x, first, count);
                auto y_block = rows_of(y, first, count);
                if (apart) {
                    centre(x_block, mean.data(), x_copy.data(), d_);
                    centre(y_block, mean.data() + d_, y_copy.data(), t_);
                    x_block = row_major<const T, space>(x_copy.data(), count, d_);
                    y_block = row_major<const T, space>(y_copy.data(), count, t_);
                }
                policy_.template syrk<T>(T(1), transposed(x_block), T(0), row_major<T, space>(gram.data(), d_, d_));
                policy_.template gemm<T>(T(1), transposed(x_block), y_block, T(0), row_major<T, space>(cross.data(), d_, t_));
                add_products(gram.data(), d_, cross.data(), t_);
            }
            if (!apart) {
                add_outer(mean.data(), -static_cast<double>(batch.count));
            }
        }
        shift_mean(batch);
    }

    void merge(const gram_sums& other) {
        if (other.moments_.count > 0) {
            policy_.transform(scatter_.size(), add_to<double>{other.scatter_.data(), scatter_.data()});
            shift_mean(other.moments_);
        }
    }

    /// Solves the normal equations. The condition number is infinite, and there are no coefficients, where they are not positive
    /// definite. Refuses options that cannot be served, and columns that are constant.
    solved_coefficients<Policy> solve(const least_squares_options& options, const char* function) const {
        refuse_idle_columns<T>(moments_, d_, options, function);
        const auto [work, scale, system, right] = scaled_problem(options);
        const double norm = one_norm(policy_, system.data(), d_, d_, d_);
        solved_coefficients<Policy> result;
        const auto found = policy_.template cholesky_solve<double>(row_major<double, space>(system.data(), d_, d_),
                                                                   row_major<double, space>(right.data(), d_, t_ + d_));
        if (found == definiteness::not_positive_definite) {
            return result;
        }
        // The inverse comes with the solution, for 2 d^3 flops, and with it the condition number, not an estimate of it.
        const double condition = std::sqrt(norm * one_norm(policy_, right.data() + t_, d_, d_, t_ + d_));
        if (!std::isfinite(condition)) {
            return result;
        }
        result.condition = condition;
        result.values = policy_.template allocate<double>(d_ * t_);
        policy_.transform_grid(d_, t_, unscaled_coefficients{right.data(), scale.data(), t_ + d_, t_, result.values.data()});
        result.residual_squares = residual_squares(work, result.values.data(), options);
        return result;
    }

    /// Throws the error that names the columns that make the normal equations singular.
    [[noreturn]] void refuse(const least_squares_options& options, const char* function, const char* advice) const {
        refuse_dependent(policy_, scaled_problem(options).system.data(), d_, function, advice);
    }

private:
    /// Normal equations with a unit diagonal.
    struct equations {
        buffer_of<Policy, double> moments;  ///< d x (d + t), as they are
        buffer_of<Policy, double> scale;
        buffer_of<Policy, double> system;  ///< d x d
        buffer_of<Policy, double> right;   ///< d x (t + d): of the targets, and the identity
    };

    equations scaled_problem(const least_squares_options& options) const {
        auto moments = second_moments(options);
        auto scale = uploaded(policy_, scales(moments, options));
        const auto keep = uploaded(policy_, kept_targets<T>(moments_, d_, options));
        auto system = policy_.template allocate<double>(d_ * d_);
        auto right = policy_.template allocate<double>(d_ * (t_ + d_));
        policy_.transform_grid(d_, d_ + t_ + d_,
                               scaled_system{moments.data(), d_ + t_, d_, t_, scale.data(), scale.data(), keep.data(), options.ridge,
                                             system.data(), right.data()});
        return {std::move(moments), std::move(scale), std::move(system), std::move(right)};
    }

    /// Whether one syrk of [X Y], which multiplies targets with each other too, costs at most a tenth more than what is needed. A product
    /// with so few columns would run at half the rate or less.
    bool few_targets() const { return 4 * t_ <= d_; }

    void centre(matrix_view<const T, space> rows, const double* mean, T* result, std::size_t stride) const {
        policy_.transform_rows(rows.rows, rows.columns, centred_rows<T>{rows.data, mean, rows.columns, result, stride});
    }

    void add_products(const T* gram, std::size_t gram_stride, const T* cross, std::size_t cross_stride) {
        policy_.transform_rows(d_, d_ + t_, add_block_products<T>{gram, gram_stride, cross, cross_stride, d_, t_, scatter_.data()});
    }

    void add_outer(const double* v, double weight) {
        policy_.transform_grid(d_, d_ + t_, add_outer_square{v, weight, d_ + t_, scatter_.data()});
    }

    /// The scatter about the common mean, when that of other samples about their own has been added.
    void shift_mean(const column_moments& other) {
        const double n = static_cast<double>(moments_.count), m = static_cast<double>(other.count);
        if (moments_.count > 0) {
            std::vector<double> shift(d_ + t_);
            for (std::size_t j = 0; j < d_ + t_; ++j) {
                shift[j] = other.mean[j] - moments_.mean[j];
            }
            add_outer(uploaded(policy_, shift).data(), n * m / (n + m));
        }
        moments_.merge(other);
    }

    /// What the regression is about: the scatter, or without an intercept the products themselves.
    buffer_of<Policy, double> second_moments(const least_squares_options& options) const {
        auto work = policy_.template allocate<double>(scatter_.size());
        policy_.copy(static_cast<const double*>(scatter_.data()), work.data(), scatter_.size());
        if (options.intercept == intercept_term::none) {
            const auto mean = uploaded(policy_, moments_.mean);
            policy_.transform_grid(d_, d_ + t_, add_outer_square{mean.data(), static_cast<double>(moments_.count), d_ + t_, work.data()});
        }
        return work;
    }

    /// What brings the diagonal to 1.
    std::vector<double> scales(const buffer_of<Policy, double>& work, const least_squares_options& options) const {
        const auto diagonal = policy_.template allocate<double>(d_);
        policy_.transform(d_, diagonal_of{work.data(), d_ + t_, diagonal.data()});
        auto scale = to_vector<Policy, double>(policy_, diagonal.data(), d_);
        for (double& x : scale) {
            x = x + options.ridge > 0 ? 1 / std::sqrt(x + options.ridge) : 1;
        }
        return scale;
    }

    std::vector<double> residual_squares(const buffer_of<Policy, double>& work, const double* coefficients,
                                         const least_squares_options& options) const {
        if (t_ == 0) {
            return {};
        }
        const auto product = policy_.template allocate<double>(d_ * t_);
        const matrix_view<const double, space> gram{work.data(), d_, d_, d_ + t_, storage_order::row_major};
        policy_.template gemm<double>(1.0, gram, row_major<const double, space>(coefficients, d_, t_), 0.0,
                                      row_major<double, space>(product.data(), d_, t_));
        const auto explained = policy_.template allocate<double>(t_);
        policy_.transform_rows(1, t_, explained_squares{coefficients, work.data() + d_, product.data(), d_, t_, d_ + t_, explained.data()});
        auto result = to_vector<Policy, double>(policy_, explained.data(), t_);
        for (std::size_t k = 0; k < t_; ++k) {
            const double total = options.intercept == intercept_term::fitted ? moments_.squares[d_ + k] : moments_.raw_squares(d_ + k);
            result[k] = total - result[k];
        }
        return result;
    }

    const Policy& policy_;
    std::size_t d_, t_;
    column_moments moments_;
    buffer_of<Policy, double> scatter_;
};

}  // namespace moden::detail
