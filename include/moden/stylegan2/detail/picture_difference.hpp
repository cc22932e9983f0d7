#pragma once

// How far pictures are from others, at several scales: the mean square of the difference, of its means over 2 x 2 pixels,
// over 4 x 4 and so on, with the gradient. Pictures lie with channels last.

#include <cstddef>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/maps/detail/tile_transform.hpp>
#include <moden/stylegan2/detail/layer_operations.hpp>
#include <moden/stylegan2/detail/weights.hpp>

namespace moden::stylegan2::detail {

/// Means over 2 x 2 pixels.
template <class Policy, class T>
buffer_of<Policy, T> halve(const Policy& policy, const T* pictures, const image_extents& large, const T* zeros) {
    const image_extents small{large.count, large.height / 2, large.width / 2, large.channels};
    auto result = policy.template allocate<T>(small.size());
    moden::detail::transform_tiles<moden::detail::halve_by_mean>(
        policy, pixel_grid<const T>(pictures, large), pixel_grid<T>(result.data(), small), zeros, small.height, small.width,
        small.channels, 0, small.pixels());
    return result;
}

template <class Policy, class T>
class picture_difference {
public:
    using buffer = buffer_of<Policy, T>;

    /// \param targets  N x H x W x C, kept by the caller
    /// \param scales   how many; each halves the extents, which must be even so often
    picture_difference(const Policy& policy, const T* targets, const image_extents& images, std::size_t scales)
        : policy_(policy), targets_(targets), images_(images), scales_(scales), zeros_(policy.template allocate<T>(images.channels)) {
        policy.transform(images.channels, moden::detail::fill_with<T>{zeros_.data(), T(0)});
    }

    /// Adds up the mean squares over all scales, for each picture, and replaces the pictures by the gradient of that.
    /// squares: mean square of the differences at full size; objective: sum over scales. One number per picture, on the host.
    buffer operator()(const T* pictures, std::vector<double>& squares, std::vector<double>& objective) const {
        std::vector<buffer> differences;
        differences.push_back(policy_.template allocate<T>(images_.size()));
        policy_.transform(images_.size(), moden::detail::difference_of<T>{pictures, targets_, differences.front().data()});
        std::vector<image_extents> extents{images_};
        for (std::size_t scale = 1; scale < scales_; ++scale) {
            differences.push_back(halve(policy_, static_cast<const T*>(differences.back().data()), extents.back(),
                                        static_cast<const T*>(zeros_.data())));
            const image_extents& last = extents.back();
            extents.push_back({last.count, last.height / 2, last.width / 2, last.channels});
        }
        squares = mean_squares(differences.front(), extents.front());
        objective = squares;
        for (std::size_t scale = 1; scale < scales_; ++scale) {
            const std::vector<double> more = mean_squares(differences[scale], extents[scale]);
            for (std::size_t n = 0; n < more.size(); ++n) {
                objective[n] += more[n];
            }
        }
        for (std::size_t scale = scales_; scale-- > 0;) {
            const image_extents& here = extents[scale];
            const double weight = 2 / static_cast<double>(here.image_pixels() * here.channels);
            policy_.transform(here.size(), moden::detail::scaled_copy<T>{differences[scale].data(), static_cast<T>(weight), differences[scale].data()});
            if (scale + 1 < scales_) {
                const image_extents& small = extents[scale + 1];
                moden::detail::transform_tiles<moden::detail::halve_by_mean_adjoint, store::add>(
                    policy_, pixel_grid<const T>(differences[scale + 1].data(), small),
                    pixel_grid<T>(differences[scale].data(), here), static_cast<const T*>(zeros_.data()), small.height, small.width,
                    small.channels, 0, small.pixels());
            }
        }
        return std::move(differences.front());
    }

private:
    std::vector<double> mean_squares(const buffer& values, const image_extents& images) const {
        const std::size_t one = images.image_pixels() * images.channels;
        std::vector<double> result;
        for (std::size_t n = 0; n < images.count; ++n) {
            result.push_back(moden::detail::sum_of_squares(policy_, static_cast<const T*>(values.data()) + n * one, one) /
                             static_cast<double>(one));
        }
        return result;
    }

    const Policy& policy_;
    const T* targets_;
    image_extents images_;
    std::size_t scales_;
    buffer zeros_;
};

}  // namespace moden::stylegan2::detail
