#pragma once

// Singular vectors of a Jacobian by block Golub-Kahan steps with full orthogonalisation and thick restarts.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
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

template <class T>
struct place_on_diagonal {
    const T* values;
    T* matrix;
    std::size_t stride;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { matrix[i * stride + i] = values[i]; }
};

/// Orthonormal V and U with A V = U B and A' U = V B' + N C E', where N are the directions to be looked at next and E picks the last
/// block of U. A is J, or J' where J has fewer rows than columns, so that V lives in the smaller space and cannot outgrow the other.
///
/// With B = P S Q' the triplets (U P, S, V Q) satisfy A v = s u; what A' u misses is |C E' p|, known without a product. A restart
/// keeps the leading of these triplets and N: both relations stay exact. Source: Baglama & Reichel 2006; Stathopoulos 1998.
template <class Policy, class T, class Operator>
class krylov_basis {
public:
    using space = typename Policy::memory_space;

    /// `capacity` >= rank + block or the smaller size.
    krylov_basis(const Policy& policy, Operator& jacobian, std::size_t block, std::size_t capacity, const jacobian_svd_options& options,
                 const char* function)
        : policy_(policy), jacobian_(jacobian), options_(options), function_(function), flipped_(jacobian.outputs() < jacobian.inputs()),
          small_(std::min(jacobian.inputs(), jacobian.outputs())), large_(std::max(jacobian.inputs(), jacobian.outputs())), width_(block),
          capacity_(capacity), v_(make(small_ * std::min(small_, capacity + block))), u_(make(large_ * capacity)),
          products_(make(large_ * block)), z_(make(small_ * block)), coupling_(make(block * block)), b_(make(capacity * capacity)),
          p_(make(capacity * capacity)), q_(make(capacity * capacity)), scratch_(make(capacity * capacity)), singular_(make(capacity)) {
        policy.transform(capacity * capacity, fill_with<T>{b_.data(), T(0)});
    }

    found_triplets<Policy, T> run(const T* start, std::size_t start_count) {
        const std::size_t k = options_.rank;
        found_triplets<Policy, T> found;
        begin(start, start_count);
        while (true) {
            extend();
            ++found.iterations;
            const std::vector<T> values = decompose();
            const double scale = static_cast<double>(values[0]);
            if (scale == 0) {
                if (start_count == 0) {
                    return zero_triplets<Policy, T>(policy_, jacobian_, k, found.iterations);
                }
                start_count = 0;  // the given vectors lie in the null space, which says nothing about J
                held_ = 0;
                begin(nullptr, 0);
                continue;
            }
            double worst = 1;
            notice_invariance(scale);
            if (held_ >= k) {
                found.residuals = residuals(k);
                worst = found.largest_residual() / scale;
                found.converged = worst <= options_.tolerance;
                found.converged = found.converged && (settled(values) || found.iterations >= options_.max_iterations);
            }
            found.stopped = found.stopped || (!found.converged && options_.progress && !options_.progress(found.iterations, worst));
            const bool last = found.stopped || found.iterations >= options_.max_iterations || next_ == 0;
            if (found.converged || (last && held_ >= k)) {
                finish(found);
                return found;
            }
            if (held_ + next_ > capacity_) {
                restart();
            }
            width_ = next_;
        }
    }

private:
    auto make(std::size_t count) const { return policy_.template allocate<T>(count); }
    matrix_view<T, space> v(std::size_t first, std::size_t count) const { return column_major<T, space>(v_.data() + first * small_, small_, count); }
    matrix_view<T, space> u(std::size_t first, std::size_t count) const { return column_major<T, space>(u_.data() + first * large_, large_, count); }
    matrix_view<T, space> b(std::size_t row, std::size_t rows, std::size_t column, std::size_t columns) const {
        return {b_.data() + column * capacity_ + row, rows, columns, capacity_, storage_order::column_major};
    }
    matrix_view<const T, space> constant(matrix_view<T, space> view) const { return view; }

    void apply(const T* vectors, std::size_t count, T* result) { flipped_ ? jacobian_.backward(vectors, count, result) : jacobian_.forward(vectors, count, result); }
    void apply_adjoint(const T* vectors, std::size_t count, T* result) {
        flipped_ ? jacobian_.forward(vectors, count, result) : jacobian_.backward(vectors, count, result);
    }

    /// The first block: given right vectors and random ones.
    void begin(const T* start, std::size_t count) {
        const T* given = start;
        buffer_of<Policy, T> images;
        if (flipped_ && count > 0) {
            images = make(small_ * count);
            jacobian_.forward(start, count, images.data());
            given = images.data();
        }
        starting_block<Policy, T, space>(policy_, given, count, options_.seed, {}, v(0, width_));
    }

    /// One block of products with A and A': the columns of V from held_ on become part of the basis, and N is found.
    void extend() {
        const auto block = u(held_, width_);
        apply(v(held_, width_).data, width_, block.data);
        policy_.copy(static_cast<const T*>(block.data), products_.data(), large_ * width_);
        orthonormalize_block<Policy, T, space>(policy_, u(0, held_), block, options_.seed + found_blocks_);
        policy_.template gemm<T>(T(1), transposed(constant(u(0, held_ + width_))), column_major<const T, space>(products_.data(), large_, width_), T(0),
                                 b(0, held_ + width_, held_, width_));
        smallest_pivot_ = pivot(b(held_, width_, held_, width_));
        const auto z = column_major<T, space>(z_.data(), small_, width_);
        apply_adjoint(block.data, width_, z.data);
        if (options_.check == adjoint_check::verify) {
            verify();
        }
        held_ += width_;
        next_ = std::min(width_, small_ - held_);
        ++found_blocks_;
        if (next_ > 0) {
            find_next(z);
        }
    }

    /// N and C from Z = A' U_last: what Z has beside V.
    void find_next(matrix_view<T, space> z) {
        const auto next = v(held_, next_);
        const auto rest = make(small_ * width_);
        policy_.copy(static_cast<const T*>(z.data), rest.data(), small_ * width_);
        const auto r = column_major<T, space>(rest.data(), small_, width_);
        if (next_ < width_) {  // the last block: of the rest's columns no more than next_ can be independent
            project_away<T>(policy_, constant(v(0, held_)), r);
            const auto left = make(small_ * width_), right = make(width_ * width_), values = make(width_);
            policy_.template svd<T>(r, values.data(), column_major<T, space>(left.data(), small_, width_),
                                    column_major<T, space>(right.data(), width_, width_));
            policy_.copy(static_cast<const T*>(left.data()), next.data, small_ * next_);
            orthonormalize_block<Policy, T, space>(policy_, v(0, held_), next, options_.seed + found_blocks_);
        } else {
            orthonormalize_block<Policy, T, space>(policy_, v(0, held_), r, options_.seed + found_blocks_);
            policy_.copy(static_cast<const T*>(r.data), next.data, small_ * next_);
        }
        policy_.template gemm<T>(T(1), transposed(constant(next)), z, T(0), column_major<T, space>(coupling_.data(), next_, width_));
        last_width_ = width_;
        smallest_pivot_ = std::min(smallest_pivot_, pivot(column_major<T, space>(coupling_.data(), next_, width_)));
    }

    /// V' A' U_last against the rows of B that U_last' A V has given.
    void verify() {
        const std::size_t columns = held_ + width_;
        const auto gram = make(columns * width_), rows = make(columns * width_);
        policy_.template gemm<T>(T(1), transposed(constant(v(0, columns))), column_major<const T, space>(z_.data(), small_, width_), T(0),
                                 column_major<T, space>(gram.data(), columns, width_));
        policy_.template copy<T>(transposed(constant(b(held_, width_, 0, columns))), column_major<T, space>(rows.data(), columns, width_));
        const double norms = euclidean_norm(policy_, static_cast<const T*>(z_.data()), small_ * width_) +
                             euclidean_norm(policy_, static_cast<const T*>(products_.data()), large_ * width_);
        size_ = std::max(size_, norms / std::sqrt(static_cast<double>(width_)));
        require_adjoint(to_vector<Policy, T>(policy_, rows.data(), columns * width_), to_vector<Policy, T>(policy_, gram.data(), columns * width_), size_,
                        function_);
    }

    /// A basis that is invariant under J'J, or has an invariant part, says nothing of what lies beside it, further copies of a singular value
    /// for one. A pivot of B or C that vanishes tells; directions that rounding chose, or random ones, go on from there.
    void notice_invariance(double scale) {
        const double least = 10 * static_cast<double>(std::numeric_limits<T>::epsilon()) * scale;
        was_invariant_ = was_invariant_ || smallest_pivot_ <= least;
        if (next_ > 0 && euclidean_norm(policy_, static_cast<const T*>(coupling_.data()), next_ * last_width_) <= least) {
            starting_block<Policy, T, space>(policy_, nullptr, 0, options_.seed + found_blocks_, v(0, held_), v(held_, next_));
        }
    }

    /// Smallest magnitude on the diagonal of a matrix of few rows.
    double pivot(matrix_view<T, space> triangle) const {
        const auto dense = make(triangle.rows * triangle.columns);
        policy_.template copy<T>(constant(triangle), column_major<T, space>(dense.data(), triangle.rows, triangle.columns));
        const std::vector<T> host = to_vector<Policy, T>(policy_, dense.data(), triangle.rows * triangle.columns);
        double least = std::numeric_limits<double>::infinity();
        for (std::size_t i = 0; i < std::min(triangle.rows, triangle.columns); ++i) {
            least = std::min(least, std::abs(static_cast<double>(host[i * triangle.rows + i])));
        }
        return least;
    }

    /// Whether convergence is to be believed: after invariance the leading values have to stay for three blocks.
    bool settled(const std::vector<T>& values) {
        constexpr std::size_t blocks = 3;
        if (next_ == 0 || !was_invariant_) {
            return true;
        }
        const double eps = static_cast<double>(std::numeric_limits<T>::epsilon()), scale = static_cast<double>(values[0]);
        bool changed = leading_.empty();
        for (std::size_t i = 0; i < leading_.size() && !changed; ++i) {
            changed = std::abs(static_cast<double>(values[i]) - static_cast<double>(leading_[i])) > (100 * eps + options_.tolerance) * scale;
        }
        leading_.assign(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(options_.rank));
        doubts_ = changed ? blocks : doubts_ - 1;
        return doubts_ == 0;
    }

    /// B = P S Q'; returns S.
    std::vector<T> decompose() {
        policy_.template copy<T>(constant(b(0, held_, 0, held_)), column_major<T, space>(scratch_.data(), held_, held_));
        policy_.template svd<T>(column_major<T, space>(scratch_.data(), held_, held_), singular_.data(), column_major<T, space>(p_.data(), held_, held_),
                                column_major<T, space>(q_.data(), held_, held_));
        return to_vector<Policy, T>(policy_, singular_.data(), held_);
    }

    /// |C E' p_i| of the leading triplets.
    std::vector<double> residuals(std::size_t count) const {
        std::vector<double> result(count, 0.0);
        if (next_ > 0) {
            const auto missing = make(next_ * count);
            const auto last = rows_of(columns_of(column_major<const T, space>(p_.data(), held_, held_), 0, count), held_ - last_width_, last_width_);
            policy_.template gemm<T>(T(1), column_major<const T, space>(coupling_.data(), next_, last_width_), last, T(0),
                                     column_major<T, space>(missing.data(), next_, count));
            const std::vector<T> host = to_vector<Policy, T>(policy_, missing.data(), next_ * count);
            for (std::size_t i = 0; i < count; ++i) {
                result[i] = std::sqrt(square_of_row(host.data() + i * next_, next_));
            }
        }
        return result;
    }

    /// Leading triplets: `left` of the larger space, `right` of the smaller one.
    void leading(std::size_t count, T* left, T* right) const {
        policy_.template gemm<T>(T(1), constant(u(0, held_)), columns_of(column_major<const T, space>(p_.data(), held_, held_), 0, count), T(0),
                                 column_major<T, space>(left, large_, count));
        policy_.template gemm<T>(T(1), constant(v(0, held_)),
                                 transposed(rows_of(column_major<const T, space>(q_.data(), held_, held_), 0, count)), T(0),
                                 column_major<T, space>(right, small_, count));
    }

    void restart() {
        const std::size_t k = options_.rank;
        // A few more than k, as a buffer to those that are thrown away.
        const std::size_t kept = std::min(capacity_ - next_, k + std::max<std::size_t>(1, (held_ - k) / 2));
        {
            const auto left = make(large_ * kept), right = make(small_ * kept);
            leading(kept, left.data(), right.data());
            policy_.copy(static_cast<const T*>(left.data()), u_.data(), large_ * kept);
            policy_.copy(static_cast<const T*>(v(held_, next_).data), z_.data(), small_ * next_);
            policy_.copy(static_cast<const T*>(right.data()), v_.data(), small_ * kept);
            policy_.copy(static_cast<const T*>(z_.data()), v(kept, next_).data, small_ * next_);
        }
        policy_.transform(capacity_ * capacity_, fill_with<T>{b_.data(), T(0)});
        policy_.transform(kept, place_on_diagonal<T>{singular_.data(), b_.data(), capacity_});
        held_ = kept;
    }

    /// The triplets with products of their own. Residuals of the recurrence know nothing of what rounding has done to A V = U B: where the
    /// real ones miss the tolerance, steps of all k vectors with J'J go on as long as they make residuals smaller.
    void finish(found_triplets<Policy, T>& found) {
        const std::size_t k = options_.rank;
        constexpr double progress = 0.9;  // less than a tenth per step is the rounding of the products
        auto left = make(large_ * k), right = make(small_ * k), z = make(small_ * k);
        leading(k, left.data(), right.data());
        const bool promised = found.converged;
        double worst = std::numeric_limits<double>::infinity();
        while (true) {
            apply(right.data(), k, left.data());
            ritz_triplets<Policy, T>(policy_, large_, small_, k, left, right, z, found, [&](const T* u, T* products) { apply_adjoint(u, k, products); });
            const double before = worst;
            worst = found.largest_residual() / static_cast<double>(found.values[0]);
            found.converged = promised && worst <= options_.tolerance;
            if (found.converged || !promised || !(worst < progress * before) || found.iterations >= options_.max_iterations) {
                break;
            }
            found.stopped = options_.progress && !options_.progress(found.iterations, worst);
            if (found.stopped) {
                break;
            }
            ++found.iterations;
            std::swap(right, z);
            orthonormalize_block<Policy, T, space>(policy_, {}, column_major<T, space>(right.data(), small_, k), options_.seed);
        }
        found.u = std::move(flipped_ ? right : left);
        found.v = std::move(flipped_ ? left : right);
    }

    const Policy& policy_;
    Operator& jacobian_;
    const jacobian_svd_options& options_;
    const char* function_;
    bool flipped_;
    std::size_t small_, large_;
    std::size_t width_;           ///< of the block that is looked at
    std::size_t capacity_;
    std::size_t held_ = 0;        ///< columns of the basis
    std::size_t next_ = 0;        ///< columns of N, which lie in V behind the basis
    std::size_t last_width_ = 0;  ///< columns of C
    std::size_t found_blocks_ = 0;
    double size_ = 0;             ///< of J, as far as it has shown
    double smallest_pivot_ = 0;    ///< of the last blocks of B and C, which are triangular
    bool was_invariant_ = false;
    std::vector<T> leading_ = {};  ///< what had converged after that
    std::size_t doubts_ = 0;       ///< blocks for which it still has to stay
    buffer_of<Policy, T> v_, u_, products_, z_, coupling_, b_, p_, q_, scratch_, singular_;
};

}  // namespace moden::detail
