#pragma once

// Faces of a generator as codes with uncorrelated coordinates, pictures, and what is read off them.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <moden/io.hpp>
#include <moden/moden.hpp>
#include <moden/stylegan2.hpp>

#include "../common/progress_bar.hpp"
#include "settings.hpp"

namespace pose_faces {

using moden::detail::require;
namespace stylegan2 = moden::stylegan2;
using matrix = moden::tensor<float, 2>;
using vector = moden::tensor<float, 1>;
using tracks = moden::tensor<float, 3>;
using generator = stylegan2::generator<moden::cpu_policy, float>;
using regressor = stylegan2::image_regressor<moden::cpu_policy, float>;
using affine = moden::affine_map<matrix>;

/// A latent space in coordinates e that are uncorrelated with standard deviation 1: code = mean + root e.
///
/// The pseudo-inverse of a Jacobian gives the shortest change. In w itself that would mostly be a change along axes along which no face varies.
struct code_space {
    using picture_map = moden::composed_map<stylegan2::generator_map<moden::cpu_policy, float>, affine>;

    std::string name;
    affine from_white;
    stylegan2::generator_map<moden::cpu_policy, float> generate;
    std::unique_ptr<picture_map> picture;  ///< e -> 3 x R x R numbers

    code_space(const std::string& called, affine map, stylegan2::generator_map<moden::cpu_policy, float> of_code)
        : name(called), from_white(std::move(map)), generate(std::move(of_code)), picture(std::make_unique<picture_map>(generate, from_white)) {}
    code_space(const code_space&) = delete;
    code_space& operator=(const code_space&) = delete;

    std::size_t size() const { return from_white.input_size(); }
};

/// Codes (white coordinates) of one space and what is read off their pictures.
struct sample_set {
    matrix codes;
    matrix readings;
};

/// Rows of a matrix.
inline matrix some_rows(const matrix& rows, std::size_t first, std::size_t count) {
    auto result = matrix::from_shape({count, rows.shape()[1]});
    std::copy_n(rows.data() + first * rows.shape()[1], result.size(), result.data());
    return result;
}

inline vector row_of(const matrix& rows, std::size_t n) {
    auto result = vector::from_shape({rows.shape()[1]});
    std::copy_n(rows.data() + n * rows.shape()[1], result.size(), result.data());
    return result;
}

/// Pictures of codes in white coordinates, N x 3 x R x R.
inline moden::tensor<float, 4> pictures_of(const moden::cpu_policy& cpu, const generator& net, const code_space& space, const matrix& codes) {
    const auto& layout = net.layout();
    const matrix own = space.from_white.values(cpu, codes);
    if (space.name == "z") {
        return stylegan2::synthesize(cpu, net, stylegan2::to_w_plus(cpu, net, stylegan2::map_latents(cpu, net, own)));
    }
    if (space.name == "w") {
        return stylegan2::synthesize(cpu, net, stylegan2::to_w_plus(cpu, net, own));
    }
    auto ws = moden::tensor<float, 3>::from_shape({own.shape()[0], layout.num_ws, layout.w_dim});
    std::copy(own.begin(), own.end(), ws.begin());
    return stylegan2::synthesize(cpu, net, ws);
}

inline matrix readings_of(const moden::cpu_policy& cpu, const generator& net, const regressor& measure, const code_space& space, const matrix& codes) {
    constexpr std::size_t at_once = 64;
    auto result = matrix::from_shape({codes.shape()[0], measure.output_size()});
    examples::progress_bar bar("reading faces");
    for (std::size_t first = 0; first < codes.shape()[0]; first += at_once) {
        const std::size_t some = std::min(at_once, codes.shape()[0] - first);
        const matrix part = measure.predict(cpu, pictures_of(cpu, net, space, some_rows(codes, first, some)));
        std::copy(part.begin(), part.end(), result.data() + first * result.shape()[1]);
        bar.update(first + some, codes.shape()[0]);
    }
    return result;
}

/// The outputs of the regressor that this program needs, and landmarks in units of the picture's side.
class face_numbers {
public:
    /// \throws moden::argument_error if the regressor lacks one, which is named
    face_numbers(const regressor& measure, const std::string& file) : landmarks_(measure.output("landmarks_2d")), side_(static_cast<float>(measure.resolution())) {
        require<examples::usage_error>(landmarks_.shape.size() == 2 && landmarks_.shape[1] == 2 && landmarks_.shape[0] >= 8, "--measure '", file,
                                       "': landmarks_2d of ", landmarks_.shape, " (expected L x 2 with L of at least 8)");
        for (const char* name : {"yaw", "pitch", "roll", "happiness"}) {
            const auto& output = measure.output(name);
            require<examples::usage_error>(output.size == 1, "--measure '", file, "': the output '", std::string(name), "' has ", output.size, " numbers (expected one)");
            columns_.push_back(output.offset);
        }
    }

    std::size_t points() const { return landmarks_.shape[0]; }

    /// N x 2 x L.
    tracks landmarks(const matrix& readings) const {
        const std::size_t count = readings.shape()[0], l = points();
        auto result = tracks::from_shape({count, 2, l});
        for (std::size_t n = 0; n < count; ++n) {
            for (std::size_t p = 0; p < l; ++p) {
                result(n, 0, p) = readings(n, landmarks_.offset + 2 * p) / side_;
                result(n, 1, p) = readings(n, landmarks_.offset + 2 * p + 1) / side_;
            }
        }
        return result;
    }

    float side() const { return side_; }
    double yaw(const matrix& readings, std::size_t n) const { return readings(n, columns_[0]); }
    double pitch(const matrix& readings, std::size_t n) const { return readings(n, columns_[1]); }
    double roll(const matrix& readings, std::size_t n) const { return readings(n, columns_[2]); }
    double smile(const matrix& readings, std::size_t n) const { return readings(n, columns_[3]); }
    /// 0 yaw, 1 pitch, 2 roll in radians, 3 smile in intensity.
    double factor(const matrix& readings, std::size_t n, std::size_t which) const { return readings(n, columns_[which]); }

private:
    stylegan2::regressor_output landmarks_;
    float side_;
    std::vector<std::size_t> columns_;
};

/// Mean of the rows and the symmetric root of their covariance.
inline affine whitening(const moden::cpu_policy& cpu, const matrix& samples) {
    const std::size_t count = samples.shape()[0], size = samples.shape()[1];
    auto mean = vector::from_shape({size});
    matrix centred = samples, root = matrix::from_shape({size, size});
    for (std::size_t i = 0; i < size; ++i) {
        double sum = 0;
        for (std::size_t n = 0; n < count; ++n) {
            sum += static_cast<double>(samples(n, i)) / static_cast<double>(count);
        }
        mean(i) = static_cast<float>(sum);
        for (std::size_t n = 0; n < count; ++n) {
            centred(n, i) -= mean(i);
        }
    }
    const auto svd = moden::thin_svd(cpu, centred);
    const double scale = std::sqrt(static_cast<double>(count - 1));
    for (std::size_t i = 0; i < size; ++i) {
        for (std::size_t j = 0; j < size; ++j) {
            double sum = 0;
            for (std::size_t k = 0; k < svd.singular_values.size(); ++k) {
                sum += static_cast<double>(svd.vt(k, i)) * static_cast<double>(svd.singular_values[k]) / scale * static_cast<double>(svd.vt(k, j));
            }
            root(i, j) = static_cast<float>(sum);
        }
    }
    return affine(cpu, root, mean);
}

/// The spaces z, w and w+ (every row with the whitening of w).
inline std::vector<std::unique_ptr<code_space>> make_spaces(const moden::cpu_policy& cpu, const generator& net, std::uint64_t seed) {
    const auto& layout = net.layout();
    require<examples::usage_error>(layout.c_dim == 0, "--weights: a conditional generator (expected one without labels)");
    const auto identity = [&](std::size_t size) {
        auto result = matrix::from_shape({size, size});
        for (std::size_t i = 0; i < size * size; ++i) {
            result.data()[i] = i % (size + 1) == 0 ? 1.0F : 0.0F;
        }
        return result;
    };
    auto z = matrix::from_shape({std::max<std::size_t>(4000, 4 * layout.w_dim), layout.z_dim});
    moden::fill_normal(cpu, z.data(), z.size(), seed, 1);
    const affine of_w = whitening(cpu, stylegan2::map_latents(cpu, net, z));
    const std::size_t size = layout.w_dim, rows = layout.num_ws;
    auto root = matrix::from_shape({rows * size, rows * size});
    auto mean = vector::from_shape({rows * size});
    std::fill(root.begin(), root.end(), 0.0F);
    for (std::size_t r = 0; r < rows; ++r) {
        for (std::size_t i = 0; i < size; ++i) {
            mean(r * size + i) = of_w.offset()(0, i);
            std::copy_n(of_w.matrix().data() + i * size, size, root.data() + (r * size + i) * rows * size + r * size);
        }
    }
    using map = stylegan2::generator_map<moden::cpu_policy, float>;
    std::vector<std::unique_ptr<code_space>> result;
    result.push_back(std::make_unique<code_space>("z", affine(cpu, identity(layout.z_dim)), map(net, {.space = stylegan2::latent_space::z})));
    result.push_back(std::make_unique<code_space>("w", affine(cpu, of_w.matrix(), row_of(of_w.offset(), 0)), map(net, {.space = stylegan2::latent_space::w})));
    result.push_back(std::make_unique<code_space>("w+", affine(cpu, root, mean), map(net, {.space = stylegan2::latent_space::w_plus})));
    return result;
}

/// e of codes: root^-1 (code - mean), as far as the root can be inverted.
inline matrix to_white(const moden::cpu_policy& cpu, const affine& from_white, const matrix& codes) {
    const std::size_t size = from_white.input_size(), count = codes.shape()[0];
    const auto svd = moden::thin_svd(cpu, from_white.matrix());
    matrix centred = codes;
    for (std::size_t i = 0; i < centred.size(); ++i) {
        centred.data()[i] -= from_white.offset()(0, i % size);
    }
    matrix along = moden::mode_product(cpu, centred, matrix(xt::transpose(svd.u)), 1);
    for (std::size_t n = 0; n < count; ++n) {
        for (std::size_t k = 0; k < size; ++k) {
            const bool varies = svd.singular_values[k] > 1e-3F * svd.singular_values[0];
            along(n, k) = varies ? along(n, k) / svd.singular_values[k] : 0.0F;
        }
    }
    return moden::mode_product(cpu, along, matrix(xt::transpose(svd.vt)), 1);
}

/// Faces of z and of the w that belong to them: the same pictures.
inline matrix drawn_z(const moden::cpu_policy& cpu, const generator& net, std::size_t count, std::uint64_t seed, std::uint64_t stream) {
    auto z = matrix::from_shape({count, net.layout().z_dim});
    moden::fill_normal(cpu, z.data(), z.size(), seed, stream);
    return z;
}

/// w+ with the rows of one w up to a random layer and those of another after it, in white coordinates.
inline matrix mixed_codes(const matrix& one, const matrix& other, std::size_t rows, std::uint64_t seed) {
    const std::size_t count = one.shape()[0], size = one.shape()[1];
    auto result = matrix::from_shape({count, rows * size});
    for (std::size_t n = 0; n < count; ++n) {
        const std::size_t from = 1 + moden::philox(seed, 77, n).word[0] % rows;
        for (std::size_t r = 0; r < rows; ++r) {
            std::copy_n((r < from ? one : other).data() + n * size, size, result.data() + (n * rows + r) * size);
        }
    }
    return result;
}

}  // namespace pose_faces
