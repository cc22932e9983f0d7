#pragma once

// A map at a point as a linear operator that counts, checks what it gets, and never asks for more vectors than allowed.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/error.hpp>
#include <moden/core/macros.hpp>
#include <moden/core/random.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/core/view.hpp>
#include <moden/linalg/detail/panels.hpp>
#include <moden/linalg/detail/project_away.hpp>
#include <moden/maps/detail/products.hpp>
#include <moden/maps/differentiable_map.hpp>

namespace moden::detail {

/// Refuses a point that does not fit a map or is not finite.
template <class Policy, class View>
void check_map_point(const Policy& policy, const View& x, std::size_t size, const char* function) {
    check_map_vector(x.shape, size, function, "x");
    require_finite(policy, x.data, size, function, "x");
}

/// J of a map at x and its adjoint, applied to columns of column-major matrices (rows of row-major ones).
template <class Policy, class T, class Map>
class jacobian_operator {
public:
    using space = typename Policy::memory_space;

    /// `x` has the map's size; `batch` 0 means any number of vectors per call. `function` is named in errors.
    jacobian_operator(const Policy& policy, const Map& map, const T* x, std::size_t batch, const char* function)
        : policy_(&policy), map_(&map), batch_(batch), function_(function), x_(policy.template make_tensor<T, 1>({map.input_size()})) {
        policy.copy(x, x_.data(), x_.size());
    }

    std::size_t inputs() const { return map_->input_size(); }
    std::size_t outputs() const { return map_->output_size(); }
    std::size_t tangents() const { return tangents_; }
    std::size_t cotangents() const { return cotangents_; }
    std::size_t calls() const { return calls_; }
    const auto& point() const { return x_; }

    /// result <- J vectors, of `count` columns.
    void forward(const T* vectors, std::size_t count, T* result) {
        tangents_ += count;
        apply(vectors, count, inputs(), outputs(), result, [&](const auto& block) { return checked_jvp<T>(*policy_, *map_, x_, block, function_); });
    }

    /// result <- J' vectors.
    void backward(const T* vectors, std::size_t count, T* result) {
        cotangents_ += count;
        apply(vectors, count, outputs(), inputs(), result, [&](const auto& block) { return checked_vjp<T>(*policy_, *map_, x_, block, function_); });
    }

private:
    template <class Product>
    void apply(const T* vectors, std::size_t count, std::size_t from, std::size_t to, T* result, Product product) {
        const std::size_t at_once = batch_ > 0 ? batch_ : std::max<std::size_t>(count, 1);
        for (std::size_t first = 0; first < count; first += at_once) {
            const std::size_t some = std::min(at_once, count - first);
            auto block = policy_->template make_tensor<T, 2>({some, from});
            policy_->copy(vectors + first * from, block.data(), some * from);
            const auto products = product(block);
            ++calls_;
            policy_->copy(static_cast<const T*>(products.data()), result + first * to, some * to);
        }
    }

    const Policy* policy_;
    const Map* map_;
    std::size_t batch_;
    const char* function_;
    policy_tensor<Policy, T, 1> x_;
    std::size_t tangents_ = 0, cotangents_ = 0, calls_ = 0;
};

/// |left_j - values_j right_j| of every column j.
template <class T>
struct column_residual {
    const T* left;
    const T* right;
    const T* values;
    std::size_t rows;
    double* norms;
    MODEN_HOST_DEVICE void operator()(std::size_t j) const {
        double sum = 0;
        for (std::size_t i = 0; i < rows; ++i) {
            const double x = static_cast<double>(left[j * rows + i]) - static_cast<double>(values[j]) * static_cast<double>(right[j * rows + i]);
            sum += x * x;
        }
        norms[j] = std::sqrt(sum);
    }
};

template <class Policy, class T>
std::vector<double> column_residuals(const Policy& policy, const T* left, const T* right, const T* values, std::size_t rows, std::size_t columns) {
    auto norms = policy.template allocate<double>(columns);
    policy.transform(columns, column_residual<T>{left, right, values, rows, norms.data()}, rows);
    return to_vector<Policy, double>(policy, norms.data(), columns);
}

/// W <- an orthonormal basis of what is left of span(W) without span(Q), filled up with random directions where nothing is left.
/// Both column-major; Q orthonormal; Q and W together must fit their space.
template <class Policy, class T, class Space>
void orthonormalize_block(const Policy& policy, matrix_view<const T, Space> q, matrix_view<T, Space> w, std::uint64_t seed) {
    // A column that was next to zero after the projection is noise, which need not be orthogonal to Q; the triangular factor of the
    // next pass shows it. "Twice is enough" (Parlett 1998) holds for the others.
    constexpr int patience = 3, most = 20;
    const std::size_t k = w.columns;
    std::vector<int> fresh(k, 0);  // the pass in which a column was replaced by random numbers, of which much may go at first
    auto triangle = policy.template allocate<T>(k * k);
    for (int pass = 1; pass <= most; ++pass) {
        project_away<T>(policy, q, w, 1);
        policy.template qr<T>(w, column_major<T, Space>(triangle.data(), k, k));
        if (q.columns == 0) {
            return;
        }
        if (pass == 1) {
            continue;
        }
        const std::vector<T> r = to_vector<Policy, T>(policy, triangle.data(), k * k);
        bool orthogonal = true;
        for (std::size_t j = 0; j < k; ++j) {
            if (!(std::abs(r[j * k + j]) > T(0.5))) {
                orthogonal = false;
                if (pass >= patience && (fresh[j] == 0 || pass > fresh[j] + 1)) {
                    fill_normal(policy, w.data + j * w.rows, w.rows, seed, (std::uint64_t{1} << 32) + static_cast<std::uint64_t>(pass) * k + j);
                    fresh[j] = pass;
                }
            }
        }
        if (orthogonal) {
            return;
        }
    }
    throw solver_error(message("orthonormalize_block: ", k, " columns of ", w.rows, " entries beside ", q.columns, " others do not become orthogonal"));
}

/// Refuses maps whose jvp and vjp are not adjoint to each other: <J v_i, u_j> (`forward`, columns x count, column-major) against
/// <v_i, J' u_j> (`backward`). Both lie on the host; `scale` is the size of J.
template <class T>
void require_adjoint(const std::vector<T>& forward, const std::vector<T>& backward, double scale, const char* function) {
    const double allowed = std::sqrt(static_cast<double>(std::numeric_limits<T>::epsilon()));
    double worst = 0;
    std::size_t where = 0;
    for (std::size_t i = 0; i < forward.size(); ++i) {
        const double apart = std::abs(static_cast<double>(forward[i]) - static_cast<double>(backward[i]));
        if (apart > worst) {
            worst = apart;
            where = i;
        }
    }
    require<argument_error>(worst <= allowed * scale, function, ": jvp and vjp of the map disagree, <J v, u> = ",
                            static_cast<double>(forward.empty() ? T(0) : forward[where]) / scale, " and <v, J' u> = ",
                            static_cast<double>(backward.empty() ? T(0) : backward[where]) / scale,
                            " relative to the size of J; see check_derivatives");
}

/// What a method has found: u (outputs x k) and v (inputs x k), column-major.
template <class Policy, class T>
struct found_triplets {
    buffer_of<Policy, T> u;
    buffer_of<Policy, T> v;
    std::vector<T> values;
    std::vector<double> residuals;
    bool converged = false, stopped = false, zero = false;
    std::size_t iterations = 0;

    double largest_residual() const { return residuals.empty() ? 0 : *std::max_element(residuals.begin(), residuals.end()); }
};

/// The triplets that orthonormal V (right x k) and A V (left x k, in `u`) contain: U S P' = A V by the thin SVD, V <- V P, `z` <- A' U by
/// `adjoint(u, z)`, and the residuals |A' u_i - s_i v_i|, all of products that were taken.
template <class Policy, class T, class Adjoint>
void ritz_triplets(const Policy& policy, std::size_t left, std::size_t right, std::size_t k, buffer_of<Policy, T>& u, buffer_of<Policy, T>& v,
                   buffer_of<Policy, T>& z, found_triplets<Policy, T>& found, Adjoint adjoint) {
    using space = typename Policy::memory_space;
    const auto singular = policy.template allocate<T>(k), rotation = policy.template allocate<T>(k * k);
    auto rotated = policy.template allocate<T>(left * k);
    const auto pt = column_major<T, space>(rotation.data(), k, k);
    policy.template svd<T>(column_major<T, space>(u.data(), left, k), singular.data(), column_major<T, space>(rotated.data(), left, k), pt);
    policy.template gemm<T>(T(1), column_major<const T, space>(v.data(), right, k), transposed(pt), T(0), column_major<T, space>(z.data(), right, k));
    std::swap(u, rotated);
    std::swap(v, z);
    found.values = to_vector<Policy, T>(policy, singular.data(), k);
    adjoint(static_cast<const T*>(u.data()), z.data());
    found.residuals = column_residuals(policy, static_cast<const T*>(z.data()), static_cast<const T*>(v.data()), singular.data(), right, k);
}

/// Triplets of a Jacobian that is zero: orthonormal vectors with singular values 0.
template <class Policy, class T, class Operator>
found_triplets<Policy, T> zero_triplets(const Policy& policy, const Operator& jacobian, std::size_t rank, std::size_t iterations) {
    found_triplets<Policy, T> found{policy.template allocate<T>(jacobian.outputs() * rank), policy.template allocate<T>(jacobian.inputs() * rank),
                                    std::vector<T>(rank, T(0)), std::vector<double>(rank, 0.0)};
    policy.transform(jacobian.outputs() * rank, fill_identity<T>{found.u.data(), jacobian.outputs()});
    policy.transform(jacobian.inputs() * rank, fill_identity<T>{found.v.data(), jacobian.inputs()});
    found.zero = true;
    found.iterations = iterations;
    return found;
}

/// Orthonormal columns to start from, orthogonal to Q: those given, then random ones.
template <class Policy, class T, class Space>
void starting_block(const Policy& policy, const T* given, std::size_t given_count, std::uint64_t seed, matrix_view<const T, Space> q,
                    matrix_view<T, Space> block) {
    const std::size_t count = std::min(given_count, block.columns), rows = block.rows;
    std::size_t taken = 0;
    if (count > 0) {
        // Of vectors that depend on each other the basis of what they span; anything else would be directions of nobody's choice.
        const auto copy = policy.template allocate<T>(count * rows), values = policy.template allocate<T>(count), right = policy.template allocate<T>(count * count);
        policy.copy(given, copy.data(), count * rows);
        policy.template svd<T>(column_major<T, Space>(copy.data(), rows, count), values.data(), columns_of(block, 0, count),
                               column_major<T, Space>(right.data(), count, count));
        const std::vector<T> lengths = to_vector<Policy, T>(policy, values.data(), count);
        const T least = static_cast<T>(rows) * std::numeric_limits<T>::epsilon() * lengths[0];
        taken = static_cast<std::size_t>(std::count_if(lengths.begin(), lengths.end(), [&](T s) { return s > least; }));
    }
    if (taken < block.columns) {
        fill_normal(policy, block.data + taken * rows, (block.columns - taken) * rows, seed, q.columns);
    }
    orthonormalize_block<Policy, T, Space>(policy, q, block, seed);
}

}  // namespace moden::detail
