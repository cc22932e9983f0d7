#pragma once

// A map from a function alone: its derivatives come from automatic differentiation.

#include <algorithm>
#include <cstddef>
#include <utility>

#include <moden/core/error.hpp>
#include <moden/core/macros.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/core/view.hpp>
#include <moden/maps/differentiable_map.hpp>
#include <moden/maps/dual.hpp>

namespace moden {

/// What an automatic_map is allowed to do.
struct automatic_map_options {
    /// Largest n for which vjp assembles the Jacobian, at the price of n tangents per call; vjp of a map with more inputs is refused.
    std::size_t largest_input = 1024;
};

namespace detail {

template <class T, class Function>
struct evaluate_function {
    Function function;
    const T* x;
    T* y;
    MODEN_HOST_DEVICE void operator()(std::size_t) const { function(x, y); }
};

/// J t for Lanes tangents at a time; without tangents those are unit vectors.
template <class T, std::size_t Lanes, class Function>
struct push_tangents {
    using number = dual<T, Lanes>;
    Function function;
    const T* x;
    const T* tangents;
    std::size_t first, count;  ///< rows of the tangents (or unit vectors) that this round is about
    std::size_t inputs, outputs;
    number* arguments;
    number* values;
    T* result;

    MODEN_HOST_DEVICE void operator()(std::size_t chunk) const {
        number* const argument = arguments + chunk * inputs;
        number* const value = values + chunk * outputs;
        const std::size_t begin = chunk * Lanes;
        const std::size_t lanes = count - begin < Lanes ? count - begin : Lanes;
        for (std::size_t j = 0; j < inputs; ++j) {
            number entry(x[j]);
            for (std::size_t lane = 0; lane < lanes; ++lane) {
                const std::size_t row = first + begin + lane;
                entry.slope[lane] = tangents != nullptr ? tangents[row * inputs + j] : row == j ? T(1) : T(0);
            }
            argument[j] = entry;
        }
        for (std::size_t i = 0; i < outputs; ++i) {
            value[i] = number();
        }
        function(static_cast<const number*>(argument), value);
        for (std::size_t lane = 0; lane < lanes; ++lane) {
            for (std::size_t i = 0; i < outputs; ++i) {
                result[(begin + lane) * outputs + i] = value[i].slope[lane];
            }
        }
    }
};

}  // namespace detail

/// A function written over a scalar type as a map: `function(const S* x, S* y)` reads n numbers and writes m, for any S that
/// computes like a number.
///
/// jvp evaluates it with dual numbers, four tangents at a time; each chunk of four is one piece of parallel work. vjp assembles the
/// Jacobian a block of columns at a time (n tangents) and multiplies: right for small n, and refused above
/// `options.largest_input`. Functions with many inputs want a callable_map with a vjp of their own. Satisfies differentiable_map.
///
/// For the CUDA policy the call operator is marked MODEN_HOST_DEVICE and what it points to lies on the device.
///
/// Cost: 5/4 of an evaluation per tangent, roughly; memory of 5 (n + m) numbers per chunk, for at most 64 MiB of chunks at a
/// time, and for vjp 64 MiB of columns or four of them.
/// Source: Griewank & Walther 2008, Ch. 3; 001 Eqs. 6.26-6.29, Paper V Eq. 8.
/// \snippet tests/spectral/maps.cpp automatic_map
template <class T, class Function>
class automatic_map {
public:
    /// \param input_size   n
    /// \param output_size  m
    /// \param function     evaluated as function(x, y), const
    /// \param options      up to which n there is a vjp
    /// \throws argument_error if n or m is 0
    automatic_map(std::size_t input_size, std::size_t output_size, Function function, const automatic_map_options& options = {})
        : input_size_(input_size), output_size_(output_size), function_(std::move(function)), options_(options) {
        detail::require<argument_error>(input_size > 0 && output_size > 0, "automatic_map: from ", input_size, " to ", output_size,
                                        " numbers (expected at least 1 each)");
    }

    std::size_t input_size() const { return input_size_; }
    std::size_t output_size() const { return output_size_; }

    /// \throws shape_error if x does not fit
    template <class Policy, any_tensor Point>
    auto value(const Policy& policy, const Point& x) const {
        const auto point = detail::evaluate(policy, x);
        detail::check_map_vector(point.view().shape, input_size_, "automatic_map::value", "x");
        auto result = policy.template make_tensor<T, 1>({output_size_});
        policy.transform(1, detail::evaluate_function<T, Function>{function_, point.view().data, result.data()});
        return result;
    }

    /// \throws shape_error if x or the tangents do not fit
    template <class Policy, any_tensor Point, any_tensor Block>
    auto jvp(const Policy& policy, const Point& x, const Block& tangents) const {
        const auto point = detail::evaluate(policy, x);
        detail::check_map_vector(point.view().shape, input_size_, "automatic_map::jvp", "x");
        const auto block = detail::evaluate(policy, tangents);
        detail::check_map_block(block.view().shape, input_size_, "automatic_map::jvp", "the tangents");
        const std::size_t count = block.view().shape[0];
        auto result = policy.template make_tensor<T, 2>({count, output_size_});
        push(policy, point.view().data, block.view().data, 0, count, result.data());
        return result;
    }

    /// \throws shape_error if x or the cotangents do not fit; argument_error if n exceeds options.largest_input
    template <class Policy, any_tensor Point, any_tensor Block>
    auto vjp(const Policy& policy, const Point& x, const Block& cotangents) const {
        using space = typename Policy::memory_space;
        detail::require<argument_error>(input_size_ <= options_.largest_input, "automatic_map::vjp: ", input_size_,
                                        " inputs would take as many tangents (expected at most largest_input = ", options_.largest_input,
                                        ", or a callable_map with a vjp of its own)");
        const auto point = detail::evaluate(policy, x);
        detail::check_map_vector(point.view().shape, input_size_, "automatic_map::vjp", "x");
        const auto block = detail::evaluate(policy, cotangents);
        detail::check_map_block(block.view().shape, output_size_, "automatic_map::vjp", "the cotangents");
        const std::size_t count = block.view().shape[0];
        auto result = policy.template make_tensor<T, 2>({count, input_size_});
        const std::size_t at_once = std::clamp<std::size_t>(budget / (output_size_ * sizeof(T)), lanes, std::max(input_size_, lanes));
        const auto columns = policy.template allocate<T>(std::min(at_once, input_size_) * output_size_);
        const auto target = row_major<T, space>(result.data(), count, input_size_);
        for (std::size_t first = 0; first < input_size_; first += at_once) {
            const std::size_t some = std::min(at_once, input_size_ - first);
            push(policy, point.view().data, nullptr, first, some, columns.data());
            policy.template gemm<T>(T(1), row_major<const T, space>(block.view().data, count, output_size_),
                                    transposed(row_major<const T, space>(columns.data(), some, output_size_)), T(0), columns_of(target, first, some));
        }
        return result;
    }

private:
    static constexpr std::size_t lanes = 4;
    static constexpr std::size_t budget = std::size_t{64} << 20;

    /// Rows `first` to first + count of the tangents, or unit vectors, to result.
    template <class Policy>
    void push(const Policy& policy, const T* x, const T* tangents, std::size_t first, std::size_t count, T* result) const {
        using number = dual<T, lanes>;
        const std::size_t chunks = (count + lanes - 1) / lanes;
        const std::size_t per_chunk = (input_size_ + output_size_) * sizeof(number);
        const std::size_t round = std::clamp<std::size_t>(budget / per_chunk, 1, chunks);
        const auto arguments = policy.template allocate<number>(round * input_size_);
        const auto values = policy.template allocate<number>(round * output_size_);
        for (std::size_t chunk = 0; chunk < chunks; chunk += round) {
            const std::size_t begin = chunk * lanes;
            const std::size_t some = std::min(round, chunks - chunk);
            policy.transform(some,
                             detail::push_tangents<T, lanes, Function>{function_, x, tangents, first + begin, std::min(count - begin, some * lanes),
                                                                       input_size_, output_size_, arguments.data(), values.data(),
                                                                       result + begin * output_size_},
                             5 * (input_size_ + output_size_));
        }
    }

    std::size_t input_size_, output_size_;
    Function function_;
    automatic_map_options options_;
};

/// An automatic_map of scalar type T, with the function's type deduced.
/// \param input_size   n
/// \param output_size  m
/// \param function     evaluated as function(x, y), const
/// \param options      up to which n there is a vjp
/// \return             the map
/// \throws argument_error if n or m is 0
template <class T, class Function>
automatic_map<T, Function> make_automatic_map(std::size_t input_size, std::size_t output_size, Function function,
                                              const automatic_map_options& options = {}) {
    return {input_size, output_size, std::move(function), options};
}

}  // namespace moden
