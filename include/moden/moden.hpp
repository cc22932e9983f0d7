#pragma once

// Everything that runs on the CPU. Includes neither CUDA nor xtensor-blas nor JSON; moden/io.hpp is included beside it,
// moden/cuda.hpp adds the CUDA policy.

#include <moden/clustering/cosine_distance.hpp>
#include <moden/clustering/spherical_k_means.hpp>
#include <moden/clustering/ward_linkage.hpp>
#include <moden/core/error.hpp>
#include <moden/core/random.hpp>
#include <moden/core/status.hpp>
#include <moden/core/tensor.hpp>
#include <moden/editing/direction_algebra.hpp>
#include <moden/editing/line_intersection.hpp>
#include <moden/editing/linear_boundary.hpp>
#include <moden/editing/linear_directions.hpp>
#include <moden/editing/parameter_estimation.hpp>
#include <moden/editing/path_length.hpp>
#include <moden/editing/semantic_directions.hpp>
#include <moden/editing/stacked_model.hpp>
#include <moden/editing/tensor_model.hpp>
#include <moden/linalg/decompositions.hpp>
#include <moden/linalg/low_rank.hpp>
#include <moden/loss/multilinear_loss.hpp>
#include <moden/maps/check_derivatives.hpp>
#include <moden/maps/differentiable_map.hpp>
#include <moden/maps/masked_map.hpp>
#include <moden/multilinear/complete.hpp>
#include <moden/multilinear/cp.hpp>
#include <moden/multilinear/hooi.hpp>
#include <moden/multilinear/hosvd.hpp>
#include <moden/multilinear/mode_product.hpp>
#include <moden/multilinear/mttkrp.hpp>
#include <moden/multilinear/products.hpp>
#include <moden/multilinear/tucker.hpp>
#include <moden/multilinear/unfold.hpp>
#include <moden/nrsfm/cameras.hpp>
#include <moden/nrsfm/rigid_factorization.hpp>
#include <moden/optimize/adam.hpp>
#include <moden/policy/cpu.hpp>
#include <moden/regression/accumulators.hpp>
#include <moden/regression/correlation.hpp>
#include <moden/regression/decorrelation_loss.hpp>
#include <moden/regression/differences.hpp>
#include <moden/regression/least_squares.hpp>
#include <moden/regression/options.hpp>
#include <moden/sparse/component_report.hpp>
#include <moden/sparse/localized_dictionary.hpp>
