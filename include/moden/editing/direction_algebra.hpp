#pragma once

// What one does with directions: edit codes along them, make them independent of others, and move between codes.

#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/editing/detail/model_synthesis.hpp>
#include <moden/linalg/decompositions.hpp>
#include <moden/linalg/detail/project_away.hpp>
#include <moden/multilinear/tucker.hpp>
#include <moden/policy/cpu.hpp>

namespace moden {

/// What a strength counts from.
enum class edit_step {
    relative,  ///< from the code: w + s v
    absolute   ///< from the boundary: the code's own share of v is removed first, w - (w' v) v + s sigma v, v of length 1
};

/// The way between two codes.
enum class interpolation_path {
    straight,  ///< lerp, in w
    spherical  ///< slerp, in z
};

/// Options of edit_codes.
struct edit_options {
    edit_step step = edit_step::relative;
    double deviation = 1;       ///< sigma of absolute steps: the standard deviation of w' v over codes
    std::size_t rows = 1;       ///< rows of w+ that a code consists of
    index_range layers = {};    ///< the rows that are edited; default: all
};

namespace detail {

/// What happens to a code's entries i in [first, last); v(i) = direction[(i - first) % period].
template <class T>
struct edit_code {
    const T* codes;
    const T* direction;
    const double* strengths;
    std::size_t size, strength_count, first, last, offset, period;
    edit_step step;
    double length, deviation;
    T* result;

    MODEN_HOST_DEVICE void operator()(std::size_t row) const {
        const T* code = codes + row / strength_count * size;
        T* target = result + row * size;
        double factor = strengths[row % strength_count];
        double removed = 0;
        if (step == edit_step::absolute) {
            double along = 0;
            for (std::size_t i = first; i < last; ++i) {
                along += static_cast<double>(code[i]) * component(i);
            }
            removed = along / (length * length);
            factor *= deviation / length;
        }
        for (std::size_t i = 0; i < size; ++i) {
            const bool edited = i >= first && i < last;
            target[i] = edited ? static_cast<T>(static_cast<double>(code[i]) + (factor - removed) * component(i)) : code[i];
        }
    }

    MODEN_HOST_DEVICE double component(std::size_t i) const { return static_cast<double>(direction[(i - offset) % period]); }
};

/// Rows a and b (broadcast if there is one only) to what lies between them at t.
template <class T>
struct interpolate_row {
    const T* from;
    const T* to;
    const double* positions;
    std::size_t size, from_count, to_count, position_count;
    interpolation_path path;
    T* result;

    MODEN_HOST_DEVICE void operator()(std::size_t n) const {
        const T* a = from + (from_count == 1 ? 0 : n) * size;
        const T* b = to + (to_count == 1 ? 0 : n) * size;
        const double t = positions[position_count == 1 ? 0 : n];
        double weight_a = 1 - t, weight_b = t, scale = 1, length_a = 1, length_b = 1;
        if (path == interpolation_path::spherical) {
            double aa = 0, bb = 0;
            for (std::size_t i = 0; i < size; ++i) {
                const double x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
                aa += x * x;
                bb += y * y;
            }
            length_a = std::sqrt(aa);
            length_b = std::sqrt(bb);
            if (length_a > 0 && length_b > 0) {
                // The angle from half the distances of the unit vectors: accurate for small angles too.
                double apart = 0, together = 0;
                for (std::size_t i = 0; i < size; ++i) {
                    const double x = static_cast<double>(a[i]) / length_a, y = static_cast<double>(b[i]) / length_b;
                    apart += (x - y) * (x - y);
                    together += (x + y) * (x + y);
                }
                const double angle = 2 * std::atan2(std::sqrt(apart), std::sqrt(together));
                const double sine = std::sin(angle);
                if (sine > 1e-12) {
                    weight_a = std::sin((1 - t) * angle) / sine;
                    weight_b = std::sin(t * angle) / sine;
                }
                scale = length_a + t * (length_b - length_a);
            } else {
                length_a = length_b = 1;
            }
        }
        for (std::size_t i = 0; i < size; ++i) {
            result[n * size + i] = static_cast<T>(
                scale * (weight_a * static_cast<double>(a[i]) / length_a + weight_b * static_cast<double>(b[i]) / length_b));
        }
    }
};

template <class Policy, any_tensor From, any_tensor To>
auto interpolate(const Policy& policy, const From& from, const To& to, const std::vector<double>& positions, interpolation_path path,
                 const char* function) {
    using T = value_type_of<From>;
    static_assert(std::is_same_v<T, value_type_of<To>>, "moden: codes to interpolate between hold different types");
    const auto a = evaluate(policy, from);
    const auto b = evaluate(policy, to);
    const extents& one = a.view().shape;
    const extents& other = b.view().shape;
    require<shape_error>(one.size() == 2 && other.size() == 2 && one[1] == other[1], function, ": codes of ", one, " and ", other,
                         " (expected N x d both)");
    const std::size_t count = std::max({one[0], other[0], positions.size()});
    const auto fits = [&](std::size_t given) { return given == count || given == 1; };
    require<shape_error>(fits(one[0]) && fits(other[0]) && fits(positions.size()), function, ": ", one[0], " codes, ", other[0],
                         " codes and ", positions.size(), " positions (expected equal numbers, or 1)");
    for (const double t : positions) {
        require<argument_error>(std::isfinite(t), function, ": position ", t, " (expected a finite number)");
    }
    const auto where = policy.template allocate<double>(positions.size());
    policy.upload(positions.data(), where.data(), positions.size());
    auto result = policy.template make_tensor<T, 2>({count, one[1]});
    policy.transform(count,
                     interpolate_row<T>{a.view().data, b.view().data, where.data(), one[1], one[0], other[0], positions.size(), path, result.data()},
                     4 * one[1]);
    return result;
}

}  // namespace detail

/// Codes moved along a direction, by several strengths.
///
/// \param policy    where to compute
/// \param codes     N x D
/// \param direction D entries (a vector or 1 x D), or D / rows: the same for every row of w+
/// \param strengths s, in units of the direction's length (relative) or of `deviation` (absolute); finite
/// \param options   relative or absolute steps, which rows of w+ are edited
/// \return          N K x D for K strengths: code 0 with every strength, then code 1, ...
/// \throws shape_error if direction, rows and codes do not fit, or the range of layers exceeds the rows; argument_error for a
///         strength that is not finite, which is named, or an absolute step along a direction of length 0
///
/// Cost: one pass over the result. Source: 001 Eq. 3.16 and Paper II Eqs. 15, 18 (relative); 000 Eq. 4 with v of length 1
/// (absolute; with layers, lengths and products are those of the edited rows).
/// \snippet tests/editing/directions.cpp edit_codes
template <execution_policy Policy, any_tensor Codes, any_tensor Direction>
auto edit_codes(const Policy& policy, const Codes& codes, const Direction& direction, const std::vector<double>& strengths,
                const edit_options& options = {}) {
    using T = value_type_of<Codes>;
    static_assert(std::is_same_v<T, value_type_of<Direction>>, "moden: edit_codes with codes and a direction of different type");
    const auto argument = detail::evaluate(policy, codes);
    const auto along = detail::evaluate(policy, direction);
    const auto& view = argument.view();
    detail::require<shape_error>(view.order() == 2 && view.shape[1] > 0, "edit_codes: codes of ", view.shape, " (expected N x D)");
    const std::size_t size = view.shape[1], length = along.view().size();
    detail::require<shape_error>(options.rows > 0 && size % options.rows == 0, "edit_codes: ", options.rows, " rows of codes with ", size,
                                 " entries (expected a divisor)");
    const std::size_t row = size / options.rows;
    detail::require<shape_error>(length == size || length == row, "edit_codes: a direction of ", length, " entries for codes of ", size,
                                 " in ", options.rows, " rows");
    const auto [first, given] = options.layers;
    detail::require<shape_error>(first < options.rows, "edit_codes: layers from ", first, " of ", options.rows, " rows");
    const std::size_t count = given == static_cast<std::size_t>(-1) ? options.rows - first : given;
    detail::require<shape_error>(count <= options.rows - first, "edit_codes: layers ", first, " to ", first + count, " of ", options.rows, " rows");
    for (const double s : strengths) {
        detail::require<argument_error>(std::isfinite(s), "edit_codes: strength ", s, " (expected a finite number)");
    }
    detail::require<argument_error>(std::isfinite(options.deviation), "edit_codes: deviation ", options.deviation, " (expected a finite number)");
    const std::size_t begin = first * row, end = (first + count) * row;
    double square = 0;
    if (length == size) {
        square = detail::sum_of_squares(policy, along.view().data + begin, end - begin);
    } else {
        square = static_cast<double>(count) * detail::sum_of_squares(policy, along.view().data, length);
    }
    detail::require<argument_error>(options.step == edit_step::relative || square > 0, "edit_codes: an absolute step along a direction of length 0");
    const auto steps = policy.template allocate<double>(strengths.size());
    policy.upload(strengths.data(), steps.data(), strengths.size());
    auto result = policy.template make_tensor<T, 2>({view.shape[0] * strengths.size(), size});
    policy.transform(result.shape()[0],
                     detail::edit_code<T>{view.data, along.view().data, steps.data(), size, strengths.size(), begin, end,
                                          length == size ? 0 : begin, length, options.step, std::sqrt(square), options.deviation, result.data()},
                     size);
    return result;
}

template <any_tensor Codes, any_tensor Direction>
auto edit_codes(const Codes& codes, const Direction& direction, const std::vector<double>& strengths, const edit_options& options = {}) {
    return edit_codes(cpu_policy{}, codes, direction, strengths, options);
}

/// How project_out treats several others.
enum class projection_order {
    together,  ///< v - C (C'C)^-1 C' v: orthogonal to all of them
    in_turn    ///< v - c (c'v) / (c'c) for one after the other: the same where they are orthogonal, otherwise orthogonal to the last one only
};

namespace detail {

/// Rows without their share of one direction; nothing changes where that has length 0.
template <class T>
struct remove_share {
    const T* other;
    std::size_t size;
    T* rows;
    MODEN_HOST_DEVICE void operator()(std::size_t n) const {
        T* const row = rows + n * size;
        double square = 0, product = 0;
        for (std::size_t i = 0; i < size; ++i) {
            square += static_cast<double>(other[i]) * static_cast<double>(other[i]);
            product += static_cast<double>(other[i]) * static_cast<double>(row[i]);
        }
        const double share = square > 0 ? product / square : 0;
        for (std::size_t i = 0; i < size; ++i) {
            row[i] = static_cast<T>(static_cast<double>(row[i]) - share * static_cast<double>(other[i]));
        }
    }
};

}  // namespace detail

/// Directions without what they have of others, v - C (C'C)^-1 C' v: moving along them leaves the others alone.
///
/// \param policy     where to compute
/// \param directions N x d
/// \param others     k x d, the directions to be conditioned on; k <= d
/// \param order      all others together, or one after the other
/// \return           N x d, orthogonal to all of `others` (in turn: to the last one); not normalised
/// \throws shape_error if the sizes differ or k > d; argument_error for NaN or infinity
///
/// Others that are linearly dependent (to 8 d eps) count once. Cost: the SVD of `others`, 4 N k d flops; in turn k passes.
/// Source: Paper V Eq. 11 (with V the matrix of the others as columns); 001 Eq. 6.35, which projects onto the wrong vector, for
/// projection_order::in_turn.
/// \snippet tests/editing/directions.cpp project_out
template <execution_policy Policy, any_tensor Directions, any_tensor Others>
auto project_out(const Policy& policy, const Directions& directions, const Others& others, projection_order order = projection_order::together) {
    using T = value_type_of<Directions>;
    using space = typename Policy::memory_space;
    static_assert(std::is_same_v<T, value_type_of<Others>>, "moden: project_out with directions of different type");
    return detail::with_finite_matrix(policy, directions, "project_out", [&](matrix_view<const T, space> v) {
        auto result = policy.template make_tensor<T, 2>({v.rows, v.columns});
        policy.copy(v.data, result.data(), v.rows * v.columns);
        const auto view = detail::evaluate(policy, others);
        detail::require<shape_error>(view.view().order() == 2 && view.view().shape[1] == v.columns && view.view().shape[0] <= v.columns,
                                     "project_out: directions of ", v.rows, " x ", v.columns, " and others of ", view.view().shape,
                                     " (expected k x ", v.columns, ", k <= ", v.columns, ")");
        if (view.view().shape[0] == 0) {
            return result;
        }
        if (order == projection_order::in_turn) {
            detail::require_finite(policy, view.view().data, view.view().size(), "project_out", "the matrix of others");
            for (std::size_t i = 0; i < view.view().shape[0]; ++i) {
                policy.transform(v.rows, detail::remove_share<T>{view.view().data + i * v.columns, v.columns, result.data()}, 2 * v.columns);
            }
            return result;
        }
        const auto svd = thin_svd(policy, others);
        std::size_t rank = 0;
        const double least = 8 * static_cast<double>(v.columns) * static_cast<double>(std::numeric_limits<T>::epsilon()) *
                             static_cast<double>(svd.singular_values[0]);
        while (rank < svd.singular_values.size() && static_cast<double>(svd.singular_values[rank]) > least) {
            ++rank;
        }
        detail::project_away<T>(policy, transposed(row_major<const T, space>(svd.vt.data(), rank, v.columns)),
                                transposed(row_major<T, space>(result.data(), v.rows, v.columns)));
        return result;
    });
}

template <any_tensor Directions, any_tensor Others>
auto project_out(const Directions& directions, const Others& others, projection_order order = projection_order::together) {
    return project_out(cpu_policy{}, directions, others, order);
}

/// Straight between codes, (1 - t) a + t b. With a the mean code this is the truncation trick, with psi = t.
///
/// \param policy    where to compute
/// \param from      N x d, or one code for all
/// \param to        N x d, or one code for all
/// \param positions t: N of them, or one for all; any finite number
/// \return          N x d
/// \throws shape_error if the numbers do not fit; argument_error for a position that is not finite
///
/// Cost: one pass. Source: 001 Eq. 2.15.
/// \snippet tests/editing/directions.cpp interpolation
template <execution_policy Policy, any_tensor From, any_tensor To>
auto lerp(const Policy& policy, const From& from, const To& to, const std::vector<double>& positions) {
    return detail::interpolate(policy, from, to, positions, interpolation_path::straight, "lerp");
}

template <any_tensor From, any_tensor To>
auto lerp(const From& from, const To& to, const std::vector<double>& positions) {
    return lerp(cpu_policy{}, from, to, positions);
}

/// Between codes along the arc of a circle: directions turn evenly, lengths change evenly. For codes of opposite or equal direction,
/// and where one is 0, straight.
///
/// \param policy    where to compute
/// \param from      N x d, or one code for all
/// \param to        N x d, or one code for all
/// \param positions t: N of them, or one for all; any finite number
/// \return          N x d
/// \throws shape_error if the numbers do not fit; argument_error for a position that is not finite
///
/// Cost: four passes. Source: Shoemake 1985; Karras et al. 2019 for path lengths in z.
/// \snippet tests/editing/directions.cpp interpolation
template <execution_policy Policy, any_tensor From, any_tensor To>
auto slerp(const Policy& policy, const From& from, const To& to, const std::vector<double>& positions) {
    return detail::interpolate(policy, from, to, positions, interpolation_path::spherical, "slerp");
}

template <any_tensor From, any_tensor To>
auto slerp(const From& from, const To& to, const std::vector<double>& positions) {
    return slerp(cpu_policy{}, from, to, positions);
}

}  // namespace moden
