#pragma once

// Products of a tensor model's core with parameters of many codes at once, where the policy computes, and what comes of them on the host.

#include <cstddef>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/core/view.hpp>
#include <moden/linalg/detail/panels.hpp>

namespace moden::detail {

/// Numbers of the policy's memory as doubles on the host.
template <class Policy, class T>
std::vector<double> downloaded(const Policy& policy, const T* data, std::size_t count) {
    const std::vector<T> host = to_vector<Policy, T>(policy, data, count);
    return {host.begin(), host.end()};
}

/// result(n, i) = rows(n, i) / (1 + squares(i) / ridge), which is that over squares + ridge, without underflow; 0 without a ridge.
template <class T>
struct damp_rows {
    const T* rows;
    const double* squares;
    double ridge;
    std::size_t size;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const {
        result[i] = ridge > 0 ? static_cast<T>(static_cast<double>(rows[i]) / (1 + squares[i % size] / ridge)) : T(0);
    }
};

/// A core with two groups of modes beside its first: one mode (P entries), the longest, and all others (K entries).
template <class Policy, class T>
class core_contractions {
public:
    /// Keeps references to the policy and the core; only a longest mode in the middle makes it copy.
    template <class Core>
    core_contractions(const Policy& policy, const Core& core, std::size_t longest)
        : policy_(policy), coordinates_(core.shape()[0]), longest_(core.shape()[longest + 1]), core_(core.data()),
          longest_first_(longest + 2 < core.shape().size()) {
        others_ = core.size() / (coordinates_ * longest_);
        if (longest > 0 && longest_first_) {
            extents axes{0, longest + 1};
            for (std::size_t axis = 1; axis < core.shape().size(); ++axis) {
                if (axis != longest + 1) {
                    axes.push_back(axis);
                }
            }
            permuted_ = policy.template allocate<T>(core.size());
            policy.permute(tensor_view<const T, space>{core.data(), shape_of(core)}, axes, permuted_.data());
            core_ = permuted_.data();
        }
    }

    /// The same with the leading rows alone, where the core lies; `this` has to live on.
    core_contractions leading(std::size_t rows) const { return {policy_, rows, longest_, others_, core_, longest_first_}; }

    std::size_t coordinates() const { return coordinates_; }  ///< R_0
    std::size_t longest() const { return longest_; }          ///< P
    std::size_t others() const { return others_; }            ///< K

    /// About |S|^2, from below: that of a sixteenth of the rows, of which the leading ones have most.
    double square() const { return sum_of_squares(policy_, core_, (coordinates_ + 15) / 16 * longest_ * others_); }

    /// Elements that one code needs in all.
    std::size_t size_per_code() const {
        return coordinates_ * (longest_ + others_ + 2) + (longest_ + others_) * (longest_ + others_);
    }

    /// One design matrix (R_0 x size) per code.
    struct designs {
        buffer_of<Policy, T> memory;
        std::size_t size = 0;
        std::size_t step = 0;    ///< between codes
        std::size_t stride = 0;  ///< between rows
    };

    /// The core with one vector per code in place of all modes but the longest (count x K): R_0 x P.
    designs designs_of_longest(const std::vector<T>& vectors, std::size_t count) const { return contracted(vectors, count, others_, longest_, !longest_first_); }

    /// The core with one vector per code in place of the longest mode (count x P): R_0 x K.
    designs designs_of_others(const std::vector<T>& vectors, std::size_t count) const { return contracted(vectors, count, longest_, others_, longest_first_); }

    /// A_n' A_n for every code.
    std::vector<double> grams(const designs& a, std::size_t count) const {
        const auto result = policy_.template allocate<T>(count * a.size * a.size);
        for (std::size_t n = 0; n < count; ++n) {
            auto of_code = first(a);
            of_code.data += n * a.step;
            policy_.template syrk<T>(T(1), transposed(of_code), T(0), matrix(result.data() + n * a.size * a.size, a.size, a.size));
        }
        return downloaded(policy_, static_cast<const T*>(result.data()), result.size());
    }

    /// A_n' B_n for every code.
    std::vector<double> products(const designs& a, const designs& b, std::size_t count) const {
        const auto result = policy_.template allocate<T>(count * a.size * b.size);
        policy_.template gemm_strided_batched<T>(T(1), transposed(first(a)), a.step, first(b), b.step, T(0), matrix(result.data(), a.size, b.size),
                                                 a.size * b.size, count);
        return downloaded(policy_, static_cast<const T*>(result.data()), result.size());
    }

    /// A_n' y_n for every code, y one row per code.
    std::vector<double> products(const designs& a, const T* rows, std::size_t count) const {
        const auto result = policy_.template allocate<T>(count * a.size);
        policy_.template gemm_strided_batched<T>(T(1), transposed(first(a)), a.step, matrix(rows, coordinates_, 1), coordinates_, T(0),
                                                 matrix(result.data(), a.size, 1), a.size, count);
        return downloaded(policy_, static_cast<const T*>(result.data()), result.size());
    }

    /// The core with the residual A_n q_n - y_n of every code in place of its first mode: count x P x K. `a` are designs of the longest
    /// mode, `q` its parameters, count x P.
    std::vector<double> with_residuals(const designs& a, const std::vector<T>& q, const T* rows, std::size_t count) const {
        auto residuals = policy_.template allocate<T>(count * coordinates_);
        policy_.copy(rows, residuals.data(), residuals.size());
        const auto parameters = uploaded(policy_, q);
        policy_.template gemm_strided_batched<T>(T(1), first(a), a.step, matrix(read(parameters), longest_, 1), longest_, T(-1),
                                                 matrix(residuals.data(), coordinates_, 1), coordinates_, count);
        return with_rows(residuals.data(), count);
    }

    /// About the parameters of every code as one tensor, P x K: C' y, or, where the rows of the core are (nearly) orthogonal, the
    /// regularised least squares solution C' D y with D = 1 / (|row|^2 + 0.01 of the mean), as if a tenth of a code were noise.
    std::vector<double> parameter_tensors(const T* rows, std::size_t count, bool orthogonal) const {
        const std::size_t size = longest_ * others_;
        if (!orthogonal) {
            return with_rows(rows, count);
        }
        const auto squares = policy_.template allocate<double>(coordinates_);
        policy_.transform(coordinates_, row_square<T>{core_, size, squares.data()}, size);
        const double ridge = 0.01 * policy_.reduce(coordinates_, 0.0, as_double<double>{squares.data()}, plus{}) / static_cast<double>(coordinates_);
        const auto weighted = policy_.template allocate<T>(count * coordinates_);
        policy_.transform(weighted.size(), damp_rows<T>{rows, squares.data(), ridge, coordinates_, weighted.data()});
        return with_rows(weighted.data(), count);
    }

private:
    using space = typename Policy::memory_space;

    core_contractions(const Policy& policy, std::size_t coordinates, std::size_t longest, std::size_t others, const T* core, bool longest_first)
        : policy_(policy), coordinates_(coordinates), longest_(longest), others_(others), core_(core), longest_first_(longest_first) {}

    static matrix_view<T, space> matrix(T* data, std::size_t rows, std::size_t columns) { return row_major<T, space>(data, rows, columns); }
    static matrix_view<const T, space> matrix(const T* data, std::size_t rows, std::size_t columns) {
        return row_major<const T, space>(data, rows, columns);
    }
    static const T* read(const buffer_of<Policy, T>& buffer) { return buffer.data(); }

    matrix_view<const T, space> first(const designs& a) const { return {a.memory.data(), coordinates_, a.size, a.stride, storage_order::row_major}; }

    /// The core with a vector per code in place of its first mode: count x P x K.
    std::vector<double> with_rows(const T* rows, std::size_t count) const {
        const std::size_t size = longest_ * others_;
        const auto result = policy_.template allocate<T>(count * size);
        policy_.template gemm<T>(T(1), matrix(rows, count, coordinates_), matrix(core_, coordinates_, size), T(0), matrix(result.data(), count, size));
        auto host = downloaded(policy_, read(result), result.size());
        if (longest_first_) {
            return host;
        }
        std::vector<double> turned(host.size());  // K x P
        for (std::size_t i = 0; i < host.size(); ++i) {
            turned[i / size * size + i % longest_ * others_ + i / longest_ % others_] = host[i];
        }
        return turned;
    }

    /// `gone` entries are summed over, `left` ones stay; those that go lie before them or after them.
    designs contracted(const std::vector<T>& vectors, std::size_t count, std::size_t gone, std::size_t left, bool gone_first) const {
        const auto v = uploaded(policy_, vectors);
        const auto given = matrix(read(v), count, gone);
        auto memory = policy_.template allocate<T>(count * coordinates_ * left);
        if (gone_first) {  // a small product per row of R_0, which leaves the codes side by side
            policy_.template gemm_strided_batched<T>(T(1), given, 0, matrix(core_, gone, left), gone * left, T(0), matrix(memory.data(), count, left),
                                                     count * left, coordinates_);
            return {std::move(memory), left, left, count * left};
        }
        policy_.template gemm<T>(T(1), given, transposed(matrix(core_, coordinates_ * left, gone)), T(0), matrix(memory.data(), count, coordinates_ * left));
        return {std::move(memory), left, coordinates_ * left, left};
    }

    const Policy& policy_;
    std::size_t coordinates_, longest_, others_ = 1;
    const T* core_;                       ///< R_0 x P x K, or R_0 x K x P
    bool longest_first_;
    buffer_of<Policy, T> permuted_ = {};  ///< where the longest mode is neither the first nor the last
};

}  // namespace moden::detail
