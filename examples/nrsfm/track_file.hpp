#pragma once

// Tracks of the user's own, and which of their points were seen.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include <moden/core/tensor.hpp>
#include <moden/io/npy.hpp>

#include "../common/program.hpp"
#include "settings.hpp"

namespace nrsfm {

/// Tracks, and where there may be gaps a mask of F x P.
template <class T>
struct track_set {
    moden::tensor<T, 3> tracks;  ///< F x 2 x P
    std::optional<moden::tensor<std::uint8_t, 2>> seen = std::nullopt;
};

/// Whether every value of a stored type is a float.
inline bool fits_float(moden::io::element_type type) {
    using enum moden::io::element_type;
    return type != float64 && type != int32 && type != uint32 && type != int64 && type != uint64;
}

/// \throws examples::usage_error for another shape, infinity, and for NaN unless it stands for points that were not seen
template <class T>
track_set<T> read_tracks(const moden::io::npy_file& file, const settings& wanted) {
    using moden::detail::require;
    const moden::extents& shape = file.shape();
    const std::string name = "--tracks '" + wanted.tracks + "'";
    require<examples::usage_error>(shape.size() == 2 || (shape.size() == 3 && shape[1] == 2), name, ": an array of ", shape, " (expected 2F x P or F x 2 x P)");
    require<examples::usage_error>(shape.size() == 3 || shape[0] % 2 == 0, name, ": ", shape[0], " rows (expected an even number: x and y of every frame)");
    const std::size_t frames = shape.size() == 3 ? shape[0] : shape[0] / 2, points = shape.back();
    require<examples::usage_error>(frames >= 3 && points >= 4, name, ": ", frames, " frames of ", points, " points (expected at least 3 frames of 4 points)");
    track_set<T> result{moden::tensor<T, 3>::from_shape({frames, 2, points})};
    const auto values = file.load<T>();
    std::copy(values.begin(), values.end(), result.tracks.data());
    auto seen = moden::tensor<std::uint8_t, 2>::from_shape({frames, points});
    for (std::size_t f = 0; f < frames; ++f) {
        for (std::size_t p = 0; p < points; ++p) {
            const T x = result.tracks(f, 0, p), y = result.tracks(f, 1, p);
            require<examples::usage_error>(!std::isinf(x) && !std::isinf(y), name, ": point ", p, " of frame ", f, " is infinite");
            seen(f, p) = std::isnan(x) || std::isnan(y) ? 0 : 1;
            require<examples::usage_error>(seen(f, p) == 1 || wanted.missing == "nan", name, ": point ", p, " of frame ", f,
                                           " is NaN (if NaN stands for points that were not seen, say --missing nan)");
        }
    }
    if (wanted.missing == "nan") {
        result.seen = std::move(seen);
    }
    return result;
}

}  // namespace nrsfm
