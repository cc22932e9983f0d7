#pragma once

// Errors: one base class, one class per cause, and the helper that composes messages only when something is wrong.

#include <cstddef>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

namespace moden {

/// Base of everything moden throws on purpose. Catch this to catch all of them.
class error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// Extents that do not fit together, an order that does not match, an empty tensor where data is needed.
class shape_error : public error {
public:
    using error::error;
};

/// A value outside its documented range: a rank of zero, a negative tolerance, NaN in data that is to be decomposed.
class argument_error : public error {
public:
    using error::error;
};

/// A file that cannot be read or written, or that is not what its name promises.
class io_error : public error {
public:
    using error::error;
};

/// A numerical routine that reported failure (LAPACK, cuSOLVER), for example a matrix that is not positive definite.
class solver_error : public error {
public:
    using error::error;
};

/// A device or its driver that reported failure: no GPU, out of device memory, a failed kernel.
class device_error : public error {
public:
    using error::error;
};

namespace detail {

inline void append(std::string& text, std::string_view part) { text += part; }
inline void append(std::string& text, char part) { text += part; }

template <class Number>
    requires std::is_arithmetic_v<Number>
void append(std::string& text, Number part) {
    if constexpr (std::is_floating_point_v<Number>) {
        char digits[32];  // six of them, whatever the size; to_string would print 1e-8 as 0.000000
        std::snprintf(digits, sizeof digits, "%.6g", static_cast<double>(part));
        text += digits;
    } else {
        text += std::to_string(part);
    }
}

/// Lists print as "2 x 3 x 4", the way shapes are written in the documentation.
template <class Range>
    requires requires(const Range& range) { range.begin(); *range.begin(); }
             && (!std::is_convertible_v<const Range&, std::string_view>)
void append(std::string& text, const Range& part) {
    const char* separator = "";
    for (const auto& element : part) {
        append(text, std::string_view(separator));
        append(text, element);
        separator = " x ";
    }
}

/// Joins strings, numbers and shapes into one message.
template <class... Parts>
std::string message(const Parts&... parts) {
    std::string text;
    (append(text, parts), ...);
    return text;
}

/// Throws Error with the joined parts unless the condition holds. In every build type.
template <class Error, class... Parts>
void require(bool condition, const Parts&... parts) {
    if (!condition) [[unlikely]] {
        throw Error(message(parts...));
    }
}

}  // namespace detail
}  // namespace moden
