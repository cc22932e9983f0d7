#pragma once

// What the data matrices of a multilinear fit are made of: which core, and which factor in each of its modes.

#include <cstddef>
#include <vector>

#include <moden/core/error.hpp>
#include <moden/core/extents.hpp>

namespace moden {

/// Stands for a factor that is 1 / k_i everywhere, as that of light in the normals of 002 Eq. 5.
inline constexpr std::size_t constant_factor = static_cast<std::size_t>(-1);

/// One data matrix of a fit, X ~ B_(0) (Z_a kr Z_b kr ...). Terms may share cores and factors.
struct multilinear_term {
    std::size_t core = 0;                   ///< number of the core
    std::vector<std::size_t> factors = {};  ///< number of the factor in each of its modes but the first, or constant_factor
    double weight = 1;                      ///< of |X - X^|^2; positive
};

/// Weights of the squares of cores and factors, at least 0.
struct multilinear_ridge {
    double of_cores = 0;    ///< keeps small what no sample has shown; needed where factors of different samples are to be combined
    double of_factors = 0;  ///< keeps factors from growing while cores shrink
};

namespace detail {

/// Shapes of the cores that data of `rows` and factors of `ranks` rows ask for.
/// \throws argument_error if a term names no factor or one that is not there, one twice, or terms that share a core disagree
inline std::vector<extents> core_shapes(const std::vector<multilinear_term>& terms, const extents& rows, const extents& ranks, const char* function) {
    require<argument_error>(terms.size() == rows.size() && !terms.empty(), function, ": ", terms.size(), " terms for ", rows.size(), " data matrices");
    std::size_t cores = 0;
    for (const multilinear_term& term : terms) {
        require<argument_error>(term.core < terms.size(), function, ": core ", term.core, " of ", terms.size(), " terms (expected numbers from 0)");
        cores = term.core + 1 > cores ? term.core + 1 : cores;
    }
    std::vector<extents> shapes(cores);
    std::vector<bool> used(ranks.size(), false);
    for (std::size_t t = 0; t < terms.size(); ++t) {
        const multilinear_term& term = terms[t];
        extents& shape = shapes[term.core];
        require<argument_error>(!term.factors.empty(), function, ": term ", t, " has no factors");
        require<argument_error>(term.weight > 0 && term.weight < 1e30, function, ": weight ", term.weight, " of term ", t, " (expected a positive number)");
        if (shape.empty()) {
            shape.assign(term.factors.size() + 1, 0);
            shape[0] = rows[t];
        }
        require<argument_error>(shape.size() == term.factors.size() + 1, function, ": term ", t, " has ", term.factors.size(), " factors, another one with core ",
                                term.core, " has ", shape.size() - 1);
        require<argument_error>(shape[0] == rows[t], function, ": data ", t, " have ", rows[t], " rows, others with core ", term.core, " have ", shape[0]);
        std::vector<bool> named(ranks.size(), false);
        for (std::size_t m = 0; m < term.factors.size(); ++m) {
            const std::size_t f = term.factors[m];
            if (f == constant_factor) {
                continue;
            }
            require<argument_error>(f < ranks.size(), function, ": term ", t, " names factor ", f, " of ", ranks.size());
            require<argument_error>(!named[f], function, ": term ", t, " names factor ", f, " twice");
            named[f] = used[f] = true;
            for (std::size_t other = 0; other < terms.size(); ++other) {
                const bool same = terms[other].core != term.core || m >= terms[other].factors.size() || terms[other].factors[m] == f ||
                                  terms[other].factors[m] == constant_factor;
                require<argument_error>(same, function, ": terms ", t, " and ", other, " share core ", term.core, " but have different factors in mode ", m + 1);
            }
            shape[m + 1] = ranks[f];
        }
    }
    for (std::size_t c = 0; c < cores; ++c) {
        require<argument_error>(!shapes[c].empty(), function, ": no term has core ", c);
        for (std::size_t m = 1; m < shapes[c].size(); ++m) {
            require<argument_error>(shapes[c][m] > 0, function, ": all terms with core ", c, " have a constant in mode ", m, " (expected a factor in one of them)");
        }
    }
    for (std::size_t f = 0; f < ranks.size(); ++f) {
        require<argument_error>(ranks[f] > 0, function, ": factor ", f, " of 0 rows");
        require<argument_error>(used[f], function, ": no term has factor ", f);
    }
    return shapes;
}

}  // namespace detail
}  // namespace moden
