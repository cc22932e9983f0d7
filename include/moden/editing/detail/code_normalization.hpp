#pragma once

// Structured sets of codes before they are factorised: checks, means and scales, which samples count.

#include <cmath>
#include <cstddef>
#include <vector>

#include <moden/core/error.hpp>
#include <moden/core/macros.hpp>
#include <moden/core/view.hpp>
#include <moden/editing/factor_mode.hpp>

namespace moden {

/// What is done to the codes before they are factorised.
enum class code_scaling {
    centered,     ///< the mean code is subtracted
    standardized  ///< and every variable divided by its standard deviation (variables that never change by 1)
};

namespace detail {

/// Mean and scale of one variable over all samples, and the variable as the model sees it. `observed`, if not null, says
/// which samples count; those that do not become 0.
template <class T>
struct normalize_variable {
    const T* data;
    const T* observed;
    std::size_t samples;
    code_scaling scaling;
    T* mean;
    T* scale;
    T* normalized;

    MODEN_HOST_DEVICE void operator()(std::size_t i) const {
        const T* row = data + i * samples;
        double sum = 0, count = 0;
        for (std::size_t j = 0; j < samples; ++j) {
            if (observed == nullptr || observed[j] != T(0)) {
                sum += static_cast<double>(row[j]);
                count += 1;
            }
        }
        const double center = sum / count;
        double squares = 0;
        for (std::size_t j = 0; j < samples; ++j) {
            if (observed == nullptr || observed[j] != T(0)) {
                const double x = static_cast<double>(row[j]) - center;
                squares += x * x;
            }
        }
        const double deviation = std::sqrt(squares / count);
        const double factor = scaling == code_scaling::centered || !(deviation > 0) ? 1.0 : deviation;
        mean[i] = static_cast<T>(center);
        scale[i] = static_cast<T>(factor);
        for (std::size_t j = 0; j < samples; ++j) {
            const bool counts = observed == nullptr || observed[j] != T(0);
            normalized[i * samples + j] = counts ? static_cast<T>((static_cast<double>(row[j]) - center) / factor) : T(0);
        }
    }
};

/// The mask of samples, repeated for every variable of the codes.
template <class T>
struct repeat_row {
    const T* row;
    std::size_t size;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { result[i] = row[i % size]; }
};

inline void check_model_data(const extents& shape, const std::vector<factor_mode>& modes) {
    require<shape_error>(shape.size() >= 2, "fit_tensor_model: a tensor of order ", shape.size(),
                         " (expected codes x at least one factor mode)");
    require<shape_error>(element_count(shape) > 0, "fit_tensor_model: the tensor of ", shape, " is empty");
    check_factor_modes(modes, {shape.begin() + 1, shape.end()}, "fit_tensor_model");
}

/// Refuses masks in which a level has no observed code at all.
template <class Policy, class T, class Space>
void check_all_levels_observed(const Policy& policy, const tensor_view<const T, Space>& mask, const std::vector<factor_mode>& modes) {
    std::vector<T> observed(mask.size());
    policy.download(mask.data, observed.data(), observed.size());
    for (std::size_t k = 0; k < modes.size(); ++k) {
        const mode_geometry geometry = geometry_of(mask.shape, k);
        for (std::size_t level = 0; level < geometry.extent; ++level) {
            bool any = false;
            for (std::size_t i = 0; i < geometry.fibers() && !any; ++i) {
                const std::size_t slab = i / geometry.columns, column = i % geometry.columns;
                any = observed[(slab * geometry.extent + level) * geometry.columns + column] != T(0);
            }
            require<argument_error>(any, "fit_tensor_model: no code of mode '", modes[k].name, "' has level '",
                                    modes[k].levels[level], "' (all of its combinations are missing)");
        }
    }
}

}  // namespace detail
}  // namespace moden
