#pragma once

// Multilinear losses: how far data are from a core times the Khatri-Rao product of factors that every sample has of its own.

#include <cstddef>
#include <vector>

#include <moden/core/tensor_traits.hpp>
#include <moden/loss/detail/khatri_rao_products.hpp>
#include <moden/policy/cpu.hpp>

namespace moden {

/// Which gradients multilinear_loss_and_gradient computes.
enum class loss_gradients {
    factors,          ///< of every factor: two thirds of the cost
    factors_and_core
};

/// Value and gradients of a multilinear loss.
template <class Tensor>
struct multilinear_loss_result {
    double value = 0;
    Tensor core;                             ///< dE/dB, k x k_1 x ... x k_M; without elements if it was not asked for
    std::vector<factor_of<Tensor>> factors;  ///< dE/dZ_i, of the shapes of the factors
};

namespace detail {

template <class Policy, class T, class Space>
double multilinear_value(const multilinear_problem<Policy, T>& problem, const tensor_view<const T, Space>& data) {
    double value = 0;
    problem.for_each_block([&](const sample_block<Policy, T>& block) {
        problem.for_each_residual(data.data, block, [&](const residual_rows<Policy, T>& rows) { value += rows.square / 4; });
    });
    problem.require_finite_value(value, data);
    return value;
}

/// Returns the value; writes gradients to `core`, unless it is null, and `factors`.
template <class Policy, class T, class Space>
double multilinear_gradient(const Policy& policy, const multilinear_problem<Policy, T>& problem, const tensor_view<const T, Space>& data, T* core,
                            const std::vector<T*>& factors) {
    // Without shared factors the reduced core is the core, and so are the gradients.
    const auto memory = policy.template allocate<T>(problem.has_shared() ? problem.core().rows * problem.core().columns : 0);
    T* const reduced = problem.has_shared() ? memory.data() : core;
    double value = 0;
    problem.for_each_block([&](sample_block<Policy, T>& block) {
        const auto pulled = policy.template allocate<T>(problem.core().columns * block.count);
        problem.transpose_product(block);
        problem.for_each_residual(data.data, block, [&](const residual_rows<Policy, T>& rows) {
            value += rows.square / 4;
            problem.add_gradients(block, rows, reduced, pulled.data());
        });
        problem.factor_gradients(block, pulled.data(), factors);
    });
    problem.require_finite_value(value, data);
    problem.shared_gradients(reduced, core, factors);
    return value;
}

}  // namespace detail

/// The data that a multilinear model makes: X^ = B_(0) (Z_1 kr ... kr Z_M), one column per sample. As in 002, and nowhere else in
/// the library, samples are columns.
///
/// \param policy  where to compute
/// \param core    B, k x k_1 x ... x k_M
/// \param factors Z_i, k_i x n each, or k_i x 1 for a factor that all samples share (as the constant illumination of 002 Eq. 5)
/// \return        k x n
/// \throws shape_error if the number of factors is not M, a factor's rows are not k_i, or columns differ and are not 1
///
/// Cost: 2 k k_1 ... k_M n flops; of a shared factor once 2 k k_1 ... k_M instead, and its k_i does not count any more. Memory: the
/// Khatri-Rao product of some samples and copies of their factors, at most 32 MiB of each, or those of a single sample; with shared factors k times the
/// other k_i for the core contracted with them.
/// Source: 002 Eqs. 2, 4, 5.
/// \snippet tests/loss/multilinear_loss.cpp multilinear_synthesis
template <execution_policy Policy, any_tensor Core, any_tensor Matrix>
auto multilinear_synthesis(const Policy& policy, const Core& core, const std::vector<Matrix>& factors) {
    using T = value_type_of<Core>;
    using space = typename Policy::memory_space;
    return detail::with_multilinear_problem(policy, core, factors, "multilinear_synthesis", [&](const detail::multilinear_problem<Policy, T>& problem) {
        const std::size_t rows = problem.rows(), columns = problem.columns();
        auto result = policy.template make_tensor<T, 2>({rows, columns});
        problem.for_each_block([&](const detail::sample_block<Policy, T>& block) {
            policy.template gemm<T>(T(1), problem.core(), block.product_view(), T(0),
                                    matrix_view<T, space>{result.data() + block.first, rows, block.count, columns, storage_order::row_major});
        });
        return result;
    });
}

template <any_tensor Core, any_tensor Matrix>
auto multilinear_synthesis(const Core& core, const std::vector<Matrix>& factors) {
    return multilinear_synthesis(cpu_policy{}, core, factors);
}

/// The multilinear loss E = |X - B_(0) (Z_1 kr ... kr Z_M)|^2.
///
/// \param policy  where to compute
/// \param data    X, k x n: samples are columns
/// \param core    B, k x k_1 x ... x k_M
/// \param factors Z_i, k_i x n each, or k_i x 1 for a factor that all samples share
/// \return        E, summed in double precision
/// \throws shape_error as multilinear_synthesis, and if X has another shape than X^; argument_error for NaN or infinity
///
/// Cost: as multilinear_synthesis, and a block of at most 32 MiB for residuals.
/// Source: 002 Eq. 15, of which Eqs. 12 to 14 are cases.
/// \snippet tests/loss/multilinear_loss.cpp multilinear_loss
template <execution_policy Policy, any_tensor Data, any_tensor Core, any_tensor Matrix>
double multilinear_loss(const Policy& policy, const Data& data, const Core& core, const std::vector<Matrix>& factors) {
    using T = value_type_of<Core>;
    const auto samples = detail::evaluate(policy, data);
    return detail::with_multilinear_problem(policy, core, factors, "multilinear_loss", [&](const detail::multilinear_problem<Policy, T>& problem) {
        problem.check_data(samples.view());
        return detail::multilinear_value(problem, samples.view());
    });
}

template <any_tensor Data, any_tensor Core, any_tensor Matrix>
double multilinear_loss(const Data& data, const Core& core, const std::vector<Matrix>& factors) {
    return multilinear_loss(cpu_policy{}, data, core, factors);
}

/// The multilinear loss and its gradients. With R = B_(0) K - X and K = Z_1 kr ... kr Z_M,
///
///     dE/dB_(0) = 2 R K',   dE/dZ_i(a, j) = sum over all other indices of (2 B_(0)' R)(..., a, ..., j) prod_{l != i} Z_l(., j).
///
/// The core is read once: a block of its rows gives its rows of R, which give their gradient and their share of B_(0)' R.
///
/// \param policy  where to compute
/// \param data    X, k x n: samples are columns
/// \param core    B, k x k_1 x ... x k_M
/// \param factors Z_i, k_i x n each, or k_i x 1 for a factor that all samples share
/// \param wanted  whether the core's gradient is wanted too
/// \return        value and gradients
/// \throws shape_error as multilinear_synthesis, and if X has another shape than X^; argument_error for NaN or infinity
///
/// Cost: 6 k k_1 ... k_M n flops, 4 k k_1 ... k_M n without the core's gradient, which a shared factor needs anyway. Khatri-Rao
/// products are formed for some samples at a time. Contracting the core with one factor after the other would take as many flops, and temporaries
/// of k k_1 ... k_{M-1} elements per sample instead of k_1 ... k_M: less where k < k_M, which data are not. Shared factors are
/// contracted with the core first, where that saves a factor of k_i. Memory: six blocks of at most 32 MiB, or of a single sample; with shared factors the
/// contracted core and its gradient.
/// Source: 002 Eqs. 15, 16, 25, derived from Eq. 15 (errata).
/// \snippet tests/loss/multilinear_loss.cpp multilinear_loss
template <execution_policy Policy, any_tensor Data, any_tensor Core, any_tensor Matrix>
auto multilinear_loss_and_gradient(const Policy& policy, const Data& data, const Core& core, const std::vector<Matrix>& factors,
                                   loss_gradients wanted = loss_gradients::factors_and_core) {
    using T = value_type_of<Core>;
    const auto samples = detail::evaluate(policy, data);
    const char* const name = "multilinear_loss_and_gradient";
    return detail::with_multilinear_problem(policy, core, factors, name, [&](const detail::multilinear_problem<Policy, T>& problem) {
        problem.check_data(samples.view());
        const bool core_wanted = wanted == loss_gradients::factors_and_core;
        multilinear_loss_result<policy_tensor<Policy, T, order_of<Core>>> result;
        result.core = policy.template make_tensor<T, order_of<Core>>(core_wanted ? problem.shape() : extents(problem.shape().size(), 0));
        std::vector<T*> gradients;
        for (const auto& factor : problem.factors()) {
            result.factors.push_back(policy.template make_tensor<T, 2>({factor.rows, factor.columns}));
            gradients.push_back(result.factors.back().data());
        }
        result.value = detail::multilinear_gradient(policy, problem, samples.view(), core_wanted ? result.core.data() : nullptr, gradients);
        return result;
    });
}

template <any_tensor Data, any_tensor Core, any_tensor Matrix>
auto multilinear_loss_and_gradient(const Data& data, const Core& core, const std::vector<Matrix>& factors,
                                   loss_gradients wanted = loss_gradients::factors_and_core) {
    return multilinear_loss_and_gradient(cpu_policy{}, data, core, factors, wanted);
}

}  // namespace moden
