#pragma once

// What the results should be: definitions written as plain loops in double precision, sharing no code with the library,
// and comparisons whose tolerances are rounding error bounds.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "policies.hpp"

namespace moden_test {

/// A row-major array.
struct array {
    moden::extents shape;
    std::vector<double> data;

    array() = default;
    explicit array(const moden::extents& extents, double value = 0)
        : shape(extents), data(std::accumulate(extents.begin(), extents.end(), std::size_t{1}, std::multiplies<>()), value) {}

    double& operator()(std::size_t i, std::size_t j) { return data[i * shape[1] + j]; }
    double operator()(std::size_t i, std::size_t j) const { return data[i * shape[1] + j]; }
    double& at(const moden::extents& index) { return data[offset(index)]; }
    double at(const moden::extents& index) const { return data[offset(index)]; }
    std::size_t rows() const { return shape[0]; }
    std::size_t columns() const { return shape[1]; }

private:
    std::size_t offset(const moden::extents& index) const {
        std::size_t result = 0;
        for (std::size_t n = 0; n < shape.size(); ++n) {
            result = result * shape[n] + index[n];
        }
        return result;
    }
};

/// Calls visit(index) for every index of a shape, the last one fastest.
template <class Visit>
void for_each_index(const moden::extents& shape, Visit visit) {
    moden::extents index(shape.size(), 0);
    if (std::find(shape.begin(), shape.end(), std::size_t{0}) != shape.end()) {
        return;
    }
    while (true) {
        visit(static_cast<const moden::extents&>(index));
        std::size_t n = shape.size();
        while (n > 0 && ++index[n - 1] == shape[n - 1]) {
            index[--n] = 0;
        }
        if (n == 0) {
            return;
        }
    }
}

/// Any tensor of a policy as an array on the host.
template <class Policy, class Tensor>
array to_array(const Policy& policy, const Tensor& tensor) {
    using T = moden::value_type_of<Tensor>;
    array result(moden::extents(tensor.shape().begin(), tensor.shape().end()));
    std::vector<T> values(result.data.size());
    policy.download(static_cast<const T*>(tensor.data()), values.data(), values.size());
    std::copy(values.begin(), values.end(), result.data.begin());
    return result;
}

/// A host tensor as an array.
template <class Tensor>
array to_array(const Tensor& tensor) {
    return to_array(moden::cpu_policy{}, tensor);
}

template <class Policy, class Tensor>
std::vector<array> to_arrays(const Policy& policy, const std::vector<Tensor>& tensors) {
    std::vector<array> result;
    for (const Tensor& tensor : tensors) {
        result.push_back(to_array(policy, tensor));
    }
    return result;
}

template <class Tensor>
std::vector<array> to_arrays(const std::vector<Tensor>& tensors) {
    return to_arrays(moden::cpu_policy{}, tensors);
}

/// An array as a host tensor, rounded to T.
template <class T, std::size_t N>
moden::tensor<T, N> to_tensor(const array& values) {
    auto result = moden::tensor<T, N>::from_shape(values.shape);
    std::transform(values.data.begin(), values.data.end(), result.begin(), [](double x) { return static_cast<T>(x); });
    return result;
}

template <class T>
array to_array(const std::vector<T>& values) {
    array result({values.size()});
    std::copy(values.begin(), values.end(), result.data.begin());
    return result;
}

inline array magnitude(array values) {
    for (double& x : values.data) {
        x = std::abs(x);
    }
    return values;
}

inline std::vector<array> magnitudes(std::vector<array> list) {
    std::transform(list.begin(), list.end(), list.begin(), magnitude);
    return list;
}

inline double frobenius(const array& values) {
    double sum = 0;
    for (const double x : values.data) {
        sum += x * x;
    }
    return std::sqrt(sum);
}

inline array difference(array left, const array& right) {
    REQUIRE(left.shape == right.shape);
    std::transform(left.data.begin(), left.data.end(), right.data.begin(), left.data.begin(), std::minus<>());
    return left;
}

inline array scaled(array values, double factor) {
    for (double& x : values.data) {
        x *= factor;
    }
    return values;
}

// ---- matrices ---------------------------------------------------------------------------------------------------------

inline array random_matrix(std::size_t rows, std::size_t columns, std::uint64_t seed) {
    array result({rows, columns});
    number_source next(seed);
    std::generate(result.data.begin(), result.data.end(), [&] { return next(); });
    return result;
}

inline array transpose(const array& a) {
    array result({a.columns(), a.rows()});
    for (std::size_t i = 0; i < a.rows(); ++i) {
        for (std::size_t j = 0; j < a.columns(); ++j) {
            result(j, i) = a(i, j);
        }
    }
    return result;
}

inline array matmul(const array& a, const array& b) {
    REQUIRE(a.columns() == b.rows());
    array result({a.rows(), b.columns()});
    for (std::size_t i = 0; i < a.rows(); ++i) {
        for (std::size_t k = 0; k < a.columns(); ++k) {
            for (std::size_t j = 0; j < b.columns(); ++j) {
                result(i, j) += a(i, k) * b(k, j);
            }
        }
    }
    return result;
}

inline array first_columns(const array& a, std::size_t count) {
    array result({a.rows(), count});
    for (std::size_t i = 0; i < a.rows(); ++i) {
        for (std::size_t j = 0; j < count; ++j) {
            result(i, j) = a(i, j);
        }
    }
    return result;
}

inline array scale_columns(array a, const std::vector<double>& factors) {
    for (std::size_t i = 0; i < a.rows(); ++i) {
        for (std::size_t j = 0; j < a.columns(); ++j) {
            a(i, j) *= factors[j];
        }
    }
    return a;
}

/// |I - Q'Q| / k, to be compared with a small multiple of eps.
inline double orthogonality(const array& q) {
    array product = matmul(transpose(q), q);
    for (std::size_t i = 0; i < product.rows(); ++i) {
        product(i, i) -= 1;
    }
    return frobenius(product) / static_cast<double>(std::max<std::size_t>(q.columns(), 1));
}

inline array projector(const array& q) { return matmul(q, transpose(q)); }

/// Orthonormal columns by modified Gram-Schmidt, twice.
inline array orthonormalized(array a) {
    for (std::size_t j = 0; j < a.columns(); ++j) {
        for (int pass = 0; pass < 2; ++pass) {
            for (std::size_t k = 0; k < j; ++k) {
                double overlap = 0;
                for (std::size_t i = 0; i < a.rows(); ++i) {
                    overlap += a(i, k) * a(i, j);
                }
                for (std::size_t i = 0; i < a.rows(); ++i) {
                    a(i, j) -= overlap * a(i, k);
                }
            }
        }
        double length = 0;
        for (std::size_t i = 0; i < a.rows(); ++i) {
            length += a(i, j) * a(i, j);
        }
        for (std::size_t i = 0; i < a.rows(); ++i) {
            a(i, j) /= std::sqrt(length);
        }
    }
    return a;
}

inline long double long_product(const long double* a, const long double* b, std::size_t count) {
    long double sum = 0;
    for (std::size_t i = 0; i < count; ++i) {
        sum += a[i] * b[i];
    }
    return sum;
}

struct reference_svd {
    array u;
    std::vector<double> values;  ///< descending
};

/// Left singular vectors and singular values by one-sided Jacobi rotations of the rows, which needs nothing but patience
/// and is accurate to eps even for small singular values.
inline reference_svd jacobi_svd(const array& matrix) {
    // Rotating rows of A from the left diagonalises A A'; the rotations make up U'. In long double, so that the many
    // rotations leave no trace in the result.
    const std::size_t m = matrix.rows();
    const std::size_t n = matrix.columns();
    const std::size_t width = n + m;
    std::vector<long double> rows(m * width, 0);  // A beside U'
    for (std::size_t i = 0; i < m; ++i) {
        std::copy_n(&matrix.data[i * n], n, &rows[i * width]);
        rows[i * width + n + i] = 1;
    }
    bool rotated = true;
    for (int sweep = 0; sweep < 60 && rotated; ++sweep) {
        rotated = false;
        for (std::size_t p = 0; p < m; ++p) {
            for (std::size_t q = p + 1; q < m; ++q) {
                const long double pp = long_product(&rows[p * width], &rows[p * width], n);
                const long double qq = long_product(&rows[q * width], &rows[q * width], n);
                const long double pq = long_product(&rows[p * width], &rows[q * width], n);
                if (std::abs(pq) <= 1e-18L * std::sqrt(pp * qq)) {
                    continue;
                }
                rotated = true;
                const long double zeta = (qq - pp) / (2 * pq);
                const long double t = (zeta >= 0 ? 1 : -1) / (std::abs(zeta) + std::sqrt(1 + zeta * zeta));
                const long double c = 1 / std::sqrt(1 + t * t);
                const long double s = c * t;
                for (std::size_t j = 0; j < width; ++j) {
                    const long double x = rows[p * width + j];
                    const long double y = rows[q * width + j];
                    rows[p * width + j] = c * x - s * y;
                    rows[q * width + j] = s * x + c * y;
                }
            }
        }
    }
    std::vector<double> lengths(m);
    for (std::size_t i = 0; i < m; ++i) {
        lengths[i] = static_cast<double>(std::sqrt(long_product(&rows[i * width], &rows[i * width], n)));
    }
    std::vector<std::size_t> order(m);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t x, std::size_t y) { return lengths[x] > lengths[y]; });
    reference_svd result;
    const std::size_t k = std::min(m, n);
    result.u = array({m, k});
    for (std::size_t j = 0; j < k; ++j) {
        result.values.push_back(lengths[order[j]]);
        for (std::size_t i = 0; i < m; ++i) {
            result.u(i, j) = static_cast<double>(rows[order[j] * width + n + i]);
        }
    }
    return result;
}

// ---- tensors ----------------------------------------------------------------------------------------------------------

/// The definition of the mode-n product.
inline array mode_product(const array& tensor, const array& matrix, std::size_t mode) {
    moden::extents shape = tensor.shape;
    shape[mode] = matrix.rows();
    array result(shape);
    for_each_index(tensor.shape, [&](moden::extents index) {
        const std::size_t i = index[mode];
        const double x = tensor.at(index);
        for (std::size_t j = 0; j < matrix.rows(); ++j) {
            index[mode] = j;
            result.at(index) += x * matrix(j, i);
        }
    });
    return result;
}

inline array reconstruct(array core, const std::vector<array>& factors) {
    for (std::size_t n = 0; n < factors.size(); ++n) {
        core = mode_product(core, factors[n], n);
    }
    return core;
}

inline array project(array tensor, const std::vector<array>& factors) {
    for (std::size_t n = 0; n < factors.size(); ++n) {
        tensor = mode_product(tensor, transpose(factors[n]), n);
    }
    return tensor;
}

/// Unfolding with the last (or, as Kolda & Bader do, the first) of the other modes varying fastest.
inline array unfold(const array& tensor, std::size_t mode, bool last_fastest = true) {
    const std::size_t order = tensor.shape.size();
    array result({tensor.shape[mode], tensor.shape[mode] == 0 ? 0 : tensor.data.size() / tensor.shape[mode]});
    for_each_index(tensor.shape, [&](const moden::extents& index) {
        std::size_t column = 0;
        for (std::size_t k = 0; k < order; ++k) {
            const std::size_t n = last_fastest ? k : order - 1 - k;
            column = n == mode ? column : column * tensor.shape[n] + index[n];
        }
        result(index[mode], column) = tensor.at(index);
    });
    return result;
}

/// V(i, r) = sum over all other indices of X(...) times the matching entries of the other factors.
inline array mttkrp(const array& tensor, const std::vector<array>& factors, std::size_t mode) {
    const std::size_t rank = factors[0].columns();
    array result({tensor.shape[mode], rank});
    for_each_index(tensor.shape, [&](const moden::extents& index) {
        for (std::size_t r = 0; r < rank; ++r) {
            double product = tensor.at(index);
            for (std::size_t n = 0; n < factors.size(); ++n) {
                product *= n == mode ? 1 : factors[n](index[n], r);
            }
            result(index[mode], r) += product;
        }
    });
    return result;
}

inline array cp_reconstruct(const std::vector<double>& weights, const std::vector<array>& factors) {
    moden::extents shape;
    for (const array& factor : factors) {
        shape.push_back(factor.rows());
    }
    array result(shape);
    for_each_index(shape, [&](const moden::extents& index) {
        for (std::size_t r = 0; r < weights.size(); ++r) {
            double product = weights[r];
            for (std::size_t n = 0; n < factors.size(); ++n) {
                product *= factors[n](index[n], r);
            }
            result.at(index) += product;
        }
    });
    return result;
}

/// A tensor with orthonormal factors and a core whose entries fall off geometrically: every unfolding has well separated
/// singular values, the tail beyond `ranks` is small but not zero, and nothing hangs on the last digit.
inline array decaying_tensor(const moden::extents& shape, double ratio, std::uint64_t seed) {
    array core(shape);
    number_source next(seed);
    for_each_index(shape, [&](const moden::extents& index) {
        // A dominating superdiagonal with smaller entries around it.
        const std::size_t sum = std::accumulate(index.begin(), index.end(), std::size_t{0});
        const bool diagonal = std::adjacent_find(index.begin(), index.end(), std::not_equal_to<>()) == index.end();
        core.at(index) = (diagonal ? 1.0 : 0.1 * next()) * std::pow(ratio, static_cast<double>(sum) / static_cast<double>(shape.size()));
    });
    for (std::size_t n = 0; n < shape.size(); ++n) {
        core = mode_product(core, orthonormalized(random_matrix(shape[n], shape[n], seed + 1 + n)), n);
    }
    return core;
}

// ---- comparisons --------------------------------------------------------------------------------------------------------

/// |got - want| <= bound, element by element; NaN never passes.
inline void check_within(const array& got, const array& want, const array& bound) {
    REQUIRE(got.shape == want.shape);
    REQUIRE(got.shape == bound.shape);
    std::size_t violations = 0;
    std::string first;
    for (std::size_t i = 0; i < got.data.size(); ++i) {
        const double error = std::abs(got.data[i] - want.data[i]);
        if (!(error <= bound.data[i])) {
            if (violations++ == 0) {
                first = "element " + std::to_string(i) + ": " + std::to_string(got.data[i]) + " instead of " +
                        std::to_string(want.data[i]) + ", " + std::to_string(error / bound.data[i]) + " times the bound";
            }
        }
    }
    INFO(first);
    CHECK(violations == 0);
}

/// |got - want| <= tolerance for every element.
inline void check_within(const array& got, const array& want, double tolerance) {
    check_within(got, want, array(want.shape, tolerance));
}

/// Sums of `terms` products: the error of any order of summation is below terms eps sum |a||b| (Higham 2002, Sec. 3.1),
/// with `sum_of_magnitudes` the same computation on magnitudes.
inline void check_sums(const array& got, const array& want, const array& sum_of_magnitudes, std::size_t terms, double eps) {
    check_within(got, want, scaled(sum_of_magnitudes, static_cast<double>(terms + 1) * eps));
}

}  // namespace moden_test
