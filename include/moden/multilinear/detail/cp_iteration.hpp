#pragma once

// The alternating least squares iteration behind cp_als.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <numeric>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/random.hpp>
#include <moden/core/view.hpp>
#include <moden/linalg/detail/solve.hpp>
#include <moden/multilinear/detail/mode_svd.hpp>
#include <moden/multilinear/mttkrp.hpp>

namespace moden::detail {

/// Elementwise product in place.
template <class T>
struct multiply_by {
    const T* factor;
    T* product;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { product[i] *= factor[i]; }
};

template <class T>
struct column_norm {
    const T* matrix;
    std::size_t rows;
    std::size_t columns;
    T* norms;
    MODEN_HOST_DEVICE void operator()(std::size_t r) const {
        double sum = 0;
        for (std::size_t i = 0; i < rows; ++i) {
            const double x = static_cast<double>(matrix[i * columns + r]);
            sum += x * x;
        }
        norms[r] = static_cast<T>(std::sqrt(sum));
    }
};

/// Divides column order[r] by its norm and moves it to column r; columns of zeros stay.
template <class T>
struct normalize_and_reorder {
    const T* matrix;
    const T* norms;
    const std::size_t* order;
    std::size_t columns;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t i, std::size_t r) const {
        const std::size_t from = order == nullptr ? r : order[r];
        const T norm = norms[from];
        result[i * columns + r] = norm > T(0) ? matrix[i * columns + from] / norm : matrix[i * columns + from];
    }
};

/// |X - sum_r ...|^2 with the weights already in the first factor, from the difference itself: the unfolding that puts
/// the first `split` modes into rows is compared with (kr of the first) (kr of the others)', a block of rows at a time.
template <class Policy, class T, class Space>
double squared_cp_residual(const Policy& policy, const tensor_view<const T, Space>& tensor,
                           const std::vector<matrix_view<const T, Space>>& factors) {
    const std::size_t rank = factors[0].columns;
    std::size_t split = 1;
    std::size_t rows = tensor.shape[0];
    const std::size_t size = tensor.size();
    while (split < factors.size() && rows * rows < size) {
        rows *= tensor.shape[split++];
    }
    const std::size_t columns = size / rows;
    const auto middle = factors.begin() + static_cast<std::ptrdiff_t>(split);
    const auto left = khatri_rao_buffer<Policy, T, Space>(policy, {factors.begin(), middle}, rank);
    const auto right = khatri_rao_buffer<Policy, T, Space>(policy, {middle, factors.end()}, rank);
    constexpr std::size_t block_elements = std::size_t{1} << 21;
    const std::size_t block = std::clamp<std::size_t>(block_elements / columns, 1, rows);
    auto rebuilt = policy.template allocate<T>(block * columns);
    double sum = 0;
    for (std::size_t first = 0; first < rows; first += block) {
        const std::size_t count = std::min(block, rows - first);
        policy.template gemm<T>(T(1), matrix_view<const T, Space>{left.data() + first * rank, count, rank, rank},
                                transposed(matrix_view<const T, Space>{right.data(), columns, rank, rank}), T(0),
                                matrix_view<T, Space>{rebuilt.data(), count, columns, columns});
        sum += policy.reduce(count * columns, 0.0, squared_difference_of<T>{tensor.data + first * columns, rebuilt.data()}, plus{});
    }
    return sum;
}

/// The state of the iteration: one dense row-major factor and one Gram matrix per mode.
template <class Policy, class T, class Space>
class cp_iteration {
public:
    using buffer = buffer_of<Policy, T>;

    cp_iteration(const Policy& policy, const tensor_view<const T, Space>& tensor, std::size_t rank)
        : policy_(policy), tensor_(tensor), rank_(rank), norms_(policy.template allocate<T>(rank)) {
        for (const std::size_t extent : tensor.shape) {
            factors_.push_back(policy.template allocate<T>(extent * rank));
            grams_.push_back(policy.template allocate<T>(rank * rank));
        }
    }

    void start_from(const std::vector<matrix_view<const T, Space>>& factors) {
        for (std::size_t n = 0; n < factors.size(); ++n) {
            policy_.template copy<T>(factors[n], mutable_factor(n));
            update_gram(n);
        }
    }

    void start_at_random(std::uint64_t seed) {
        for (std::size_t n = 0; n < factors_.size(); ++n) {
            fill_normal(policy_, factors_[n].data(), tensor_.shape[n] * rank_, seed, n);
            update_gram(n);
        }
    }

    void start_from_singular_vectors(std::uint64_t seed, double energy) {
        start_at_random(seed);
        for (std::size_t n = 0; n < factors_.size(); ++n) {
            const mode_geometry geometry = geometry_of(tensor_.shape, n);
            const std::size_t most = std::min({rank_, geometry.extent, geometry.fibers()});
            const auto basis = compute_mode_basis<Policy, T, Space>(policy_, tensor_.data, geometry, truncation{most}, energy,
                                                                    hosvd_options{.method = svd_method::gram}, "cp_als");
            policy_.template copy<T>(row_major<const T, Space>(basis.factor.data(), geometry.extent, basis.report.rank),
                                     columns_of(mutable_factor(n), 0, basis.report.rank));
            update_gram(n);
        }
    }

    /// One sweep; returns |X - X^|^2 from |X|^2 - 2 <X, X^> + |X^|^2, or from the difference where that identity cancels.
    double sweep(double energy) {
        const std::size_t order = factors_.size();
        auto hadamard = policy_.template allocate<T>(rank_ * rank_);
        double inner = 0;
        double model = 0;
        normalize(order - 1);
        for (std::size_t n = 0; n < order; ++n) {
            policy_.transform(rank_ * rank_, fill_with<T>{hadamard.data(), T(1)});
            for (std::size_t k = 0; k < order; ++k) {
                if (k != n) {
                    policy_.transform(rank_ * rank_, multiply_by<T>{grams_[k].data(), hadamard.data()});
                }
            }
            const std::size_t count = tensor_.shape[n] * rank_;
            auto product = policy_.template allocate<T>(count);
            mttkrp_into<Policy, T, Space>(policy_, tensor_, views(), n, product.data());
            policy_.copy(static_cast<const T*>(product.data()), factors_[n].data(), count);
            // U H = V, that is H U' = V' with H symmetric.
            solve_semidefinite<Policy, T, Space>(policy_, row_major<const T, Space>(hadamard.data(), rank_, rank_),
                                                 transposed(mutable_factor(n)));
            if (n + 1 < order) {
                normalize(n);  // the scale is found again in the next mode
            } else {
                update_gram(n);
                inner = policy_.reduce(count, 0.0, product_of<T>{product.data(), factors_[n].data()}, plus{});
                model = policy_.reduce(rank_ * rank_, 0.0, product_of<T>{hadamard.data(), grams_[n].data()}, plus{});
            }
        }
        const double squared_error = energy - 2 * inner + model;
        constexpr double resolved = 1e3 * static_cast<double>(std::numeric_limits<T>::epsilon());
        return squared_error > resolved * energy ? squared_error : squared_cp_residual<Policy, T, Space>(policy_, tensor_, views());
    }

    /// Columns of unit length with the largest weights first; returns the weights. `factors` become the result's.
    template <class Matrix>
    std::vector<T> finish(std::vector<Matrix>& factors) {
        std::vector<T> weights(rank_, T(1));
        std::vector<std::vector<T>> norms;
        for (std::size_t n = 0; n < factors_.size(); ++n) {
            policy_.transform(rank_, column_norm<T>{factors_[n].data(), tensor_.shape[n], rank_, norms_.data()}, tensor_.shape[n]);
            norms.push_back(to_vector<Policy, T>(policy_, norms_.data(), rank_));
            std::transform(weights.begin(), weights.end(), norms.back().begin(), weights.begin(), std::multiplies<>());
        }
        std::vector<std::size_t> order(rank_);
        std::iota(order.begin(), order.end(), std::size_t{0});
        std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return weights[a] > weights[b]; });
        auto order_there = policy_.template allocate<std::size_t>(rank_);
        policy_.upload(static_cast<const std::size_t*>(order.data()), order_there.data(), rank_);
        for (std::size_t n = 0; n < factors_.size(); ++n) {
            policy_.upload(static_cast<const T*>(norms[n].data()), norms_.data(), rank_);
            factors.push_back(policy_.template make_tensor<T, 2>({tensor_.shape[n], rank_}));
            policy_.transform_grid(tensor_.shape[n], rank_,
                                   normalize_and_reorder<T>{factors_[n].data(), norms_.data(), order_there.data(), rank_,
                                                            factors.back().data()});
        }
        std::stable_sort(weights.begin(), weights.end(), std::greater<>());
        return weights;
    }

    std::vector<matrix_view<const T, Space>> views() const {
        std::vector<matrix_view<const T, Space>> result;
        for (std::size_t n = 0; n < factors_.size(); ++n) {
            result.push_back(row_major<const T, Space>(factors_[n].data(), tensor_.shape[n], rank_));
        }
        return result;
    }

private:
    matrix_view<T, Space> mutable_factor(std::size_t n) {
        return row_major<T, Space>(factors_[n].data(), tensor_.shape[n], rank_);
    }

    void normalize(std::size_t n) {
        const std::size_t rows = tensor_.shape[n];
        T* const matrix = factors_[n].data();
        policy_.transform(rank_, column_norm<T>{matrix, rows, rank_, norms_.data()}, rows);
        policy_.transform_grid(rows, rank_, normalize_and_reorder<T>{matrix, norms_.data(), nullptr, rank_, matrix});
        update_gram(n);
    }

    void update_gram(std::size_t n) {
        policy_.template syrk<T>(T(1), transposed(matrix_view<const T, Space>(mutable_factor(n))), T(0),
                                 row_major<T, Space>(grams_[n].data(), rank_, rank_));
    }

    const Policy& policy_;
    tensor_view<const T, Space> tensor_;
    std::size_t rank_;
    buffer norms_;
    std::vector<buffer> factors_;
    std::vector<buffer> grams_;
};

}  // namespace moden::detail
