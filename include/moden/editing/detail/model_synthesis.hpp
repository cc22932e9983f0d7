#pragma once

// From the parameters of a tensor model to codes, and back from codes to coordinates of its code basis.

#include <cstddef>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/editing/factor_mode.hpp>

namespace moden::detail {

/// Parameter vectors of all modes in subspace coordinates: per mode count x R_k.
template <class Policy, class T>
struct parameter_rows {
    std::size_t count = 0;
    extents ranks = {};
    std::vector<buffer_of<Policy, T>> rows = {};
};

/// result(n, i b + j) = left(n, i) right(n, j).
template <class T>
struct outer_of_rows {
    const T* left;
    const T* right;
    std::size_t a, b;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t index) const {
        const std::size_t n = index / (a * b), i = index / b % a, j = index % b;
        result[index] = left[n * a + i] * right[n * b + j];
    }
};

/// What a model's codes are counted from: differences are counted from zero.
enum class code_origin { mean, zero };

/// code = mean + scale * code; mean may be null.
template <class T>
struct restore_scale {
    const T* mean;
    const T* scale;
    std::size_t size;
    T* codes;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const {
        codes[i] = (mean == nullptr ? T(0) : mean[i % size]) + scale[i % size] * codes[i];
    }
};

/// result = (code - mean) / scale.
template <class T>
struct apply_scale {
    const T* codes;
    const T* mean;
    const T* scale;
    std::size_t size;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { result[i] = (codes[i] - mean[i % size]) / scale[i % size]; }
};

template <class Policy, class T, class Matrix>
auto dense_view(const Policy&, const Matrix& matrix) {
    return row_major<const T, typename Policy::memory_space>(matrix.data(), matrix.shape()[0], matrix.shape()[1]);
}

/// Parameters of every mode as q = U' q', whatever they are given in.
template <class Policy, class T, class Model, class Matrix>
parameter_rows<Policy, T> subspace_rows(const Policy& policy, const Model& model, const std::vector<Matrix>& parameters,
                                        parameter_basis basis, const char* function) {
    using space = typename Policy::memory_space;
    static_assert(std::is_same_v<T, value_type_of<Matrix>>, "moden: parameters and model hold different types");
    require<shape_error>(parameters.size() == model.modes.size(), function, ": parameters of ", parameters.size(),
                         " modes for a model of ", model.modes.size(), " (", names_of(model.modes), ")");
    parameter_rows<Policy, T> result;
    for (std::size_t k = 0; k < parameters.size(); ++k) {
        const auto argument = evaluate(policy, parameters[k]);
        const auto given = as_matrix(argument.view(), function, "a parameter matrix");
        const bool canonical = basis == parameter_basis::canonical;
        const std::size_t width = canonical ? model.level_count(k) : model.rank(k);
        require<shape_error>(given.columns == width, function, ": parameters of mode '", model.modes[k].name, "' have ",
                             given.columns, " entries (expected ", width, canonical ? ", one per level)" : ", the rank)");
        require<shape_error>(k == 0 || given.rows == result.count, function, ": parameters of ", given.rows, " codes for mode '",
                             model.modes[k].name, "' and of ", result.count, " for '", model.modes[0].name, "'");
        result.count = given.rows;
        result.ranks.push_back(model.rank(k));
        auto rows = policy.template allocate<T>(given.rows * model.rank(k));
        const auto target = row_major<T, space>(rows.data(), given.rows, model.rank(k));
        if (given.rows == 0) {
        } else if (canonical) {
            policy.template gemm<T>(T(1), given, dense_view<Policy, T>(policy, model.decomposition.factors[k + 1]), T(0), target);
        } else {
            policy.copy(given.data, rows.data(), given.rows * given.columns);
        }
        result.rows.push_back(std::move(rows));
    }
    return result;
}

/// count x R_1 R_2 ...: outer products of every code's parameter vectors, the last mode fastest.
template <class Policy, class T>
buffer_of<Policy, T> outer_products(const Policy& policy, const parameter_rows<Policy, T>& parameters) {
    std::size_t width = 1;
    auto product = policy.template allocate<T>(parameters.count);
    policy.transform(parameters.count, fill_with<T>{product.data(), T(1)});
    for (std::size_t k = 0; k < parameters.rows.size(); ++k) {
        auto next = policy.template allocate<T>(parameters.count * width * parameters.ranks[k]);
        policy.transform(next.size(), outer_of_rows<T>{product.data(), parameters.rows[k].data(), width, parameters.ranks[k], next.data()});
        width *= parameters.ranks[k];
        product = std::move(next);
    }
    return product;
}

/// codes = mean + scale * (products S_(0)' U_0'), or without the mean.
template <class Policy, class T, class Model>
void codes_of_products(const Policy& policy, const Model& model, const T* products, std::size_t count, T* codes,
                       code_origin origin = code_origin::mean) {
    using space = typename Policy::memory_space;
    if (count == 0) {
        return;
    }
    const auto& core = model.decomposition.core;
    const auto basis = dense_view<Policy, T>(policy, model.decomposition.factors[0]);
    const bool has_basis = basis.rows > 0;
    const std::size_t size = model.code_size(), rows = core.shape()[0], width = core.size() / rows;
    const auto reduced = policy.template allocate<T>(has_basis ? count * rows : 0);
    const auto coordinates = row_major<T, space>(has_basis ? reduced.data() : codes, count, rows);
    policy.template gemm<T>(T(1), row_major<const T, space>(products, count, width),
                            transposed(row_major<const T, space>(core.data(), rows, width)), T(0), coordinates);
    if (has_basis) {
        policy.template gemm<T>(T(1), coordinates, transposed(basis), T(0), row_major<T, space>(codes, count, size));
    }
    policy.transform(count * size, restore_scale<T>{origin == code_origin::mean ? model.mean.data() : nullptr, model.scale.data(), size, codes});
}

/// Codes as the model sees them, (code - mean) / scale; checks their size.
template <class Policy, class T, class Model>
buffer_of<Policy, T> scaled_codes(const Policy& policy, const Model& model, const tensor_view_of<Policy, T>& codes,
                                   const char* function) {
    const std::size_t size = model.code_size();
    require<shape_error>(codes.order() == 2 && codes.shape[1] == size, function, ": codes of ", codes.shape,
                         " for a model of codes with ", size, " entries (expected N x ", size, ")");
    require_finite(policy, codes.data, codes.size(), function, "the codes");
    auto result = policy.template allocate<T>(codes.size());
    policy.transform(codes.size(), apply_scale<T>{codes.data, model.mean.data(), model.scale.data(), size, result.data()});
    return result;
}

}  // namespace moden::detail
