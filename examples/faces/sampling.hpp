#pragma once

// Random faces. Every function is a pure function of (seed, index): person 7 of seed 1 is the same on every machine,
// whatever else is drawn. Numbers come from Philox: seed is the key; index and purpose (person, light, ...) choose the
// stream.
//
// Distribution of identities: a hidden trait m in {-1, +1} with noise shifts `build`, brows, lips, hair and beard; the
// other shape coefficients are independent standard normals, redrawn beyond 2.2; skin, hair and iris colours are drawn
// from palettes that depend on melanin, itself uniform-like over [0, 1] with more weight on the fair half.

#include "parameters.hpp"

#include <moden/core/random.hpp>

#include <cstdint>

namespace faces {

/// A stream of random numbers that depends on nothing but its three keys.
class random_stream {
public:
    /// \param index  below 2^56
    random_stream(std::uint64_t seed, std::uint64_t index, std::uint64_t purpose)
        : seed_(seed), stream_(index << 8U | purpose) {}

    float uniform();  ///< (0, 1)
    float uniform(float low, float high);
    float normal();                        ///< mean 0, variance 1
    float normal(float limit);             ///< redrawn until within +-limit
    std::size_t below(std::size_t count);  ///< 0 ... count - 1
    bool chance(float probability) { return uniform() < probability; }

private:
    std::uint64_t seed_, stream_, drawn_ = 0;
    moden::random_words words_{};
};

identity random_identity(std::uint64_t seed, std::uint64_t index);

/// One or two basic expressions with random intensities (one face in six is neutral), random gaze, now and then a
/// blink.
expression random_expression(std::uint64_t seed, std::uint64_t index);

/// Ambient light with a sky-to-ground gradient and one or two lamps, mildly coloured; exposure keeps skin in range.
light random_light(std::uint64_t seed, std::uint64_t index);

/// Yaw normal with 22 degrees (limit 60), pitch 8 (22), roll 5 (15).
pose random_pose(std::uint64_t seed, std::uint64_t index);

camera random_camera(std::uint64_t seed, std::uint64_t index);
background random_background(std::uint64_t seed, std::uint64_t index);

/// All of the above together.
face_parameters random_face(std::uint64_t seed, std::uint64_t index);

}  // namespace faces
