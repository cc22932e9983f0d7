#pragma once

// The iterations behind localized_dictionary: alternating accelerated proximal steps, and Adam.
//
// J is touched by two products per iteration, C = J V and B = U' J. With them and the small Gram matrices,
//   |J - U V'|^2 = |J|^2 - 2 <C, U> + <U G, U> = |J|^2 - 2 <B, V'> + <H, G>,   G = V' V, H = U' U,
// neither the objective nor a step of one factor needs J or S x d memory. Flops of an alternating iteration with k steps of U and
// m steps of V: 4 S d P for J, (2 k + 3) S P^2 for U G and H, 6 m d P^2 for V; memory traffic: J twice, and of the five S x P
// buffers about ten passes per step of U, which is as long as its product takes where P is about 200.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/execution_policy.hpp>
#include <moden/core/random.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/core/view.hpp>
#include <moden/linalg/detail/panels.hpp>
#include <moden/linalg/signs.hpp>
#include <moden/optimize/adam.hpp>
#include <moden/sparse/detail/dictionary_steps.hpp>

namespace moden::detail {

/// U, V' and everything that their steps have in common.
template <class Policy, class T, class Space>
class dictionary_iteration {
public:
    using buffer = buffer_of<Policy, T>;

    /// `energy` is |J|^2.
    dictionary_iteration(const Policy& policy, matrix_view<const T, Space> jacobian, std::size_t count, double sparsity, double coherence,
                         double energy)
        : policy_(policy), jacobian_(jacobian), count_(count), entries_(jacobian.rows * count), sparsity_(sparsity), coherence_(coherence),
          energy_(energy), u_(make(entries_)), u_previous_(make(entries_)), u_gram_(make(entries_)), u_gram_previous_(make(entries_)),
          correlation_(make(entries_)), v_(make(count * jacobian.columns)), projection_(make(count * jacobian.columns)),
          slope_(make(count * jacobian.columns)), gram_(make(count * count)), component_gram_(make(count * count)),
          curvature_(make(count * count)), sums_(make(count)) {}

    // ---- starts -----------------------------------------------------------------------------------------------------

    /// Leading right singular vectors of J, from its d x d Gram matrix.
    void directions_from_singular_vectors() {
        const std::size_t d = jacobian_.columns;
        const auto gram = make(d * d);
        policy_.template syrk<T>(T(1), transposed(jacobian_), T(0), row_major<T, Space>(gram.data(), d, d));
        const auto values = make(d);
        const auto columns = column_major<T, Space>(v_.data(), d, count_);  // rows of V'
        policy_.template eigh<T>(row_major<T, Space>(gram.data(), d, d), values.data(), columns);
        fix_signs(policy_, columns);
        normalize_directions();
    }

    void random_directions(std::uint64_t seed) {
        fill_normal(policy_, v_.data(), count_ * jacobian_.columns, seed);
        normalize_directions();
    }

    /// Given V'; returns the lengths that its rows had.
    std::vector<T> directions_from(const T* directions) {
        policy_.copy(directions, v_.data(), count_ * jacobian_.columns);
        return normalize_directions();
    }

    /// U for the directions as if they were orthonormal.
    void components_by_threshold() {
        policy_.transform(entries_, threshold_into<T>{correlation_.data(), static_cast<T>(sparsity_ / 2), u_.data()});
        update_products_of_components();
    }

    /// Given U, for directions that were longer by the factors that directions_from has left.
    void components_from(const T* components) {
        policy_.copy(components, u_.data(), entries_);
        policy_.transform(entries_, multiply_columns<T>{sums_.data(), count_, u_.data()});
        update_products_of_components();
    }

    // ---- alternating ------------------------------------------------------------------------------------------------

    /// Accelerated proximal steps of U for fixed V, at most `most`, until a step gains less than `fraction` of what all gained
    /// or of the objective times `tolerance`. Momentum starts again where it did not help, so that the objective never rises.
    /// Returns the objective.
    double improve_components(std::size_t most, double fraction, double tolerance = 0) {
        largest_eigenvalue_ = largest_eigenvalue();
        const T step = static_cast<T>(1 / largest_eigenvalue_);
        const double first = objective_of_components();
        double best = first;
        double acceleration = 1;  // t of Beck & Teboulle; 1: no momentum
        policy_.copy(static_cast<const T*>(u_.data()), u_previous_.data(), entries_);  // without momentum it counts 0 times
        for (std::size_t i = 0; i < most; ++i) {
            const double next = (1 + std::sqrt(1 + 4 * acceleration * acceleration)) / 2;
            const T momentum = static_cast<T>((acceleration - 1) / next);
            const T* const before = momentum == T(0) ? u_gram_.data() : u_gram_previous_.data();
            policy_.transform(entries_, proximal_step<T>{u_.data(), u_gram_.data(), correlation_.data(), u_previous_.data(), before,
                                                         momentum, step, static_cast<T>(sparsity_ / 2) * step});
            std::swap(u_, u_previous_);
            std::swap(u_gram_, u_gram_previous_);
            update_products_of_components();
            const double objective = objective_of_components();
            if (!(objective <= best)) {
                std::swap(u_, u_previous_);
                std::swap(u_gram_, u_gram_previous_);
                if (momentum == T(0)) {
                    break;  // a plain step goes down unless rounding is all that is left
                }
                acceleration = 1;
                continue;
            }
            acceleration = next;
            const double gain = best - objective;
            best = objective;
            if ((i > 0 && gain <= fraction * (first - best)) || gain <= tolerance * best) {
                break;
            }
        }
        return best;
    }

    /// Accelerated steps of all directions on the unit sphere for fixed U, in the same manner.
    double improve_directions(std::size_t most, double fraction) {
        const std::size_t size = count_ * jacobian_.columns;
        update_projection();
        const auto y = make(size), previous = make(size), candidate = make(size), gram = make(count_ * count_);
        policy_.transform(count_, absolute_row_sum<T>{component_gram_.data(), count_, sums_.data()}, count_);
        const double magnitudes = sum_of_magnitudes();
        // Half the second derivative of beta |V'V - I|^2 is at most beta (6 largest eigenvalue of G - 2).
        const T offset = static_cast<T>(6 * coherence_ * largest_eigenvalue_);
        double best = objective_of_directions(v_.data(), gram_.data()) + magnitudes;
        const double first = best;
        double acceleration = 1;
        int failures = 0;
        policy_.copy(static_cast<const T*>(v_.data()), previous.data(), size);
        for (std::size_t i = 0; i < most; ++i) {
            const double next = (1 + std::sqrt(1 + 4 * acceleration * acceleration)) / 2;
            const double momentum = (acceleration - 1) / next;
            policy_.transform(size, extrapolate_to<T>{v_.data(), previous.data(), static_cast<T>(momentum), y.data()});
            update_gram_of(y.data(), gram.data());
            slope_at(y.data(), gram.data());
            policy_.transform(count_, sphere_step<T>{y.data(), slope_.data(), projection_.data(), sums_.data(), static_cast<T>(scale_), offset,
                                                     jacobian_.columns, candidate.data()},
                              2 * jacobian_.columns);
            update_gram_of(candidate.data(), gram.data());
            const double objective = objective_of_directions(candidate.data(), gram.data()) + magnitudes;
            if (!(objective <= best)) {
                if (momentum == 0) {  // the bound did not hold with this scale, or rounding is all that is left
                    scale_ = std::min(1.0, 2 * scale_);
                    if (++failures > 3) {
                        break;
                    }
                }
                acceleration = 1;
                policy_.copy(static_cast<const T*>(v_.data()), previous.data(), size);
                continue;
            }
            policy_.copy(static_cast<const T*>(v_.data()), previous.data(), size);
            policy_.copy(static_cast<const T*>(candidate.data()), v_.data(), size);
            policy_.copy(static_cast<const T*>(gram.data()), gram_.data(), count_ * count_);
            acceleration = next;
            const double gain = best - objective;
            best = objective;
            if (i > 0 && gain <= fraction * (first - best)) {
                break;
            }
        }
        scale_ = std::max(1.0 / 64, scale_ * (failures > 0 ? 1.0 : 0.8));
        return best;
    }

    // ---- Adam -------------------------------------------------------------------------------------------------------

    /// Moments of both factors and room for their gradients.
    struct adam_state {
        adam<Policy, T> components, directions;
        buffer component_slope;
    };

    adam_state start_adam() const {
        return {adam<Policy, T>(policy_, entries_), adam<Policy, T>(policy_, count_ * jacobian_.columns), make(entries_)};
    }

    /// One step down the (sub)gradient, directions back to length 1. Returns the objective there.
    double adam_iteration(adam_state& state, double rate) {
        policy_.transform(entries_, component_gradient<T>{u_.data(), u_gram_.data(), correlation_.data(), static_cast<T>(sparsity_),
                                                          state.component_slope.data()});
        update_projection();
        slope_at(v_.data(), gram_.data());
        policy_.transform(count_, direction_gradient<T>{v_.data(), projection_.data(), jacobian_.columns, slope_.data()}, 2 * jacobian_.columns);
        state.components.step(policy_, rate, u_.data(), state.component_slope.data());
        state.directions.step(policy_, rate, v_.data(), slope_.data());
        normalize_directions();
        update_products_of_directions();
        return objective_of_components();
    }

    // ---- products ---------------------------------------------------------------------------------------------------

    /// C = J V and U G, once V has changed.
    void update_products_of_directions() {
        update_correlation();
        update_products_of_components();
    }

    /// C = J V, before there is a U.
    void update_correlation() {
        policy_.template gemm<T>(T(1), jacobian_, transposed(directions()), T(0),
                                 row_major<T, Space>(correlation_.data(), jacobian_.rows, count_));
    }

    double objective_of_components() const {
        const sparse_objective_of<T> part{u_.data(), u_gram_.data(), correlation_.data(), sparsity_};
        return energy_ + policy_.reduce(entries_, 0.0, part, plus{}) + coherence_term();
    }

    matrix_view<const T, Space> components() const { return row_major<const T, Space>(u_.data(), jacobian_.rows, count_); }
    matrix_view<const T, Space> directions() const { return row_major<const T, Space>(v_.data(), count_, jacobian_.columns); }

    double sum_of_magnitudes() const { return sparsity_ * policy_.reduce(entries_, 0.0, magnitude_of<T>{u_.data()}, plus{}); }

    /// beta sum_{i != j} (v_i' v_j)^2.
    double coherence_term() const {
        const off_diagonal_square<T> part{gram_.data(), count_};
        return coherence_ > 0 ? coherence_ * policy_.reduce(count_ * count_, 0.0, part, plus{}) : 0;
    }

private:
    buffer make(std::size_t size) const { return policy_.template allocate<T>(size); }

    auto square(const T* data) const { return row_major<const T, Space>(data, count_, count_); }

    std::vector<T> normalize_directions() {
        policy_.transform(count_, normalize_direction<T>{v_.data(), jacobian_.columns, sums_.data()}, 2 * jacobian_.columns);
        update_gram_of(v_.data(), gram_.data());
        return to_vector<Policy, T>(policy_, sums_.data(), count_);
    }

    void update_gram_of(const T* directions, T* gram) const {
        policy_.template syrk<T>(T(1), row_major<const T, Space>(directions, count_, jacobian_.columns), T(0),
                                 row_major<T, Space>(gram, count_, count_));
    }

    /// U G.
    void update_products_of_components() {
        policy_.template gemm<T>(T(1), components(), square(gram_.data()), T(0), row_major<T, Space>(u_gram_.data(), jacobian_.rows, count_));
    }

    /// H = U' U and B = U' J.
    void update_projection() {
        policy_.template syrk<T>(T(1), transposed(components()), T(0), row_major<T, Space>(component_gram_.data(), count_, count_));
        policy_.template gemm<T>(T(1), transposed(components()), jacobian_, T(0),
                                 row_major<T, Space>(projection_.data(), count_, jacobian_.columns));
    }

    /// slope = M y.
    void slope_at(const T* y, const T* gram) {
        policy_.transform(count_ * count_,
                          direction_curvature<T>{component_gram_.data(), gram, count_, static_cast<T>(coherence_), curvature_.data()});
        policy_.template gemm<T>(T(1), square(curvature_.data()), row_major<const T, Space>(y, count_, jacobian_.columns), T(0),
                                 row_major<T, Space>(slope_.data(), count_, jacobian_.columns));
    }

    double objective_of_directions(const T* directions, const T* gram) const {
        const gram_objective_of<T> part{component_gram_.data(), gram, count_, coherence_};
        return energy_ + policy_.reduce(count_ * count_, 0.0, part, plus{}) -
               2 * policy_.reduce(count_ * jacobian_.columns, 0.0, product_of<T>{projection_.data(), directions}, plus{});
    }

    /// Of G, a little too large rather than too small.
    double largest_eigenvalue() {
        const auto copy = make(count_ * count_);
        policy_.copy(static_cast<const T*>(gram_.data()), copy.data(), count_ * count_);
        const auto values = make(count_);
        policy_.template eigh<T>(row_major<T, Space>(copy.data(), count_, count_), values.data(), column_major<T, Space>(nullptr, count_, 0));
        T largest = T(0);
        policy_.download(static_cast<const T*>(values.data()), &largest, 1);
        return static_cast<double>(largest) * (1 + 1e-5);
    }

    const Policy& policy_;
    matrix_view<const T, Space> jacobian_;
    std::size_t count_;
    std::size_t entries_;  // of U
    double sparsity_, coherence_, energy_;
    buffer u_, u_previous_, u_gram_, u_gram_previous_, correlation_;
    buffer v_, projection_, slope_;
    buffer gram_, component_gram_, curvature_, sums_;
    double largest_eigenvalue_ = 1;
    double scale_ = 1;  // of the bound on the curvature in V: its share that has proved enough
};

}  // namespace moden::detail
