#pragma once

// Rounds of alternating least squares that are pushed on by their last change.

#include <cmath>
#include <cstddef>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/nrsfm/detail/alternation.hpp>

namespace moden::detail {

/// x += momentum (x - before).
struct push_on {
    const double* before;
    double momentum;
    double* x;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { x[i] += momentum * (x[i] - before[i]); }
};

/// A round fits frames, then directions and points. The shapes and directions that result are pushed on by Nesterov's rule before the next one; a push that
/// makes the objective rise is taken back, and the momentum starts anew, so that the objective never rises. Alternation alone crawls where
/// shapes and coefficients can exchange what they explain.
template <class Policy, class T>
class accelerated_rounds {
public:
    accelerated_rounds(const Policy& policy, alternation<Policy, T>& state, free_cameras freedom)
        : policy_(policy), state_(state), free_(freedom), before_(policy.template allocate<double>(shape_numbers())),
          shapes_(policy.template allocate<double>(shape_numbers())), cameras_(policy.template allocate<double>(6 * state.tracks().frames)),
          coefficients_(policy.template allocate<double>(state.count() * state.tracks().frames)) {}

    /// One round; returns the objective with the frames fitted, before shapes and directions are.
    double round() {
        const bool moves = state_.count() > 0;
        double objective = state_.fit_frames(free_, moves);
        if (pushed_ && !(objective <= best_)) {
            restore();
            momentum_ = 1;
            objective = state_.fit_frames(free_, moves);
        }
        best_ = objective;
        if (moves) {
            state_.fit_directions();
        }
        state_.fit_points();
        const auto directions = state_.directions();
        if (rounds_ > 0) {
            policy_.copy(static_cast<const double*>(shapes_.data()), before_.data(), shape_numbers());
        }
        save();
        pushed_ = rounds_ > 0;
        if (pushed_) {
            const double next = 0.5 * (1 + std::sqrt(1 + 4 * momentum_ * momentum_)), factor = (momentum_ - 1) / next;
            momentum_ = next;
            policy_.transform(shape_numbers(), push_on{before_.data(), factor, state_.shapes()});
            for (std::size_t k = 0; k < state_.count(); ++k) {
                double* d = state_.directions().data() + 3 * k;
                for (std::size_t i = 0; i < 3; ++i) {
                    d[i] += factor * (d[i] - directions_before_[3 * k + i]);
                }
                const double length = std::sqrt(dot3(d, d));
                for (std::size_t i = 0; i < 3; ++i) {
                    d[i] = length > 0 ? d[i] / length : directions[3 * k + i];
                }
            }
            state_.normalize_basis();
        }
        directions_before_ = directions;
        ++rounds_;
        return objective;
    }

    /// The last round's result without the push, and frames fitted to it.
    void finish() {
        if (pushed_) {
            restore();
        }
        state_.fit_frames(free_);
        state_.centre_shapes();
    }

private:
    std::size_t shape_numbers() const { return state_.unknown_shapes() * state_.tracks().points; }

    void save() {
        policy_.copy(static_cast<const double*>(state_.shapes()), shapes_.data(), shapes_.size());
        policy_.copy(static_cast<const double*>(state_.cameras()), cameras_.data(), cameras_.size());
        policy_.copy(static_cast<const double*>(state_.coefficients()), coefficients_.data(), coefficients_.size());
        directions_ = state_.directions();
    }

    void restore() {
        policy_.copy(static_cast<const double*>(shapes_.data()), state_.shapes(), shapes_.size());
        policy_.copy(static_cast<const double*>(cameras_.data()), state_.cameras(), cameras_.size());
        policy_.copy(static_cast<const double*>(coefficients_.data()), state_.coefficients(), coefficients_.size());
        state_.directions() = directions_;
    }

    const Policy& policy_;
    alternation<Policy, T>& state_;
    free_cameras free_;
    bool pushed_ = false;
    double momentum_ = 1, best_ = 0;
    std::size_t rounds_ = 0;
    buffer_of<Policy, double> before_, shapes_, cameras_, coefficients_;
    std::vector<double> directions_, directions_before_;
};

}  // namespace moden::detail
