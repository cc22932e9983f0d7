#pragma once

// What a policy is: a type that has opted in, a memory space, and the primitives of docs/design.md as member functions.
//
// An algorithm calls the primitives it needs and nothing else; a primitive that a policy lacks is a compile error at
// the call. Every primitive is const: a policy is a handle to an execution resource, and using it does not change it.

#include <cstddef>
#include <type_traits>

namespace moden {

/// Opt-in: specialise to true for a type that is meant to be a policy.
template <class Policy>
inline constexpr bool enable_execution_policy = false;

/// A type that says where to compute.
template <class Policy>
concept execution_policy = enable_execution_policy<std::remove_cvref_t<Policy>> && requires {
    typename std::remove_cvref_t<Policy>::memory_space;
};

/// Stands for an order that is known at run time only.
inline constexpr std::size_t dynamic_order = static_cast<std::size_t>(-1);

/// Which side of a product a triangular matrix stands on.
enum class side { left, right };

/// Which half of a triangular matrix is read.
enum class triangle { lower, upper };

/// What a QR factorization is to leave behind.
enum class qr_output { q_and_r, r_only };

/// What a Cholesky factorization found out about its matrix.
enum class definiteness { positive_definite, not_positive_definite };

}  // namespace moden
