#pragma once

// Numbers that carry derivatives along: forward-mode automatic differentiation.

#include <cmath>
#include <cstddef>

#include <moden/core/macros.hpp>

namespace moden {

/// A number with its derivatives in N directions, a + b_0 e_0 + ... + b_{N-1} e_{N-1} with e_i e_j = 0.
///
/// Code that is written over a scalar type computes derivatives when it is given these: each operation follows the chain rule.
/// Mathematical functions are found without a namespace (`using std::exp; exp(x)` works for numbers and duals). Comparisons look
/// at the value alone, so branches are those of the value; where a function has a kink the derivative is that of one side
/// (abs(0) has the derivative 0).
///
/// Source: Griewank & Walther 2008, Ch. 3; 001 Eq. 6.27 (the derivative of a value along a line).
/// \snippet tests/spectral/maps.cpp dual
template <class T, std::size_t N = 1>
struct dual {
    T value = T(0);
    T slope[N] = {};

    dual() = default;
    MODEN_HOST_DEVICE dual(T number) : value(number) {}  // NOLINT: numbers are duals without a derivative

    MODEN_HOST_DEVICE dual& operator+=(const dual& b) {
        value += b.value;
        for (std::size_t i = 0; i < N; ++i) {
            slope[i] += b.slope[i];
        }
        return *this;
    }
    MODEN_HOST_DEVICE dual& operator-=(const dual& b) {
        value -= b.value;
        for (std::size_t i = 0; i < N; ++i) {
            slope[i] -= b.slope[i];
        }
        return *this;
    }
    MODEN_HOST_DEVICE dual& operator*=(const dual& b) {
        for (std::size_t i = 0; i < N; ++i) {
            slope[i] = slope[i] * b.value + value * b.slope[i];
        }
        value *= b.value;
        return *this;
    }
    MODEN_HOST_DEVICE dual& operator/=(const dual& b) {
        value /= b.value;
        for (std::size_t i = 0; i < N; ++i) {
            slope[i] = (slope[i] - value * b.slope[i]) / b.value;
        }
        return *this;
    }

    // Friends that are no templates, so that a number on either side becomes a dual.
    friend MODEN_HOST_DEVICE dual operator+(dual a, const dual& b) { return a += b; }
    friend MODEN_HOST_DEVICE dual operator-(dual a, const dual& b) { return a -= b; }
    friend MODEN_HOST_DEVICE dual operator*(dual a, const dual& b) { return a *= b; }
    friend MODEN_HOST_DEVICE dual operator/(dual a, const dual& b) { return a /= b; }
    friend MODEN_HOST_DEVICE dual operator+(const dual& a) { return a; }
    friend MODEN_HOST_DEVICE dual operator-(const dual& a) { return chain(a, -a.value, T(-1)); }

    friend MODEN_HOST_DEVICE bool operator<(const dual& a, const dual& b) { return a.value < b.value; }
    friend MODEN_HOST_DEVICE bool operator>(const dual& a, const dual& b) { return a.value > b.value; }
    friend MODEN_HOST_DEVICE bool operator<=(const dual& a, const dual& b) { return a.value <= b.value; }
    friend MODEN_HOST_DEVICE bool operator>=(const dual& a, const dual& b) { return a.value >= b.value; }
    friend MODEN_HOST_DEVICE bool operator==(const dual& a, const dual& b) { return a.value == b.value; }

    friend MODEN_HOST_DEVICE dual abs(const dual& a) { return chain(a, std::fabs(a.value), a.value > T(0) ? T(1) : a.value < T(0) ? T(-1) : T(0)); }
    friend MODEN_HOST_DEVICE dual sqrt(const dual& a) {
        const T root = std::sqrt(a.value);
        return chain(a, root, T(0.5) / root);
    }
    friend MODEN_HOST_DEVICE dual exp(const dual& a) {
        const T power = std::exp(a.value);
        return chain(a, power, power);
    }
    friend MODEN_HOST_DEVICE dual log(const dual& a) { return chain(a, std::log(a.value), T(1) / a.value); }
    friend MODEN_HOST_DEVICE dual sin(const dual& a) { return chain(a, std::sin(a.value), std::cos(a.value)); }
    friend MODEN_HOST_DEVICE dual cos(const dual& a) { return chain(a, std::cos(a.value), -std::sin(a.value)); }
    friend MODEN_HOST_DEVICE dual tan(const dual& a) {
        const T tangent = std::tan(a.value);
        return chain(a, tangent, T(1) + tangent * tangent);
    }
    friend MODEN_HOST_DEVICE dual atan(const dual& a) { return chain(a, std::atan(a.value), T(1) / (T(1) + a.value * a.value)); }
    friend MODEN_HOST_DEVICE dual tanh(const dual& a) {
        const T tangent = std::tanh(a.value);
        return chain(a, tangent, T(1) - tangent * tangent);
    }
    friend MODEN_HOST_DEVICE dual pow(const dual& a, T exponent) {
        return chain(a, std::pow(a.value, exponent), exponent == T(0) ? T(0) : exponent * std::pow(a.value, exponent - T(1)));
    }
    /// Of a base that is not positive the derivative by the exponent does not exist; it is asked for only where the exponent changes.
    friend MODEN_HOST_DEVICE dual pow(const dual& a, const dual& b) {
        dual result = pow(a, b.value);
        const T by_exponent = result.value == T(0) ? T(0) : result.value * std::log(a.value);
        for (std::size_t i = 0; i < N; ++i) {
            if (b.slope[i] != T(0)) {
                result.slope[i] += by_exponent * b.slope[i];
            }
        }
        return result;
    }
    friend MODEN_HOST_DEVICE dual atan2(const dual& y, const dual& x) {
        const T square = x.value * x.value + y.value * y.value;
        dual result(std::atan2(y.value, x.value));
        for (std::size_t i = 0; i < N; ++i) {
            result.slope[i] = (x.value * y.slope[i] - y.value * x.slope[i]) / square;
        }
        return result;
    }

private:
    /// f(a) given f and its derivative at the value.
    static MODEN_HOST_DEVICE dual chain(const dual& a, T value, T derivative) {
        dual result(value);
        for (std::size_t i = 0; i < N; ++i) {
            result.slope[i] = derivative * a.slope[i];
        }
        return result;
    }
};

}  // namespace moden
