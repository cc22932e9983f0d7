#pragma once

// Singular vectors of a Jacobian by repeated products with J'J: all at once, and a few at a time.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/macros.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/core/view.hpp>
#include <moden/linalg/detail/panels.hpp>
#include <moden/linalg/detail/project_away.hpp>
#include <moden/spectral/detail/jacobian_operator.hpp>
#include <moden/spectral/options.hpp>

namespace moden::detail {

/// A block of right vectors V that iterates towards the leading ones: W = J V = U S P', V <- V P, Z = J' U, V <- orthonormal Z.
///
/// J V = U S holds at any time, so that what is missing is Z - V S. The errata's order: U and S belong to the V that is kept.
template <class Policy, class T, class Operator>
class subspace_block {
public:
    using space = typename Policy::memory_space;

    subspace_block(const Policy& policy, Operator& jacobian, std::size_t width, adjoint_check check, const char* function)
        : policy_(policy), jacobian_(jacobian), width_(width), check_(check), function_(function), u_(make(jacobian.outputs() * width)),
          w_(make(jacobian.outputs() * width)), v_(make(jacobian.inputs() * width)), rotated_(make(jacobian.inputs() * width)),
          z_(make(jacobian.inputs() * width)), values_(make(width)), rotation_(make(width * width)) {}

    /// Uses fewer columns from now on.
    void narrow(std::size_t width) { width_ = width; }

    std::size_t width() const { return width_; }
    T* v() { return v_.data(); }
    const T* u() const { return u_.data(); }
    T* z() { return z_.data(); }
    matrix_view<T, space> block() { return column_major<T, space>(v_.data(), jacobian_.inputs(), width_); }

    /// From orthonormal V to U, S, the rotated V and Z. Returns S.
    std::vector<T> advance() {
        const std::size_t n = jacobian_.inputs(), m = jacobian_.outputs();
        jacobian_.forward(v_.data(), width_, w_.data());
        const auto pt = column_major<T, space>(rotation_.data(), width_, width_);
        policy_.template svd<T>(column_major<T, space>(w_.data(), m, width_), values_.data(), column_major<T, space>(u_.data(), m, width_), pt);
        policy_.template gemm<T>(T(1), block(), transposed(pt), T(0), column_major<T, space>(rotated_.data(), n, width_));
        std::swap(v_, rotated_);
        jacobian_.backward(u_.data(), width_, z_.data());
        const std::vector<T> values = to_vector<Policy, T>(policy_, values_.data(), width_);
        if (check_ == adjoint_check::verify) {
            // Of a J that is nearly zero on V, J' U still shows the size.
            const double products = euclidean_norm(policy_, static_cast<const T*>(z_.data()), n * width_) / std::sqrt(static_cast<double>(width_));
            size_ = std::max({size_, static_cast<double>(values[0]), products});
            verify(values);
        }
        return values;
    }

    /// |Z_i - s_i v_i|.
    std::vector<double> residuals() const {
        return column_residuals(policy_, static_cast<const T*>(z_.data()), v_.data(), values_.data(), jacobian_.inputs(), width_);
    }

    void take_products() { std::swap(v_, z_); }

private:
    auto make(std::size_t count) const { return policy_.template allocate<T>(count); }

    void verify(const std::vector<T>& values) {
        const auto gram = column_major<T, space>(rotation_.data(), width_, width_);
        policy_.template gemm<T>(T(1), transposed(block()), column_major<T, space>(z_.data(), jacobian_.inputs(), width_), T(0), gram);
        std::vector<T> expected(width_ * width_, T(0));
        for (std::size_t i = 0; i < width_; ++i) {
            expected[i * width_ + i] = values[i];
        }
        require_adjoint(expected, to_vector<Policy, T>(policy_, gram.data, width_ * width_), size_, function_);
    }

    const Policy& policy_;
    Operator& jacobian_;
    std::size_t width_;
    adjoint_check check_;
    const char* function_;
    double size_ = 0;  ///< of J, as far as it has shown
    buffer_of<Policy, T> u_, w_, v_, rotated_, z_, values_, rotation_;
};

/// Paper V Algorithm 1, with `block` >= k columns.
template <class Policy, class T, class Operator>
found_triplets<Policy, T> subspace_iteration(const Policy& policy, Operator& jacobian, std::size_t block, const T* start, std::size_t start_count,
                                             const jacobian_svd_options& options, const char* function) {
    using space = typename Policy::memory_space;
    const std::size_t n = jacobian.inputs(), m = jacobian.outputs(), k = options.rank;
    subspace_block<Policy, T, Operator> iteration(policy, jacobian, block, options.check, function);
    starting_block<Policy, T, space>(policy, start, start_count, options.seed, {}, iteration.block());
    found_triplets<Policy, T> found;
    while (true) {
        const std::vector<T> values = iteration.advance();
        ++found.iterations;
        if (!(values[0] > T(0))) {
            if (start_count == 0) {
                return zero_triplets<Policy, T>(policy, jacobian, k, found.iterations);
            }
            if (found.iterations < options.max_iterations) {
                start_count = 0;  // the given vectors lie in the null space, which says nothing about J
                starting_block<Policy, T, space>(policy, nullptr, 0, options.seed, {}, iteration.block());
                continue;
            }
        }
        found.residuals = iteration.residuals();
        found.residuals.resize(k);
        const double scale = static_cast<double>(values[0]), largest = found.largest_residual();
        found.converged = scale > 0 && largest <= options.tolerance * scale;
        found.stopped = !found.converged && options.progress && !options.progress(found.iterations, scale > 0 ? largest / scale : 1.0);
        if (found.converged || found.stopped || found.iterations >= options.max_iterations) {
            found.values.assign(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(k));
            break;
        }
        iteration.take_products();
        orthonormalize_block<Policy, T, space>(policy, {}, iteration.block(), options.seed);
    }
    found.u = policy.template allocate<T>(m * k);
    found.v = policy.template allocate<T>(n * k);
    policy.copy(iteration.u(), found.u.data(), m * k);
    policy.copy(static_cast<const T*>(iteration.v()), found.v.data(), n * k);
    return found;
}

/// Paper V Algorithm 2: a block narrower than k. Leading vectors are taken out of the block as soon as they have converged, and the
/// block goes on orthogonally to them with the others and new ones.
template <class Policy, class T, class Operator>
class sequential_search {
public:
    using space = typename Policy::memory_space;

    sequential_search(const Policy& policy, Operator& jacobian, std::size_t block, const jacobian_svd_options& options, const char* function)
        : policy_(policy), jacobian_(jacobian), options_(options), block_(block), n_(jacobian.inputs()), m_(jacobian.outputs()),
          iteration_(policy, jacobian, block, options.check, function) {
        found_.u = policy.template allocate<T>(m_ * options.rank);
        found_.v = policy.template allocate<T>(n_ * options.rank);
    }

    found_triplets<Policy, T> run(const T* start, std::size_t start_count) {
        if (!search(start, start_count)) {
            return zero_triplets<Policy, T>(policy_, jacobian_, options_.rank, found_.iterations);
        }
        const bool complete = taken_ == options_.rank;
        finish();
        const auto good = [&] { return found_.largest_residual() <= options_.tolerance * static_cast<double>(found_.values[0]); };
        // Errors of taken vectors are in those after them. What they add up to beyond the tolerance goes with a step of all k, a block at a time.
        while (complete && !good() && !found_.stopped && found_.iterations < options_.max_iterations) {
            std::swap(found_.v, z_);
            orthonormalize_block<Policy, T, space>(policy_, {}, column_major<T, space>(found_.v.data(), n_, taken_), options_.seed);
            jacobian_.forward(found_.v.data(), taken_, found_.u.data());
            rotate();
            ++found_.iterations;
            const double worst = found_.largest_residual() / static_cast<double>(found_.values[0]);
            found_.stopped = !good() && options_.progress && !options_.progress(found_.iterations, worst);
        }
        found_.converged = complete && good();
        return std::move(found_);
    }

private:
    /// Takes vectors until there are k or the iterations are used up. False if J is zero.
    bool search(const T* start, std::size_t start_count) {
        const std::size_t k = options_.rank, smaller = std::min(n_, m_);
        const double tolerance = options_.tolerance / 2;
        std::size_t used = std::min(start_count, block_), carried = 0;
        iteration_.narrow(std::min(block_, smaller));
        starting_block<Policy, T, space>(policy_, start, start_count, options_.seed, taken(), iteration_.block());
        while (true) {
            latest_ = iteration_.advance();
            ++found_.iterations;
            largest_ = std::max(largest_, static_cast<double>(latest_[0]));
            if (largest_ == 0) {
                if (start_count == 0) {
                    return false;
                }
                if (found_.iterations >= options_.max_iterations) {
                    return true;
                }
                start_count = used = 0;
                starting_block<Policy, T, space>(policy_, nullptr, 0, options_.seed, taken(), iteration_.block());
                continue;
            }
            const std::size_t width = iteration_.width();
            project(iteration_.z(), width);
            const std::vector<double> residuals = iteration_.residuals();
            std::size_t good = 0;
            while (good < width && taken_ + good < k && residuals[good] <= tolerance * largest_) {
                ++good;
            }
            const double worst = good < width && taken_ + good < k ? residuals[good] : 0;
            take(0, good);
            ready_ = good;
            if (taken_ == k) {
                return true;
            }
            found_.stopped = options_.progress && !options_.progress(found_.iterations, worst / largest_);
            if (found_.stopped || found_.iterations >= options_.max_iterations) {
                return true;
            }
            // The products of what is left move to the front; new directions come behind.
            carried = width - good;
            const std::size_t next = std::min(block_, smaller - taken_);
            iteration_.take_products();
            if (good > 0) {
                policy_.copy(static_cast<const T*>(iteration_.v() + good * n_), iteration_.z(), carried * n_);
                policy_.copy(static_cast<const T*>(iteration_.z()), iteration_.v(), carried * n_);
            }
            carried = std::min(carried, next);
            const std::size_t given = std::min(next - carried, start_count - used);
            if (given > 0) {
                policy_.copy(start + used * n_, iteration_.v() + carried * n_, given * n_);
                used += given;
            }
            if (carried + given < next) {
                fill_normal(policy_, iteration_.v() + (carried + given) * n_, (next - carried - given) * n_, options_.seed, taken_);
            }
            iteration_.narrow(next);
            orthonormalize_block<Policy, T, space>(policy_, taken(), iteration_.block(), options_.seed);
        }
    }

    matrix_view<const T, space> taken() const { return column_major<const T, space>(found_.v.data(), n_, taken_); }

    /// Z <- (I - V V') Z with the vectors taken so far.
    void project(T* z, std::size_t width) const {
        project_away<T>(policy_, taken(), column_major<T, space>(z, n_, width), 1);
    }

    /// Triplets `first` to first + count of the block join those that are done.
    void take(std::size_t first, std::size_t count) {
        if (count > 0) {
            policy_.copy(static_cast<const T*>(iteration_.v() + first * n_), found_.v.data() + taken_ * n_, count * n_);
            policy_.copy(iteration_.u() + first * m_, found_.u.data() + taken_ * m_, count * m_);
            found_.values.insert(found_.values.end(), latest_.data() + first, latest_.data() + first + count);
            taken_ += count;
        }
    }

    /// The thin SVD of J V for all vectors together, which orders them and makes U orthonormal, and the residuals. Where iterations
    /// ran out, the block's unfinished vectors and random ones fill up.
    void finish() {
        const std::size_t k = options_.rank;
        take(ready_, std::min(iteration_.width() - ready_, k - taken_));
        const auto values = uploaded(policy_, found_.values);
        policy_.transform(taken_ * m_, multiply_rows<T>{values.data(), m_, found_.u.data()});  // vectors lie one after another
        if (taken_ < k) {
            const auto rest = column_major<T, space>(found_.v.data() + taken_ * n_, n_, k - taken_);
            starting_block<Policy, T, space>(policy_, nullptr, 0, options_.seed + 1, taken(), rest);
            jacobian_.forward(rest.data, k - taken_, found_.u.data() + taken_ * m_);
        }
        taken_ = k;
        rotate();
    }

    /// From V and J V to the triplets they contain, J' U and the residuals.
    void rotate() {
        z_ = policy_.template allocate<T>(n_ * options_.rank);
        ritz_triplets<Policy, T>(policy_, m_, n_, options_.rank, found_.u, found_.v, z_, found_,
                                 [&](const T* u, T* products) { jacobian_.backward(u, options_.rank, products); });
    }

    const Policy& policy_;
    Operator& jacobian_;
    const jacobian_svd_options& options_;
    std::size_t block_, n_, m_;
    subspace_block<Policy, T, Operator> iteration_;
    found_triplets<Policy, T> found_ = {};
    buffer_of<Policy, T> z_ = {};     ///< J' U of the result
    std::vector<T> latest_ = {};  ///< singular values of the block
    std::size_t taken_ = 0;
    std::size_t ready_ = 0;           ///< of the block's triplets, the leading ones that are among those taken
    double largest_ = 0;
};

}  // namespace moden::detail
