#pragma once

// Alternating least squares for cameras, coefficients, basis shapes and their directions, for complete tracks and with a mask:
//
//     sum over observed (n, l) of |x_nl - t_n - M_n (s_l + sum_k alpha_nk d_k b_kl)|^2 + ridge sum_nk |M_n|^2 / 2 alpha_nk^2 |d_k|^2 |b_k|^2
//
// with the translations eliminated. Every step finds a minimum over its unknowns or lowers the objective.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/core/view.hpp>
#include <moden/linalg/detail/panels.hpp>
#include <moden/nrsfm/cameras.hpp>
#include <moden/nrsfm/detail/alternation_steps.hpp>
#include <moden/nrsfm/detail/frame_fit.hpp>
#include <moden/nrsfm/detail/tracks.hpp>

namespace moden::detail {

/// A factorization under way. Shapes are p x L (three rows of the rigid shape, then b_1, ..., b_K).
template <class Policy, class T>
class alternation {
public:
    using space = typename Policy::memory_space;

    alternation(const Policy& policy, const centred_tracks<Policy, T>& tracks, camera_model model, std::size_t count, double ridge)
        : policy_(policy), tracks_(tracks), model_(model), count_(count), ridge_(ridge), cameras_(policy.template allocate<double>(6 * tracks.frames)),
          coefficients_(policy.template allocate<double>(count * tracks.frames)), shapes_(policy.template allocate<double>((3 + count) * tracks.points)),
          translations_(policy.template allocate<double>(2 * tracks.frames)),
          means_(policy.template allocate<double>(tracks.complete() ? 0 : (3 + count) * tracks.frames)), directions_(3 * count, 0.0) {
        policy.transform(translations_.size(), fill_with<double>{translations_.data(), 0.0});
        policy.transform(means_.size(), fill_with<double>{means_.data(), 0.0});
    }

    std::size_t count() const { return count_; }
    std::size_t unknown_shapes() const { return 3 + count_; }
    camera_model model() const { return model_; }
    const centred_tracks<Policy, T>& tracks() const { return tracks_; }
    double* cameras() { return cameras_.data(); }
    double* coefficients() { return coefficients_.data(); }
    double* shapes() { return shapes_.data(); }
    double* translations() { return translations_.data(); }
    std::vector<double>& directions() { return directions_; }  ///< K x 3, on the host
    void set_model(camera_model model) { model_ = model; }

    /// What is free of the cameras, and coefficients, of every frame; returns the objective. With `sums`, what the directions need is summed up.
    double fit_frames(free_cameras freedom, bool sum_up = false) {
        const std::size_t p = unknown_shapes(), points = tracks_.points, block = frames_at_once();
        const bool complete = tracks_.complete();
        const std::size_t stride = complete ? p : p + 1, gram_size = stride * stride;
        const auto directions = uploaded(policy_, directions_);
        const auto shapes = row_major<const double, space>(shapes_.data(), p, points);
        const auto moments = policy_.template allocate<double>(block * 2 * p);
        const auto grams = policy_.template allocate<double>(complete ? gram_size : block * gram_size);
        const auto objectives = policy_.template allocate<double>(block);
        const auto scratch = policy_.template allocate<double>(block * frame_fit::scratch_size(count_, model_));
        const auto outer = policy_.template allocate<double>(complete ? 0 : points * gram_size);
        sums_.assign(sum_up ? sum_pieces * count_ * count_ * direction_sums::size : 0, 0.0);
        const auto sums = uploaded(policy_, sums_);
        if (complete) {
            policy_.template syrk<double>(1.0, shapes, 0.0, row_major<double, space>(grams.data(), p, p));
        } else {
            policy_.transform(points, outer_products_of_point{shapes_.data(), p, points, outer.data()}, gram_size);
        }
        double objective = 0;
        for_each_block([&](const_matrix_view<double, space> rows, std::size_t first, std::size_t frames) {
            policy_.template gemm<double>(1.0, rows, transposed(shapes), 0.0, row_major<double, space>(moments.data(), 2 * frames, p));
            if (!complete) {
                policy_.template gemm<double>(1.0, mask_rows(first, frames), row_major<const double, space>(outer.data(), points, gram_size), 0.0,
                                              row_major<double, space>(grams.data(), frames, gram_size));
                policy_.transform(frames, centre_gram{p, grams.data(), means_.data() + first * p}, gram_size);
            }
            policy_.transform(frames,
                              frame_fit{moments.data(), grams.data(), stride, complete ? 0 : gram_size, tracks_.energies.data() + first, directions.data(), count_, model_,
                                        freedom, ridge_, 1e-12, 20, cameras_.data() + first * 6, coefficients_.data() + first * count_,
                                        objectives.data(), nullptr, scratch.data()},
                              1000 * p);
            objective += policy_.reduce(frames, 0.0, as_double<double>{objectives.data()}, plus{});
            if (sum_up) {
                policy_.transform(sum_pieces * count_ * count_,
                                  direction_sums{cameras_.data() + first * 6, coefficients_.data() + first * count_, moments.data(), grams.data(), stride,
                                                 complete ? 0 : gram_size, count_, frames, sum_pieces, sums.data()},
                                  10 * frames / sum_pieces);
            }
        });
        if (sum_up) {
            policy_.download(static_cast<const double*>(sums.data()), sums_.data(), sums_.size());
        }
        return objective;
    }

    /// All directions at once, from the sums of fit_frames: a system of 3K unknowns. Lengths go into the coefficients.
    void fit_directions() {
        const std::size_t k = count_, n = 3 * k;
        std::vector<double> matrix(n * n, 0.0), work(n * n), right(n, 0.0), squares(k, 0.0);
        static constexpr std::size_t place[9] = {0, 1, 2, 1, 3, 4, 2, 4, 5};
        for (std::size_t piece = 0; piece < sum_pieces; ++piece) {
            for (std::size_t i = 0; i < k; ++i) {
                for (std::size_t j = 0; j < k; ++j) {
                    const double* sum = sums_.data() + ((piece * k + i) * k + j) * direction_sums::size;
                    for (std::size_t a = 0; a < 9; ++a) {
                        matrix[(3 * i + a / 3) * n + 3 * j + a % 3] += sum[place[a]];
                    }
                    for (std::size_t a = 0; a < 3 && i == j; ++a) {
                        right[3 * i + a] += sum[6 + a];
                    }
                    squares[i] += i == j ? sum[9] : 0.0;
                }
            }
        }
        for (std::size_t i = 0; i < n; ++i) {
            matrix[i * n + i] += ridge_ * squares[i / 3];
        }
        solve_semidefinite_in_place(matrix.data(), n, right.data(), work.data());
        std::vector<double> lengths(k);
        for (std::size_t i = 0; i < k; ++i) {
            lengths[i] = std::sqrt(dot3(right.data() + 3 * i, right.data() + 3 * i));
            for (std::size_t a = 0; a < 3 && lengths[i] > 0; ++a) {
                directions_[3 * i + a] = right[3 * i + a] / lengths[i];
            }
        }
        scale_coefficients(lengths);
    }

    /// The rigid shape and the b_k, for every point its 3 + K numbers. Lengths of the b_k go into the coefficients.
    void fit_points() {
        const std::size_t p = unknown_shapes(), points = tracks_.points, block = frames_at_once();
        const bool complete = tracks_.complete();
        const auto directions = uploaded(policy_, directions_);
        const auto design = policy_.template allocate<double>(2 * block * p);
        const auto products = policy_.template allocate<double>(complete ? 0 : block * p * p);
        const auto shifted = policy_.template allocate<double>(complete ? 0 : 2 * block * points);
        const std::size_t grams = complete ? 1 : points;
        const auto gram = policy_.template allocate<double>(grams * p * p);
        const auto right = policy_.template allocate<double>(points * p);
        const auto scratch = policy_.template allocate<double>(2 * points * p * p + points * p);
        for_each_block([&](const_matrix_view<double, space> rows, std::size_t first, std::size_t frames) {
            const double beta = first == 0 ? 0.0 : 1.0;
            policy_.transform(frames, design_of_frame{cameras_.data() + first * 6, coefficients_.data() + first * count_, directions.data(), count_,
                                                      complete ? nullptr : means_.data() + first * p, translations_.data() + first * 2, design.data(),
                                                      complete ? nullptr : products.data()},
                              2 * p * p);
            const auto psi = row_major<const double, space>(design.data(), 2 * frames, p);
            const auto sums = row_major<double, space>(right.data(), points, p);
            if (complete) {
                policy_.template syrk<double>(1.0, transposed(psi), beta, row_major<double, space>(gram.data(), p, p));
                policy_.template gemm<double>(1.0, transposed(rows), psi, beta, sums);
            } else {
                policy_.template gemm<double>(1.0, transposed(mask_rows(first, frames)), row_major<const double, space>(products.data(), frames, p * p), beta,
                                              row_major<double, space>(gram.data(), points, p * p));
                policy_.transform_grid(2 * frames, points, shift_observed{rows.data, tracks_.mask.data() + first * points,
                                                                          translations_.data() + first * 2, points, shifted.data()});
                policy_.template gemm<double>(1.0, transposed(row_major<const double, space>(shifted.data(), 2 * frames, points)), psi, beta, sums);
            }
        });
        std::vector<double> penalty(p, 0.0);
        if (ridge_ > 0) {
            const auto in_image = policy_.template allocate<double>(coefficients_.size());
            policy_.transform(coefficients_.size(), scaled_coefficients{cameras_.data(), coefficients_.data(), count_, in_image.data()});
            const auto squares = column_squares(in_image.data(), tracks_.frames, count_);
            std::transform(squares.begin(), squares.end(), penalty.begin() + 3, [&](double square) { return ridge_ * square; });
        }
        const auto penalties = uploaded(policy_, penalty);
        policy_.transform(points, solve_point{gram.data(), complete ? 0 : p * p, penalties.data(), right.data(), p, points, shapes_.data(), scratch.data()},
                          p * p * p);
        normalize_basis();
    }

    /// b_k at length 1, with the lengths in the coefficients.
    void normalize_basis() {
        const auto squares = policy_.template allocate<double>(count_);
        policy_.transform(count_, row_square<double>{shapes_.data() + 3 * tracks_.points, tracks_.points, squares.data()}, tracks_.points);
        auto lengths = to_vector<Policy, double>(policy_, squares.data(), count_);
        std::vector<double> factors(count_);
        for (std::size_t k = 0; k < count_; ++k) {
            lengths[k] = std::sqrt(lengths[k]);
            factors[k] = lengths[k] > 0 ? 1 / lengths[k] : 1;
        }
        const auto scales = uploaded(policy_, factors);
        policy_.transform(count_ * tracks_.points, multiply_rows<double>{scales.data(), tracks_.points, shapes_.data() + 3 * tracks_.points});
        scale_coefficients(lengths);
    }

    /// alpha_nk *= factors[k].
    void scale_coefficients(const std::vector<double>& factors) {
        const auto scales = uploaded(policy_, factors);
        policy_.transform(tracks_.frames * count_, multiply_columns<double>{scales.data(), count_, coefficients_.data()});
    }

    /// Cameras M -> M A and shapes S -> A^-1 S, directions with them; nothing that is seen changes. 3 x 3 matrices.
    void change_frame(const std::array<double, 9>& matrix, const std::array<double, 9>& inverse) {
        policy_.transform(tracks_.frames, multiply_camera{matrix, cameras_.data()}, 18);
        policy_.transform(tracks_.points, multiply_point{inverse, tracks_.points, shapes_.data()}, 9);
        if (!tracks_.complete()) {
            policy_.transform(tracks_.frames, multiply_mean{inverse, unknown_shapes(), means_.data()}, 9);
        }
        for (std::size_t k = 0; k < count_; ++k) {
            const std::array<double, 3> d{directions_[3 * k], directions_[3 * k + 1], directions_[3 * k + 2]};
            for (std::size_t i = 0; i < 3; ++i) {
                directions_[3 * k + i] = dot3(inverse.data() + 3 * i, d.data());
            }
        }
    }

    /// With a mask: shapes and basis about the mean of the points, translations (from the frames' means) that belong to them.
    void centre_shapes() {
        if (tracks_.complete()) {
            return;
        }
        const std::size_t p = unknown_shapes();
        const auto sums = policy_.template allocate<double>(p);
        const auto directions = uploaded(policy_, directions_);
        update_translations();
        policy_.transform(p, centre_line{tracks_.points, shapes_.data(), sums.data()}, tracks_.points);
        policy_.transform(tracks_.frames, move_translation{cameras_.data(), coefficients_.data(), directions.data(), count_, sums.data(), translations_.data()},
                          2 * p);
        policy_.transform(tracks_.frames * p, subtract_line<double, double>{means_.data(), sums.data(), p, means_.data()});  // they belonged to the shapes before
    }

    /// Cameras, rigid shape and translations of a factorization without coefficients, of the same tracks.
    void take_rigid_part(const alternation& rigid) {
        const std::size_t frames = tracks_.frames;
        policy_.copy(static_cast<const double*>(rigid.cameras_.data()), cameras_.data(), 6 * frames);
        policy_.copy(static_cast<const double*>(rigid.shapes_.data()), shapes_.data(), 3 * tracks_.points);
        policy_.copy(static_cast<const double*>(rigid.translations_.data()), translations_.data(), 2 * frames);
    }

    /// The sum of squares of the residuals, measured from the residuals themselves.
    double measured_objective() {
        double sum = 0;
        for_each_residual([&](const_matrix_view<double, space> residual, std::size_t) {
            sum += sum_of_squares(policy_, residual.data, residual.rows * residual.columns);
        });
        return sum;
    }

    /// visit(residuals, first row) for blocks of rows; 0 where nothing is observed.
    template <class Visit>
    void for_each_residual(Visit visit) {
        const std::size_t p = unknown_shapes(), points = tracks_.points, block = frames_at_once();
        const auto directions = uploaded(policy_, directions_);
        const auto design = policy_.template allocate<double>(2 * block * p);
        const auto residual = policy_.template allocate<double>(2 * block * points);
        for_each_block([&](const_matrix_view<double, space> rows, std::size_t first, std::size_t frames) {
            policy_.transform(frames, design_of_frame{cameras_.data() + first * 6, coefficients_.data() + first * count_, directions.data(), count_, nullptr,
                                                      nullptr, design.data(), nullptr},
                              2 * p);
            policy_.copy(rows.data, residual.data(), 2 * frames * points);
            policy_.template gemm<double>(-1.0, row_major<const double, space>(design.data(), 2 * frames, p),
                                          row_major<const double, space>(shapes_.data(), p, points), 1.0,
                                          row_major<double, space>(residual.data(), 2 * frames, points));
            if (!tracks_.complete()) {
                policy_.transform_grid(2 * frames, points, shift_observed{residual.data(), tracks_.mask.data() + first * points,
                                                                          translations_.data() + first * 2, points, residual.data()});
            }
            visit(row_major<const double, space>(residual.data(), 2 * frames, points), 2 * first);
        });
    }

    /// Translations that belong to the present cameras, coefficients and shapes (means over what each frame shows as of the last fit_frames).
    void update_translations() {
        if (!tracks_.complete()) {
            const auto directions = uploaded(policy_, directions_);
            policy_.transform(tracks_.frames, design_of_frame{cameras_.data(), coefficients_.data(), directions.data(), count_, means_.data(),
                                                              translations_.data(), nullptr, nullptr},
                              2 * unknown_shapes());
        }
    }

    /// Sums of squares of the columns of a rows x columns matrix.
    std::vector<double> column_squares(const double* matrix, std::size_t rows, std::size_t columns) const {
        if (columns == 0) {
            return {};
        }
        const auto gram = policy_.template allocate<double>(columns * columns);
        policy_.template syrk<double>(1.0, transposed(row_major<const double, space>(matrix, rows, columns)), 0.0,
                                      row_major<double, space>(gram.data(), columns, columns));
        const auto values = to_vector<Policy, double>(policy_, gram.data(), columns * columns);
        std::vector<double> result(columns);
        for (std::size_t k = 0; k < columns; ++k) {
            result[k] = values[k * columns + k];
        }
        return result;
    }

private:
    static constexpr std::size_t sum_pieces = 16;

    std::size_t frames_at_once() const {
        return std::min(tracks_.frames, std::clamp<std::size_t>(double_block / (2 * tracks_.points), 64, 1024));
    }

    const_matrix_view<double, space> mask_rows(std::size_t first, std::size_t frames) const {
        return row_major<const double, space>(tracks_.mask.data() + first * tracks_.points, frames, tracks_.points);
    }

    template <class Visit>
    void for_each_block(Visit visit) const {
        for_each_double_block(policy_, tracks_.matrix(), 2 * frames_at_once() * tracks_.points,
                              [&](const_matrix_view<double, space> rows, std::size_t first) { visit(rows, first / 2, rows.rows / 2); });
    }

    const Policy& policy_;
    const centred_tracks<Policy, T>& tracks_;
    camera_model model_;
    std::size_t count_;
    double ridge_;
    buffer_of<Policy, double> cameras_, coefficients_, shapes_, translations_;
    buffer_of<Policy, double> means_;  ///< of the shapes over what each frame shows, N x p
    std::vector<double> directions_, sums_;
};

}  // namespace moden::detail
