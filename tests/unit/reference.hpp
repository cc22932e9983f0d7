#pragma once

// What the unit tests compare with: straight loops in extended precision, matrices and tensors of known spectrum, and
// LAPACK-style ratios. Nothing here calls an algorithm of the library; only its random numbers are used.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <moden/core/error.hpp>
#include <moden/core/random.hpp>
#include <moden/core/tensor.hpp>
#include <moden/policy/cpu.hpp>

namespace reference {

using moden::dynamic_tensor;
using moden::extents;
using moden::tensor;

/// Sizes to run through.
using sizes = std::initializer_list<std::size_t>;

/// Sums are formed in this type, so that the reference has no rounding errors worth mentioning.
using wide = long double;

template <class T>
inline constexpr double epsilon = static_cast<double>(std::numeric_limits<T>::epsilon());

/// What LAPACK's own tests allow for |A - U S V'| / (|A| max(m, n) eps) and |I - U'U| / (k eps).
inline constexpr double lapack_bound = 30;

// ---- random data ----------------------------------------------------------------------------------------------------

template <class T>
dynamic_tensor<T> normal_tensor(const extents& shape, std::uint64_t seed) {
    auto result = dynamic_tensor<T>::from_shape(shape);
    moden::fill_normal(moden::cpu_policy{}, result.data(), result.size(), seed);
    return result;
}

template <class T, std::size_t N>
tensor<T, N> normal_tensor_of_order(const extents& shape, std::uint64_t seed) {
    auto result = tensor<T, N>::from_shape(shape);
    moden::fill_normal(moden::cpu_policy{}, result.data(), result.size(), seed);
    return result;
}

template <class T>
tensor<T, 2> normal_matrix(std::size_t rows, std::size_t columns, std::uint64_t seed) {
    return normal_tensor_of_order<T, 2>({rows, columns}, seed);
}

/// One J_n x I_n matrix per mode.
template <class T>
std::vector<tensor<T, 2>> normal_matrices(const extents& rows, const extents& columns, std::uint64_t seed) {
    std::vector<tensor<T, 2>> result;
    for (std::size_t n = 0; n < rows.size(); ++n) {
        result.push_back(normal_matrix<T>(rows[n], columns[n], seed + n));
    }
    return result;
}

// ---- indices --------------------------------------------------------------------------------------------------------

inline std::size_t element_count(const extents& shape) {
    std::size_t count = 1;
    for (const std::size_t extent : shape) {
        count *= extent;
    }
    return count;
}

template <class Tensor>
extents shape_of(const Tensor& values) {
    return extents(values.shape().begin(), values.shape().end());
}

/// Position of an element in a row-major tensor: the last index varies fastest.
inline std::size_t position(const extents& shape, const extents& index) {
    std::size_t result = 0;
    for (std::size_t n = 0; n < shape.size(); ++n) {
        result = result * shape[n] + index[n];
    }
    return result;
}

/// function(index) for every index of a shape, the last one fastest.
template <class Function>
void for_each_index(const extents& shape, Function function) {
    extents index(shape.size(), 0);
    for (std::size_t count = element_count(shape); count > 0; --count) {
        function(static_cast<const extents&>(index));
        for (std::size_t n = shape.size(); n-- > 0;) {
            if (++index[n] < shape[n]) {
                break;
            }
            index[n] = 0;
        }
    }
}

inline extents without(extents list, std::size_t mode) {
    list.erase(list.begin() + static_cast<std::ptrdiff_t>(mode));
    return list;
}

inline extents replaced(extents list, std::size_t mode, std::size_t value) {
    list[mode] = value;
    return list;
}

// ---- sums with an error bound ---------------------------------------------------------------------------------------

/// Exact values of sums of products, with what rounding may do to them: every element is a sum of at most `terms`
/// products whose magnitudes add up to `magnitude`.
struct sums {
    extents shape;
    std::vector<wide> value;
    std::vector<wide> magnitude;
    std::size_t terms;
};

inline sums zero_sums(const extents& shape, std::size_t terms) {
    const std::size_t count = element_count(shape);
    return {shape, std::vector<wide>(count, 0), std::vector<wide>(count, 0), terms};
}

inline void add(sums& result, std::size_t at, wide product) {
    result.value[at] += product;
    result.magnitude[at] += std::abs(product);
}

/// A shape as it is written in messages, for CAPTURE.
inline std::string text(const extents& shape) {
    return moden::detail::message(shape);
}

/// Largest error of a computed tensor, as a multiple of what the standard model of rounding allows for its sums,
/// terms * eps * magnitude (Higham 2002, Sec. 3.1, in any order of summation). Infinity where shapes differ or a value
/// is NaN.
template <class Tensor>
double worst_error(const Tensor& computed, const sums& expected) {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    if (shape_of(computed) != expected.shape) {
        return infinity;
    }
    const double eps = epsilon<typename Tensor::value_type>;
    double worst = 0;
    for (std::size_t i = 0; i < expected.value.size(); ++i) {
        const double error = static_cast<double>(std::abs(static_cast<wide>(computed.data()[i]) - expected.value[i]));
        const double allowed = eps * static_cast<double>(expected.terms) * static_cast<double>(expected.magnitude[i]);
        if (!(error <= allowed)) {
            worst = std::max(worst, error == error && allowed > 0 ? error / allowed : infinity);
        } else if (allowed > 0) {
            worst = std::max(worst, error / allowed);
        }
    }
    return worst;
}

/// Y(..., j, ...) = sum_i X(..., i, ...) A(j, i), by loops.
template <class Tensor, class Matrix>
sums mode_product(const Tensor& values, const Matrix& matrix, std::size_t mode) {
    const extents shape = shape_of(values);
    sums result = zero_sums(replaced(shape, mode, matrix.shape()[0]), shape[mode] + 1);
    const std::size_t step = element_count({shape.begin() + static_cast<std::ptrdiff_t>(mode) + 1, shape.end()});
    std::size_t at = 0;
    for_each_index(result.shape, [&](const extents& index) {
        const std::size_t first = position(shape, replaced(index, mode, 0));
        for (std::size_t i = 0; i < shape[mode]; ++i) {
            add(result, at,
                static_cast<wide>(values.data()[first + i * step]) * static_cast<wide>(matrix(index[mode], i)));
        }
        ++at;
    });
    return result;
}

/// All products after one another, every matrix J_n x I_n, mode n being the n-th.
template <class T>
sums multi_mode_product(const dynamic_tensor<T>& values, const std::vector<tensor<T, 2>>& matrices) {
    sums current = zero_sums(shape_of(values), 1);
    for (std::size_t i = 0; i < values.size(); ++i) {
        add(current, i, values.data()[i]);
    }
    for (std::size_t mode = 0; mode < matrices.size(); ++mode) {
        const extents shape = current.shape;
        sums next = zero_sums(replaced(shape, mode, matrices[mode].shape()[0]), current.terms + shape[mode] + 1);
        const std::size_t step = element_count({shape.begin() + static_cast<std::ptrdiff_t>(mode) + 1, shape.end()});
        std::size_t at = 0;
        for_each_index(next.shape, [&](const extents& index) {
            const std::size_t first = position(shape, replaced(index, mode, 0));
            for (std::size_t i = 0; i < shape[mode]; ++i) {
                const wide factor = matrices[mode](index[mode], i);
                next.value[at] += current.value[first + i * step] * factor;
                next.magnitude[at] += current.magnitude[first + i * step] * std::abs(factor);
            }
            ++at;
        });
        current = std::move(next);
    }
    return current;
}

/// C = A B, by loops.
template <class Left, class Right>
sums product(const Left& left, const Right& right) {
    const std::size_t depth = left.shape()[1];
    sums result = zero_sums({left.shape()[0], right.shape()[1]}, depth + 1);
    for (std::size_t i = 0; i < result.shape[0]; ++i) {
        for (std::size_t k = 0; k < depth; ++k) {
            for (std::size_t j = 0; j < result.shape[1]; ++j) {
                add(result, i * result.shape[1] + j, static_cast<wide>(left(i, k)) * static_cast<wide>(right(k, j)));
            }
        }
    }
    return result;
}

// ---- matrices in extended precision ---------------------------------------------------------------------------------

using wide_matrix = tensor<wide, 2>;

template <class Matrix>
wide_matrix widened(const Matrix& matrix) {
    auto result = wide_matrix::from_shape({matrix.shape()[0], matrix.shape()[1]});
    for (std::size_t i = 0; i < matrix.shape()[0]; ++i) {
        for (std::size_t j = 0; j < matrix.shape()[1]; ++j) {
            result(i, j) = matrix(i, j);
        }
    }
    return result;
}

template <class T>
tensor<T, 2> narrowed(const wide_matrix& matrix) {
    auto result = tensor<T, 2>::from_shape({matrix.shape()[0], matrix.shape()[1]});
    std::transform(matrix.begin(), matrix.end(), result.begin(), [](wide x) { return static_cast<T>(x); });
    return result;
}

inline wide_matrix multiply(const wide_matrix& left, const wide_matrix& right) {
    wide_matrix result = xt::zeros<wide>({left.shape()[0], right.shape()[1]});
    for (std::size_t i = 0; i < left.shape()[0]; ++i) {
        for (std::size_t k = 0; k < left.shape()[1]; ++k) {
            for (std::size_t j = 0; j < right.shape()[1]; ++j) {
                result(i, j) += left(i, k) * right(k, j);
            }
        }
    }
    return result;
}

inline wide_matrix transpose(const wide_matrix& matrix) {
    auto result = wide_matrix::from_shape({matrix.shape()[1], matrix.shape()[0]});
    for (std::size_t i = 0; i < matrix.shape()[0]; ++i) {
        for (std::size_t j = 0; j < matrix.shape()[1]; ++j) {
            result(j, i) = matrix(i, j);
        }
    }
    return result;
}

inline double frobenius(const wide_matrix& matrix) {
    wide sum = 0;
    for (const wide x : matrix) {
        sum += x * x;
    }
    return static_cast<double>(std::sqrt(sum));
}

/// |A - B| for matrices of any element type.
template <class Left, class Right>
double distance(const Left& left, const Right& right) {
    if (left.shape()[0] != right.shape()[0] || left.shape()[1] != right.shape()[1]) {
        return std::numeric_limits<double>::infinity();
    }
    return frobenius(wide_matrix(widened(left) - widened(right)));
}

/// Columns orthonormal to extended precision: modified Gram-Schmidt, twice, of random numbers.
inline wide_matrix orthonormal_columns(std::size_t rows, std::size_t columns, std::uint64_t seed) {
    wide_matrix result = widened(normal_matrix<double>(rows, columns, seed));
    for (std::size_t j = 0; j < columns; ++j) {
        for (int pass = 0; pass < 2; ++pass) {
            for (std::size_t k = 0; k < j; ++k) {
                wide inner = 0;
                for (std::size_t i = 0; i < rows; ++i) {
                    inner += result(i, k) * result(i, j);
                }
                for (std::size_t i = 0; i < rows; ++i) {
                    result(i, j) -= inner * result(i, k);
                }
            }
        }
        wide squared = 0;
        for (std::size_t i = 0; i < rows; ++i) {
            squared += result(i, j) * result(i, j);
        }
        for (std::size_t i = 0; i < rows; ++i) {
            result(i, j) /= std::sqrt(squared);
        }
    }
    return result;
}

/// A matrix whose thin SVD is known before its entries are rounded to T, which moves singular values by at most eps
/// |A|.
struct known_svd {
    wide_matrix u;
    std::vector<double> values;
    wide_matrix v;

    wide_matrix exact() const {
        wide_matrix scaled = u;
        for (std::size_t i = 0; i < u.shape()[0]; ++i) {
            for (std::size_t j = 0; j < values.size(); ++j) {
                scaled(i, j) *= values[j];
            }
        }
        return multiply(scaled, transpose(v));
    }
    template <class T>
    tensor<T, 2> matrix() const {
        return narrowed<T>(exact());
    }
};

/// Values beyond those given are zero.
inline known_svd with_spectrum(std::size_t rows, std::size_t columns, std::vector<double> values, std::uint64_t seed) {
    values.resize(std::min(rows, columns), 0.0);
    return {orthonormal_columns(rows, values.size(), seed), values,
            orthonormal_columns(columns, values.size(), seed + 1)};
}

/// The X that minimises |A X - B|, for an A of full column rank: Gram-Schmidt, twice, and back substitution.
inline wide_matrix least_squares(const wide_matrix& a, const wide_matrix& b) {
    const std::size_t n = a.shape()[1];
    wide_matrix q = a;
    wide_matrix r = xt::zeros<wide>({n, n});
    for (std::size_t j = 0; j < n; ++j) {
        for (int pass = 0; pass < 2; ++pass) {
            for (std::size_t k = 0; k < j; ++k) {
                wide inner = 0;
                for (std::size_t i = 0; i < a.shape()[0]; ++i) {
                    inner += q(i, k) * q(i, j);
                }
                for (std::size_t i = 0; i < a.shape()[0]; ++i) {
                    q(i, j) -= inner * q(i, k);
                }
                r(k, j) += inner;
            }
        }
        wide squared = 0;
        for (std::size_t i = 0; i < a.shape()[0]; ++i) {
            squared += q(i, j) * q(i, j);
        }
        r(j, j) = std::sqrt(squared);
        for (std::size_t i = 0; i < a.shape()[0]; ++i) {
            q(i, j) /= r(j, j);
        }
    }
    wide_matrix x = multiply(transpose(q), b);
    for (std::size_t i = n; i-- > 0;) {
        for (std::size_t column = 0; column < b.shape()[1]; ++column) {
            for (std::size_t k = i + 1; k < n; ++k) {
                x(i, column) -= r(i, k) * x(k, column);
            }
            x(i, column) /= r(i, i);
        }
    }
    return x;
}

/// first, first * ratio, first * ratio^2, ...
inline std::vector<double> geometric(double first, double ratio, std::size_t count) {
    std::vector<double> result(count, first);
    for (std::size_t i = 1; i < count; ++i) {
        result[i] = result[i - 1] * ratio;
    }
    return result;
}

/// The tensor sum_r values[r] u_r o v_r o w_r o ... with orthonormal columns u, v, w: every unfolding has the given
/// values as its singular values, and the columns as its left singular vectors.
struct known_tensor {
    std::vector<wide_matrix> factors;
    std::vector<double> values;

    template <class T>
    dynamic_tensor<T> dense() const {
        extents shape;
        for (const auto& factor : factors) {
            shape.push_back(factor.shape()[0]);
        }
        auto result = dynamic_tensor<T>::from_shape(shape);
        std::size_t at = 0;
        for_each_index(shape, [&](const extents& index) {
            wide sum = 0;
            for (std::size_t r = 0; r < values.size(); ++r) {
                wide term = values[r];
                for (std::size_t n = 0; n < factors.size(); ++n) {
                    term *= factors[n](index[n], r);
                }
                sum += term;
            }
            result.data()[at++] = static_cast<T>(sum);
        });
        return result;
    }
};

inline known_tensor tensor_with_spectrum(const extents& shape, const std::vector<double>& values, std::uint64_t seed) {
    known_tensor result{{}, values};
    for (std::size_t n = 0; n < shape.size(); ++n) {
        result.factors.push_back(orthonormal_columns(shape[n], values.size(), seed + n));
    }
    return result;
}

// ---- ratios ---------------------------------------------------------------------------------------------------------

/// |I - U'U| / (k eps).
template <class Matrix>
double orthogonality_ratio(const Matrix& columns) {
    const std::size_t k = columns.shape()[1];
    const wide_matrix u = widened(columns);
    wide_matrix difference = multiply(transpose(u), u);
    for (std::size_t i = 0; i < k; ++i) {
        difference(i, i) -= 1;
    }
    return frobenius(difference) / (static_cast<double>(k) * epsilon<typename Matrix::value_type>);
}

/// |A - B| / (|A| max(m, n) eps) for a B computed in A's type; 0 where both are zero.
template <class Matrix>
double residual_ratio(const Matrix& expected, const wide_matrix& rebuilt) {
    const double difference = distance(expected, rebuilt);
    const double scale = frobenius(widened(expected)) *
                         static_cast<double>(std::max(expected.shape()[0], expected.shape()[1])) *
                         epsilon<typename Matrix::value_type>;
    return difference == 0 ? 0 : difference / scale;
}

/// U diag(values) V'.
template <class Matrix, class Values>
wide_matrix rebuilt(const Matrix& u, const Values& values, const Matrix& vt) {
    wide_matrix scaled = widened(u);
    for (std::size_t i = 0; i < scaled.shape()[0]; ++i) {
        for (std::size_t j = 0; j < scaled.shape()[1]; ++j) {
            scaled(i, j) *= static_cast<wide>(values[j]);
        }
    }
    return multiply(scaled, widened(vt));
}

/// Whether every column follows the sign rule: its first entry within sqrt(eps) of the largest magnitude is not
/// negative.
template <class Matrix>
bool obeys_sign_rule(const Matrix& matrix) {
    const double slack = std::sqrt(epsilon<typename Matrix::value_type>);
    for (std::size_t j = 0; j < matrix.shape()[1]; ++j) {
        double largest = 0;
        for (std::size_t i = 0; i < matrix.shape()[0]; ++i) {
            largest = std::max(largest, std::abs(static_cast<double>(matrix(i, j))));
        }
        for (std::size_t i = 0; i < matrix.shape()[0]; ++i) {
            const double x = static_cast<double>(matrix(i, j));
            if (std::abs(x) >= largest * (1 - slack)) {
                if (x < 0) {
                    return false;
                }
                break;
            }
        }
    }
    return true;
}

/// Largest |found - expected| over the values expected, divided by scale * eps.
template <class T>
double value_ratio(const std::vector<T>& found, const std::vector<double>& expected, double scale) {
    if (found.size() < expected.size()) {
        return std::numeric_limits<double>::infinity();
    }
    double worst = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
        const double error = std::abs(static_cast<double>(found[i]) - expected[i]);
        worst = error <= worst ? worst : error == error ? error : std::numeric_limits<double>::infinity();
    }
    return worst / (scale * epsilon<T>);
}

/// |U U' - V V'| for matrices with orthonormal columns: 0 where they span the same subspace.
template <class Left, class Right>
double projector_distance(const Left& left, const Right& right) {
    const wide_matrix u = widened(left);
    const wide_matrix v = widened(right);
    return distance(multiply(u, transpose(u)), multiply(v, transpose(v)));
}

/// Columns first, ..., first + count - 1.
template <class Matrix>
wide_matrix columns_of(const Matrix& matrix, std::size_t first, std::size_t count) {
    auto result = wide_matrix::from_shape({matrix.shape()[0], count});
    for (std::size_t i = 0; i < matrix.shape()[0]; ++i) {
        for (std::size_t j = 0; j < count; ++j) {
            result(i, j) = matrix(i, first + j);
        }
    }
    return result;
}

/// |A - B| / |A| over all elements of two tensors of the same shape, in extended precision.
template <class Left, class Right>
double relative_difference(const Left& expected, const Right& computed) {
    if (shape_of(expected) != shape_of(computed)) {
        return std::numeric_limits<double>::infinity();
    }
    wide difference = 0;
    wide scale = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
        const wide a = expected.data()[i];
        const wide b = computed.data()[i];
        difference += (a - b) * (a - b);
        scale += a * a;
    }
    return difference == 0 ? 0 : static_cast<double>(std::sqrt(difference / scale));
}

/// Whether two tensors hold the same bits (NaN is equal to itself).
template <class Left, class Right>
bool identical(const Left& left, const Right& right) {
    return shape_of(left) == shape_of(right) && std::equal(left.data(), left.data() + left.size(), right.data(),
                                                           [](auto a, auto b) { return a == b || (a != a && b != b); });
}

}  // namespace reference
