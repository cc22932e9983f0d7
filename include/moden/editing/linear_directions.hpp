#pragma once

// Directions without a tensor model: principal components of codes, differences of means, and what a layer's weights respond
// to most.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/editing/detail/model_synthesis.hpp>
#include <moden/linalg/decompositions.hpp>
#include <moden/policy/cpu.hpp>

namespace moden {

/// Principal components of codes.
template <class Matrix>
struct principal_directions {
    Matrix mean;                     ///< 1 x d
    Matrix directions;               ///< k x d, orthonormal rows, signs fixed
    std::vector<double> deviations;  ///< k, descending: standard deviation of the codes along each direction (N - 1 degrees of freedom)
    double total_variance = 0;       ///< along all d directions
};

namespace detail {

/// Mean of every column, in double precision.
template <class T>
struct column_mean {
    const T* rows;
    std::size_t count;
    std::size_t size;
    double* means;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const {
        double sum = 0;
        for (std::size_t n = 0; n < count; ++n) {
            sum += static_cast<double>(rows[n * size + i]);
        }
        means[i] = sum / static_cast<double>(count);
    }
};

/// gram += weight shift shift'.
template <class T>
struct add_outer_product {
    const double* shift;
    double weight;
    std::size_t size;
    T* gram;
    MODEN_HOST_DEVICE void operator()(std::size_t i, std::size_t j) const {
        gram[i * size + j] += static_cast<T>(weight * shift[i] * shift[j]);
    }
};

/// Brings a row to length 1; rows of zeros stay.
template <class T>
struct normalize_row {
    T* rows;
    std::size_t size;
    MODEN_HOST_DEVICE void operator()(std::size_t n) const {
        const double square = square_of_row(rows + n * size, size);
        const double factor = square > 0 ? 1 / std::sqrt(square) : 0;
        for (std::size_t i = 0; i < size; ++i) {
            rows[n * size + i] = static_cast<T>(factor * static_cast<double>(rows[n * size + i]));
        }
    }
};

/// mean += share * (other - mean), and the difference as it was.
struct move_mean {
    const double* other;
    double share;
    double* mean;
    double* shift;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const {
        shift[i] = other[i] - mean[i];
        mean[i] += share * shift[i];
    }
};

}  // namespace detail

/// Principal components of codes that come in batches: any number of codes in the memory of one d x d matrix. Exact, in any
/// order, and two accumulators can be merged.
template <class Policy, class T>
class pca_accumulator {
public:
    /// \param policy where to compute; must outlive the accumulator
    /// \param size   d, entries of a code
    pca_accumulator(const Policy& policy, std::size_t size)
        : policy_(policy), size_(size), mean_(policy.template allocate<double>(size)), scatter_(policy.template allocate<T>(size * size)) {
        detail::require<argument_error>(size > 0, "pca_accumulator: codes without entries");
        policy.transform(size, detail::fill_with<double>{mean_.data(), 0.0});
        policy.transform(size * size, detail::fill_with<T>{scatter_.data(), T(0)});
    }

    std::size_t count() const { return count_; }

    /// Takes a batch of codes, N x d. Cost: N d^2 flops, memory for a copy of the batch.
    /// \throws shape_error if codes have another size; argument_error for NaN or infinity
    template <any_tensor Codes>
    void add(const Codes& codes) {
        using space = typename Policy::memory_space;
        const auto argument = detail::evaluate(policy_, codes);
        const auto& view = argument.view();
        detail::require<shape_error>(view.order() == 2 && view.shape[1] == size_, "pca_accumulator: codes of ", view.shape, " (expected N x ", size_, ")");
        detail::require_finite(policy_, view.data, view.size(), "pca_accumulator", "the codes");
        const std::size_t rows = view.shape[0];
        if (rows == 0) {
            return;
        }
        const auto means = policy_.template allocate<double>(size_);
        policy_.transform(size_, detail::column_mean<T>{view.data, rows, size_, means.data()}, rows);
        const auto centred = policy_.template allocate<T>(view.size());
        policy_.transform(view.size(), detail::subtract_line<T, double>{view.data, means.data(), size_, centred.data()});
        policy_.template syrk<T>(T(1), transposed(row_major<const T, space>(centred.data(), rows, size_)), T(1), scatter());
        shift_mean(means.data(), rows);
    }

    /// Takes the codes of another accumulator of the same policy.
    /// \throws shape_error if its codes have another size
    void merge(const pca_accumulator& other) {
        detail::require<shape_error>(other.size_ == size_, "pca_accumulator: codes of ", other.size_, " entries (expected ", size_, ")");
        if (other.count_ > 0) {
            policy_.transform(size_ * size_, detail::add_to<T>{other.scatter_.data(), scatter_.data()});
            shift_mean(other.mean_.data(), other.count_);
        }
    }

    /// The `directions` leading components of all codes so far.
    ///
    /// Deviations below sqrt(eps) times the largest are noise: they come from a Gram matrix.
    /// \throws argument_error if there are fewer than two codes, or `directions` is 0 or above d
    principal_directions<policy_tensor<Policy, T, 2>> solve(std::size_t directions) const {
        using space = typename Policy::memory_space;
        detail::require<argument_error>(count_ >= 2, "pca: ", count_, " codes (expected at least 2)");
        detail::require<argument_error>(directions >= 1 && directions <= size_, "pca: ", directions, " directions (expected 1 to ", size_, ")");
        const auto work = policy_.template allocate<T>(size_ * size_);
        policy_.copy(static_cast<const T*>(scatter_.data()), work.data(), size_ * size_);
        const auto values = policy_.template allocate<T>(size_);
        const auto vectors = policy_.template allocate<T>(size_ * directions);
        const auto columns = column_major<T, space>(vectors.data(), size_, directions);
        policy_.template eigh<T>(row_major<T, space>(work.data(), size_, size_), values.data(), columns);
        detail::fix_signs(policy_, columns);
        principal_directions<policy_tensor<Policy, T, 2>> result{policy_.template make_tensor<T, 2>({1, size_}),
                                                                 policy_.template make_tensor<T, 2>({directions, size_}), {}, 0};
        policy_.transform(size_, detail::convert_to<double, T>{mean_.data(), result.mean.data()});
        policy_.copy(static_cast<const T*>(vectors.data()), result.directions.data(), size_ * directions);
        const auto spectrum = detail::to_vector<Policy, T>(policy_, values.data(), size_);
        const double freedom = static_cast<double>(count_ - 1);
        for (std::size_t i = 0; i < size_; ++i) {
            const double variance = std::max(0.0, static_cast<double>(spectrum[i])) / freedom;
            result.total_variance += variance;
            if (i < directions) {
                result.deviations.push_back(std::sqrt(variance));
            }
        }
        return result;
    }

private:
    auto scatter() const { return row_major<T, typename Policy::memory_space>(scatter_.data(), size_, size_); }

    /// The mean and the scatter about it when `rows` codes of another mean have been added to the scatter about their own.
    void shift_mean(const double* means, std::size_t rows) {
        const double n = static_cast<double>(count_), m = static_cast<double>(rows);
        const auto shift = policy_.template allocate<double>(size_);
        policy_.transform(size_, detail::move_mean{means, m / (n + m), mean_.data(), shift.data()});
        policy_.transform_grid(size_, size_, detail::add_outer_product<T>{shift.data(), n * m / (n + m), size_, scatter_.data()});
        count_ += rows;
    }

    const Policy& policy_;
    std::size_t size_;
    std::size_t count_ = 0;
    detail::buffer_of<Policy, double> mean_;
    detail::buffer_of<Policy, T> scatter_;
};

/// The leading principal components of codes.
///
/// \param policy     where to compute
/// \param codes      N x d, N >= 2, finite
/// \param directions how many, 1 to d
/// \return           mean, orthonormal directions, standard deviations along them
/// \throws shape_error if the codes are no matrix; argument_error for fewer than two codes, too many directions, NaN or infinity
///
/// Cost: N d^2 flops and the eigenvectors of a d x d matrix; memory for it and a copy of the codes.
/// Source: 001 section 2.5 (Härkönen et al. 2020).
/// \snippet tests/editing/directions.cpp pca_directions
template <execution_policy Policy, any_tensor Codes>
auto pca_directions(const Policy& policy, const Codes& codes, std::size_t directions) {
    const auto argument = detail::evaluate(policy, codes);
    detail::require<shape_error>(argument.view().order() == 2 && argument.view().size() > 0, "pca_directions: codes of ",
                                 argument.view().shape, " (expected N x d)");
    pca_accumulator<Policy, value_type_of<Codes>> sums(policy, argument.view().shape[1]);
    sums.add(codes);
    return sums.solve(directions);
}

template <any_tensor Codes>
auto pca_directions(const Codes& codes, std::size_t directions) {
    return pca_directions(cpu_policy{}, codes, directions);
}

/// The difference of the means of two sets of codes, of length |mean(positive) - mean(negative)|.
///
/// \param policy   where to compute
/// \param positive N x d, codes that have an attribute
/// \param negative M x d, codes that have it not
/// \return         1 x d
/// \throws shape_error if either is empty, which is named, or sizes differ; argument_error for NaN or infinity
///
/// Cost: one pass. Source: Paper V Eq. 10.
/// \snippet tests/editing/directions.cpp mean_difference
template <execution_policy Policy, any_tensor Positive, any_tensor Negative>
auto mean_difference_direction(const Policy& policy, const Positive& positive, const Negative& negative) {
    using T = value_type_of<Positive>;
    static_assert(std::is_same_v<T, value_type_of<Negative>>, "moden: mean_difference_direction of codes of different type");
    const auto plus = detail::evaluate(policy, positive);
    const auto minus = detail::evaluate(policy, negative);
    const auto& one = plus.view();
    const auto& other = minus.view();
    detail::require<shape_error>(one.order() == 2 && other.order() == 2 && one.shape[1] == other.shape[1] && one.shape[1] > 0,
                                 "mean_difference_direction: codes of ", one.shape, " and ", other.shape, " (expected N x d and M x d)");
    detail::require<shape_error>(one.shape[0] > 0, "mean_difference_direction: no positive codes (", one.shape, ")");
    detail::require<shape_error>(other.shape[0] > 0, "mean_difference_direction: no negative codes (", other.shape, ")");
    detail::require_finite(policy, one.data, one.size(), "mean_difference_direction", "the positive codes");
    detail::require_finite(policy, other.data, other.size(), "mean_difference_direction", "the negative codes");
    const std::size_t size = one.shape[1];
    const auto means = policy.template allocate<double>(2 * size);
    policy.transform(size, detail::column_mean<T>{one.data, one.shape[0], size, means.data()}, one.shape[0]);
    policy.transform(size, detail::column_mean<T>{other.data, other.shape[0], size, means.data() + size}, other.shape[0]);
    policy.transform(size, detail::difference_of<double>{means.data(), means.data() + size, means.data()});
    auto result = policy.template make_tensor<T, 2>({1, size});
    policy.transform(size, detail::convert_to<double, T>{means.data(), result.data()});
    return result;
}

template <any_tensor Positive, any_tensor Negative>
auto mean_difference_direction(const Positive& positive, const Negative& negative) {
    return mean_difference_direction(cpu_policy{}, positive, negative);
}

/// How weight_directions treats the rows of the weights.
enum class weight_scaling {
    unit_rows,  ///< every output of the layer counts the same, as in the authors' code
    as_stored   ///< as 001 Eq. 2.24 is printed
};

/// Directions with their strengths.
template <class Matrix>
struct weight_directions_result {
    Matrix directions;           ///< k x d, orthonormal rows, signs fixed
    std::vector<double> gains;   ///< k, descending: |A n| of each (A with rows scaled as asked)
};

/// Closed-form directions of a layer y = A w + b: those n of length 1 that change y most, the leading right singular vectors
/// of A.
///
/// \param policy     where to compute
/// \param weights    A, m x d: the affine layers of a generator, those of several layers below each other
/// \param directions how many, 1 to d
/// \param scaling    whether rows are brought to length 1 first
/// \return           directions as rows, and their gains
/// \throws shape_error if the weights are no matrix; argument_error for too many directions, NaN or infinity
///
/// Cost: m d^2 flops and the eigenvectors of a d x d matrix; memory for it and a copy of A.
/// Source: 001 Eqs. 2.23, 2.24 (Shen & Zhou 2021).
/// \snippet tests/editing/directions.cpp weight_directions
template <execution_policy Policy, any_tensor Weights>
auto weight_directions(const Policy& policy, const Weights& weights, std::size_t directions, weight_scaling scaling = weight_scaling::unit_rows) {
    using T = value_type_of<Weights>;
    using space = typename Policy::memory_space;
    return detail::with_finite_matrix(policy, weights, "weight_directions", [&](matrix_view<const T, space> a) {
        const std::size_t d = a.columns;
        detail::require<argument_error>(directions >= 1 && directions <= d, "weight_directions: ", directions, " directions (expected 1 to ", d, ")");
        const auto rows = policy.template allocate<T>(a.rows * d);
        policy.copy(a.data, rows.data(), a.rows * d);
        if (scaling == weight_scaling::unit_rows) {
            policy.transform(a.rows, detail::normalize_row<T>{rows.data(), d}, d);
        }
        const auto gram = policy.template allocate<T>(d * d);
        policy.template syrk<T>(T(1), transposed(row_major<const T, space>(rows.data(), a.rows, d)), T(0), row_major<T, space>(gram.data(), d, d));
        const auto values = policy.template allocate<T>(d);
        weight_directions_result<policy_tensor<Policy, T, 2>> result{policy.template make_tensor<T, 2>({directions, d}), {}};
        const auto columns = column_major<T, space>(result.directions.data(), d, directions);  // rows of the result
        policy.template eigh<T>(row_major<T, space>(gram.data(), d, d), values.data(), columns);
        detail::fix_signs(policy, columns);
        const auto spectrum = detail::to_vector<Policy, T>(policy, values.data(), d);
        for (std::size_t i = 0; i < directions; ++i) {
            result.gains.push_back(std::sqrt(std::max(0.0, static_cast<double>(spectrum[i]))));
        }
        return result;
    });
}

template <any_tensor Weights>
auto weight_directions(const Weights& weights, std::size_t directions, weight_scaling scaling = weight_scaling::unit_rows) {
    return weight_directions(cpu_policy{}, weights, directions, scaling);
}

}  // namespace moden
