#pragma once

// A StyleGAN2 generator: weights, latent spaces, pictures, derivatives, inversion; a regressor that measures pictures. Link
// moden::stylegan2.

#include <moden/stylegan2/architecture.hpp>
#include <moden/stylegan2/generator.hpp>
#include <moden/stylegan2/generator_map.hpp>
#include <moden/stylegan2/image_regressor.hpp>
#include <moden/stylegan2/inversion_start.hpp>
#include <moden/stylegan2/invert.hpp>
#include <moden/stylegan2/latents.hpp>
#include <moden/stylegan2/synthesis.hpp>
