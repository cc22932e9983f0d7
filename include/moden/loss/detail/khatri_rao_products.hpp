#pragma once

// A core times Khatri-Rao products of factors, and back, in blocks of samples and of the core's rows.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/multilinear/mode_product.hpp>
#include <moden/multilinear/mttkrp.hpp>
#include <moden/multilinear/products.hpp>

namespace moden::detail {

/// Terms of sum over slab and c of tensor(slab, a, c) weights(slab, c) for one a.
template <class T>
struct product_in_mode {
    const T* tensor;
    const T* weights;
    std::size_t extent;
    std::size_t columns;
    std::size_t a;
    MODEN_HOST_DEVICE double operator()(std::size_t i) const {
        return static_cast<double>(tensor[(i / columns * extent + a) * columns + i % columns]) * static_cast<double>(weights[i]);
    }
};

/// result = 2 (result - data), for some neighbouring rows and columns of the data.
template <class T>
struct twice_difference {
    const T* data;
    std::size_t stride;
    std::size_t columns;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t i, std::size_t j) const {
        T& element = result[i * columns + j];
        element = T(2) * (element - data[i * stride + j]);
    }
};

/// Some neighbouring samples: their columns of the factors, dense, and of the Khatri-Rao product, K, in both storage orders. So every product with it
/// is one of a small matrix and of rows of the core, or its gradient, where they lie.
template <class Policy, class T>
struct sample_block {
    std::size_t first;
    std::size_t count;
    std::vector<buffer_of<Policy, T>> factors;
    std::size_t product_rows;
    buffer_of<Policy, T> product;     ///< K row by row
    buffer_of<Policy, T> transposed;  ///< K' row by row

    matrix_view<const T, typename Policy::memory_space> product_view() const {
        return row_major<const T, typename Policy::memory_space>(product.data(), product_rows, count);
    }
    matrix_view<const T, typename Policy::memory_space> transposed_view() const {
        return row_major<const T, typename Policy::memory_space>(transposed.data(), count, product_rows);
    }
};

/// Some neighbouring rows of 2 (B K - X) for a block of samples, row by row.
template <class Policy, class T>
struct residual_rows {
    std::size_t first;
    std::size_t count;
    const T* twice;
    double square;  ///< sum of the squares of these elements
};

/// Core and factors of one call, checked. Factors that all samples share are contracted with the core at once; what is left
/// is a smaller core and the factors that vary.
template <class Policy, class T>
class multilinear_problem {
public:
    using space = typename Policy::memory_space;
    using const_view = matrix_view<const T, space>;

    /// Keeps views only.
    multilinear_problem(const Policy& policy, tensor_view<const T, space> core, std::vector<const_view> factors, const char* function)
        : policy_(policy), function_(function), core_(std::move(core)), shape_(core_.shape), factors_(std::move(factors)) {
        require<shape_error>(shape_.size() == factors_.size() + 1 && !factors_.empty(), function, ": ", factors_.size(), " factors for a core of ",
                             shape_, " (expected one per mode but the first)");
        require<shape_error>(element_count(shape_) > 0, function, ": a core of ", shape_, " (expected no empty mode)");
        for (std::size_t i = 0; i < factors_.size(); ++i) {
            require<shape_error>(factors_[i].rows == shape_[i + 1] && factors_[i].columns > 0, function, ": factor ", i, " is ", factors_[i].rows, " x ",
                                 factors_[i].columns, " (expected ", shape_[i + 1], " rows as mode ", i + 1, " of the core, and a column per sample)");
            columns_ = std::max(columns_, factors_[i].columns);
        }
        for (std::size_t i = 0; i < factors_.size(); ++i) {
            require<shape_error>(factors_[i].columns == columns_ || factors_[i].columns == 1, function, ": factor ", i, " has ", factors_[i].columns,
                                 " columns, others ", columns_, " (expected as many, or one for a factor that all samples share)");
            (factors_[i].columns == columns_ ? varying_ : shared_).push_back(i);
        }
        reduce_core();
    }

    const std::vector<const_view>& factors() const { return factors_; }
    const extents& shape() const { return shape_; }
    std::size_t rows() const { return shape_[0]; }
    std::size_t columns() const { return columns_; }
    bool has_shared() const { return !shared_.empty(); }

    /// k x product of the extents of the modes that vary.
    const_view core() const { return row_major<const T, space>(has_shared() ? reduced_.data() : core_.data, shape_[0], width_); }

    void check_data(const tensor_view<const T, space>& data) const {
        require<shape_error>(data.order() == 2 && data.shape[0] == rows() && data.shape[1] == columns_, function_, ": data of ", data.shape,
                             " (expected ", rows(), " x ", columns_, ", one column per sample)");
    }

    /// A value that is not finite comes from what was given: says from what.
    void require_finite_value(double value, const tensor_view<const T, space>& data) const {
        if (std::isfinite(value)) {
            return;
        }
        require_finite(policy_, data.data, data.size(), function_, "the data");
        require_finite(policy_, core_.data, element_count(shape_), function_, "the core");
        for (const const_view& factor : factors_) {
            require_finite(policy_, factor.data, factor.rows * factor.columns, function_, "a factor");
        }
        throw argument_error(message(function_, ": the loss is ", value, " (expected numbers whose products and squares do not overflow)"));
    }

    /// Some samples at a time, so that neither their Khatri-Rao product nor what for_each_residual holds has more than 32 MiB, unless one sample has.
    template <class Function>
    void for_each_block(Function function) const {
        constexpr std::size_t budget = std::size_t{32} << 20;
        const std::size_t height = std::max(width_, std::min(rows(), rows_at_once()));
        const std::size_t at_once = std::clamp<std::size_t>(budget / (height * sizeof(T)), 1, columns_);
        for (std::size_t first = 0; first < columns_; first += at_once) {
            sample_block<Policy, T> block{first, std::min(at_once, columns_ - first), {}, width_, policy_.template allocate<T>(0),
                                          policy_.template allocate<T>(0)};
            std::vector<const_view> dense;
            for (const std::size_t i : varying_) {
                const const_view& factor = factors_[i];
                block.factors.push_back(policy_.template allocate<T>(factor.rows * block.count));
                policy_.template copy<T>(const_view{factor.data + first, factor.rows, block.count, columns_, storage_order::row_major},
                                         row_major<T, space>(block.factors.back().data(), factor.rows, block.count));
                dense.push_back(row_major<const T, space>(block.factors.back().data(), factor.rows, block.count));
            }
            block.product = khatri_rao_buffer<Policy, T, space>(policy_, dense, block.count);
            function(block);
        }
    }

    template <class Function>
    void for_each_residual(const T* data, const sample_block<Policy, T>& block, Function function) const {
        const std::size_t at_once = rows_at_once();
        const auto memory = policy_.template allocate<T>(std::min(at_once, rows()) * block.count);
        for (std::size_t first = 0; first < rows(); first += at_once) {
            const std::size_t count = std::min(at_once, rows() - first);
            policy_.template gemm<T>(T(1), core_rows(first, count), block.product_view(), T(0), row_major<T, space>(memory.data(), count, block.count));
            policy_.transform_grid(count, block.count, twice_difference<T>{data + first * columns_ + block.first, columns_, block.count, memory.data()});
            function(residual_rows<Policy, T>{first, count, memory.data(), sum_of_squares(policy_, static_cast<const T*>(memory.data()), count * block.count)});
        }
    }

    /// K' as well, for gradients.
    void transpose_product(sample_block<Policy, T>& block) const {
        block.transposed = policy_.template allocate<T>(width_ * block.count);
        policy_.template copy<T>(block.product_view(), column_major<T, space>(block.transposed.data(), width_, block.count));
    }

    /// Adds the rows' share of (2R)'B to `pulled` (count x width) and, unless it is null, writes or adds theirs of 2 R K' to `core` (k x width).
    void add_gradients(const sample_block<Policy, T>& block, const residual_rows<Policy, T>& rows, T* core, T* pulled) const {
        const auto twice = row_major<const T, space>(rows.twice, rows.count, block.count);
        policy_.template gemm<T>(T(1), transposed(twice), core_rows(rows.first, rows.count), rows.first == 0 ? T(0) : T(1),
                                 row_major<T, space>(pulled, block.count, width_));
        if (core != nullptr) {
            policy_.template gemm<T>(T(1), twice, block.transposed_view(), block.first == 0 ? T(0) : T(1),
                                     row_major<T, space>(core + rows.first * width_, rows.count, width_));
        }
    }

    /// Columns of the gradients of the factors that vary. The block's product is no longer needed: its memory takes `columns` row by row.
    void factor_gradients(sample_block<Policy, T>& block, const T* columns, const std::vector<T*>& results) const {
        T* const pulled = block.product.data();
        policy_.template copy<T>(column_major<const T, space>(columns, width_, block.count), row_major<T, space>(pulled, width_, block.count));
        std::vector<const_view> dense;
        extents ranks;
        for (std::size_t v = 0; v < varying_.size(); ++v) {
            ranks.push_back(factors_[varying_[v]].rows);
            dense.push_back(row_major<const T, space>(block.factors[v].data(), ranks.back(), block.count));
        }
        const std::size_t pieces = (block.count + contract_slabs<T>::width - 1) / contract_slabs<T>::width;
        for (std::size_t v = 0; v < varying_.size(); ++v) {
            const auto [slabs, extent, inner] = geometry_of(ranks, v);
            const auto split = dense.begin() + static_cast<std::ptrdiff_t>(v);
            const auto before = khatri_rao_buffer<Policy, T, space>(policy_, {dense.begin(), split}, block.count);
            const auto after = khatri_rao_buffer<Policy, T, space>(policy_, {split + 1, dense.end()}, block.count);
            const auto half = policy_.template allocate<T>(slabs * extent * block.count);
            policy_.transform_grid(slabs * extent, pieces, contract_columns<T>{after.data(), pulled, inner, block.count, half.data()});
            const auto gradient = policy_.template allocate<T>(extent * block.count);
            policy_.transform_grid(extent, pieces, contract_slabs<T>{before.data(), half.data(), slabs, extent, block.count, gradient.data()});
            T* const target = results[varying_[v]] + block.first;
            policy_.template copy<T>(row_major<const T, space>(gradient.data(), extent, block.count),
                                     matrix_view<T, space>{target, extent, block.count, columns_, storage_order::row_major});
        }
    }

    /// Gradients of the shared factors and, unless it is null, of the whole core, from that of the reduced core.
    void shared_gradients(const T* reduced, T* core, const std::vector<T*>& results) const {
        for (const std::size_t i : shared_) {
            extents shape = shape_;
            std::vector<mode_factor<T, space>> others;
            for (const std::size_t j : shared_) {
                if (j != i) {
                    others.push_back(as_mode_factor(j));
                    shape[j + 1] = 1;
                }
            }
            const auto memory = policy_.template allocate<T>(others.empty() ? 0 : element_count(shape));
            if (!others.empty()) {
                multi_mode_product_into<Policy, T, space>(policy_, core_, std::move(others), memory.data());
            }
            const T* const tensor = shared_.size() == 1 ? core_.data : memory.data();
            const auto [slabs, extent, inner] = geometry_of(shape, i + 1);
            std::vector<T> gradient;
            for (std::size_t a = 0; a < extent; ++a) {
                gradient.push_back(static_cast<T>(policy_.reduce(slabs * inner, 0.0, product_in_mode<T>{tensor, reduced, extent, inner, a}, plus{})));
            }
            policy_.upload(gradient.data(), results[i], extent);
        }
        if (core == nullptr || shared_.empty()) {
            return;
        }
        extents shape = shape_;
        for (const std::size_t i : shared_) {
            shape[i + 1] = 1;
        }
        auto current = policy_.template allocate<T>(0);
        for (std::size_t s = 0; s < shared_.size(); ++s) {
            shape[shared_[s] + 1] = shape_[shared_[s] + 1];
            const auto geometry = geometry_of(shape, shared_[s] + 1);
            const bool last = s + 1 == shared_.size();
            auto next = policy_.template allocate<T>(last ? 0 : element_count(shape));
            // next(slab, a, c) = current(slab, c) z(a): the mode that was summed over comes back.
            policy_.transform_grid(geometry.slabs * geometry.extent, geometry.columns,
                                   kronecker_element<T>{s == 0 ? reduced : current.data(), factors_[shared_[s]].data, geometry.columns, geometry.extent, 1,
                                                        last ? core : next.data()});
            current = std::move(next);
        }
    }

private:
    mode_factor<T, space> as_mode_factor(std::size_t i) const { return {i + 1, row_major<const T, space>(factors_[i].data, 1, factors_[i].rows)}; }

    const_view core_rows(std::size_t first, std::size_t count) const { return row_major<const T, space>(core().data + first * width_, count, width_); }

    /// Rows of the core that stay in cache while they are used three times, and enough of them for a matrix product.
    std::size_t rows_at_once() const {
        constexpr std::size_t budget = std::size_t{8} << 20, fewest = 256, most = 8192;
        return std::clamp(budget / (width_ * sizeof(T)), fewest, most);
    }

    void reduce_core() {
        for (const std::size_t i : varying_) {
            width_ *= shape_[i + 1];
        }
        if (shared_.empty()) {
            return;
        }
        std::vector<mode_factor<T, space>> given;
        for (const std::size_t i : shared_) {
            given.push_back(as_mode_factor(i));
        }
        reduced_ = policy_.template allocate<T>(shape_[0] * width_);
        multi_mode_product_into<Policy, T, space>(policy_, core_, std::move(given), reduced_.data());
    }

    const Policy& policy_;
    const char* function_;
    tensor_view<const T, space> core_;
    extents shape_;                                 ///< k x k_1 x ... x k_M
    std::vector<const_view> factors_;
    std::vector<std::size_t> varying_ = {}, shared_ = {};
    std::size_t columns_ = 0;                       ///< n
    std::size_t width_ = 1;                         ///< columns of the reduced core
    buffer_of<Policy, T> reduced_ = {};
};

/// Calls function(problem) for arguments of public functions.
template <class Policy, class Core, class Matrix, class Function>
auto with_multilinear_problem(const Policy& policy, const Core& core, const std::vector<Matrix>& factors, const char* name, Function function) {
    using T = value_type_of<Core>;
    static_assert(std::is_same_v<T, value_type_of<Matrix>>, "moden: core and factors hold different types");
    const auto core_argument = evaluate(policy, core);
    check_argument<Policy, Matrix>();
    std::vector<std::unique_ptr<typename tensor_traits<Matrix>::argument>> arguments;
    std::vector<matrix_view<const T, typename Policy::memory_space>> views;
    for (std::size_t i = 0; i < factors.size(); ++i) {
        arguments.push_back(std::make_unique<typename tensor_traits<Matrix>::argument>(factors[i]));
        views.push_back(as_matrix(arguments.back()->view(), name, "a factor"));
    }
    return function(multilinear_problem<Policy, T>(policy, core_argument.view(), std::move(views), name));
}

}  // namespace moden::detail
