#pragma once

// Names for the modes of a structured data set and for their levels, and what parameters count.

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <moden/core/error.hpp>
#include <moden/core/extents.hpp>

namespace moden {

/// A factor of variation of a data set: its name and what each index of its mode stands for.
struct factor_mode {
    std::string name;                 ///< "expression"
    std::vector<std::string> levels;  ///< "happiness", "disgust", ...; one per index

    friend bool operator==(const factor_mode&, const factor_mode&) = default;
};

/// What the entries of a parameter vector stand for.
enum class parameter_basis {
    canonical,  ///< levels of the mode: q' with I_k entries
    subspace    ///< columns of the mode's factor: q with R_k entries
};

/// A mode whose levels are "0", "1", ...
inline factor_mode numbered_mode(std::string name, std::size_t count) {
    factor_mode mode{std::move(name), {}};
    for (std::size_t i = 0; i < count; ++i) {
        mode.levels.push_back(std::to_string(i));
    }
    return mode;
}

namespace detail {

/// "happiness, disgust, fear"; long lists end in "...".
inline std::string joined(const std::vector<std::string>& names) {
    constexpr std::size_t most = 12;
    std::string text;
    for (std::size_t i = 0; i < std::min(names.size(), most); ++i) {
        text += i == 0 ? "" : ", ";
        text += names[i];
    }
    return names.size() > most ? text + ", ..." : text;
}

inline std::string names_of(const std::vector<factor_mode>& modes) {
    std::vector<std::string> names;
    for (const factor_mode& mode : modes) {
        names.push_back(mode.name);
    }
    return joined(names);
}

/// Checks names against extents: one named mode per factor extent, one distinct name per level.
inline void check_factor_modes(const std::vector<factor_mode>& modes, const extents& factor_extents, const char* function) {
    require<shape_error>(modes.size() == factor_extents.size(), function, ": ", modes.size(), " named modes (",
                         names_of(modes), ") for ", factor_extents.size(), " factor modes of ", factor_extents);
    for (std::size_t k = 0; k < modes.size(); ++k) {
        const factor_mode& mode = modes[k];
        require<argument_error>(!mode.name.empty(), function, ": mode ", k + 1, " has no name");
        for (std::size_t j = 0; j < k; ++j) {
            require<argument_error>(modes[j].name != mode.name, function, ": modes ", j + 1, " and ", k + 1, " are both named '",
                                    mode.name, "'");
        }
        require<shape_error>(mode.levels.size() == factor_extents[k], function, ": mode '", mode.name, "' has ",
                             mode.levels.size(), " levels (", joined(mode.levels), ") for an extent of ", factor_extents[k]);
        std::vector<std::string> sorted = mode.levels;
        std::sort(sorted.begin(), sorted.end());
        const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
        require<argument_error>(twice == sorted.end(), function, ": mode '", mode.name, "' has two levels named '",
                                twice == sorted.end() ? std::string() : *twice, "'");
    }
}

}  // namespace detail

/// Position of a mode by its name, counted from 0 for the first factor mode.
/// \throws argument_error that lists the names there are
inline std::size_t index_of_mode(const std::vector<factor_mode>& modes, std::string_view name) {
    for (std::size_t k = 0; k < modes.size(); ++k) {
        if (modes[k].name == name) {
            return k;
        }
    }
    throw argument_error(detail::message("no mode is named '", name, "' (there are: ", detail::names_of(modes), ")"));
}

/// Index of a level by its name.
/// \throws argument_error that lists the names there are
inline std::size_t index_of_level(const factor_mode& mode, std::string_view level) {
    for (std::size_t i = 0; i < mode.levels.size(); ++i) {
        if (mode.levels[i] == level) {
            return i;
        }
    }
    throw argument_error(detail::message("mode '", mode.name, "' has no level named '", level,
                                         "' (there are: ", detail::joined(mode.levels), ")"));
}

}  // namespace moden
