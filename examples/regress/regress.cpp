// regress: linear regression of the columns of one NPY file on those of another, of any length, from the command line.

#include <CLI/CLI.hpp>
#include <moden/io/npy.hpp>
#include <moden/io/png.hpp>
#include <moden/moden.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "../common/output_folder.hpp"
#include "../common/plot.hpp"
#include "../common/program.hpp"

namespace regress {
namespace {

struct settings {
    std::string x, y, out;
    double ridge = 0;
    bool intercept = false, differences = false, in_double = false;
    std::size_t pairs = 0;  ///< 0: twenty times as many as there are columns, at least as many as samples
    std::size_t seed = 0;
};

template <class T>
using matrix = moden::tensor<T, 2>;
template <class T>
using regression = moden::linear_regression<matrix<T>>;

/// A file of samples: rows, of one entry where the array has one axis.
class sample_file {
public:
    sample_file(const std::string& path, const char* option) : file_(path, option) {
        const moden::extents& shape = file_.shape();
        moden::detail::require<examples::usage_error>((shape.size() == 1 || shape.size() == 2) && file_.size() > 0, option, " '", path, "': an array of ",
                                                      shape, " (expected N x columns)");
    }

    std::size_t rows() const { return file_.shape()[0]; }
    std::size_t columns() const { return file_.shape().size() == 1 ? 1 : file_.shape()[1]; }

    template <class T>
    matrix<T> read(std::size_t first, std::size_t count) const {
        auto result = matrix<T>::from_shape({count, columns()});
        file_.read_rows<T>(first, count, std::span<T>(result.data(), result.size()));
        return result;
    }

private:
    moden::io::npy_file file_;
};

/// function(first row, X, Y) for one batch after the other.
template <class T, class Function>
void for_each_batch(const sample_file& x, const sample_file& y, Function function) {
    constexpr std::size_t budget = std::size_t{64} << 20;  // bytes
    const std::size_t at_once = std::clamp<std::size_t>(budget / ((x.columns() + y.columns()) * sizeof(T)), 1, x.rows());
    for (std::size_t first = 0; first < x.rows(); first += at_once) {
        const std::size_t count = std::min(at_once, x.rows() - first);
        function(first, x.read<T>(first, count), y.read<T>(first, count));
    }
}

/// Of all samples, by normal equations, or by QR if those would lose too many digits.
template <class T>
regression<T> of_samples(const moden::cpu_policy& cpu, const sample_file& x, const sample_file& y, const settings& wanted) {
    const moden::least_squares_options options{
        .ridge = wanted.ridge, .intercept = wanted.intercept ? moden::intercept_term::fitted : moden::intercept_term::none};
    moden::gram_accumulator<moden::cpu_policy, T> sums(cpu, x.columns(), y.columns());
    for_each_batch<T>(x, y, [&](std::size_t, const matrix<T>& some_x, const matrix<T>& some_y) { sums.add(some_x, some_y); });
    try {
        auto found = sums.solve(options);
        if (found.status == moden::regression_status::accurate) {
            return found;
        }
    } catch (const moden::argument_error&) {
        // QR can do more; if it cannot either, it says why.
    }
    moden::qr_accumulator<moden::cpu_policy, T> triangle(cpu, x.columns(), y.columns());
    for_each_batch<T>(x, y, [&](std::size_t, const matrix<T>& some_x, const matrix<T>& some_y) { triangle.add(some_x, some_y); });
    return triangle.solve(options);
}

/// Of differences of random pairs (000 Eqs. 2, 3), with the intercept that makes residuals of samples add up to zero.
template <class T>
regression<T> of_differences(const moden::cpu_policy& cpu, const sample_file& x, const sample_file& y, const settings& wanted) {
    const std::size_t count = wanted.pairs > 0 ? wanted.pairs : std::max(x.rows(), 20 * x.columns());
    const auto codes = x.read<T>(0, x.rows());
    const auto attributes = y.read<T>(0, y.rows());
    auto found = moden::difference_regression(cpu, codes, attributes, moden::random_pairs(x.rows(), count, wanted.seed), {.ridge = wanted.ridge});
    const auto made = moden::predict(cpu, found, codes);
    for (std::size_t k = 0; k < y.columns(); ++k) {
        double sum = 0;
        for (std::size_t i = 0; i < y.rows(); ++i) {
            sum += static_cast<double>(attributes(i, k)) - static_cast<double>(made(i, k));
        }
        found.intercept(0, k) = static_cast<T>(sum / static_cast<double>(y.rows()));
    }
    return found;
}

/// What a fit says about all samples.
template <class T>
struct comparison {
    matrix<T> truth, fitted, residuals;  ///< N x t
    std::vector<double> determination;   ///< R2 per target
};

template <class T>
comparison<T> compare(const moden::cpu_policy& cpu, const sample_file& x, const sample_file& y, const regression<T>& fit) {
    comparison<T> result{y.read<T>(0, y.rows()), matrix<T>::from_shape({y.rows(), y.columns()}), {}, {}};
    for_each_batch<T>(x, y, [&](std::size_t first, const matrix<T>& some_x, const matrix<T>&) {
        const auto made = moden::predict(cpu, fit, some_x);
        std::copy(made.begin(), made.end(), result.fitted.data() + first * y.columns());
    });
    result.residuals = result.truth - result.fitted;
    result.determination = moden::coefficient_of_determination(cpu, result.truth, result.fitted);
    return result;
}

template <class T>
examples::canvas draw_fit(const comparison<T>& compared) {
    constexpr std::size_t most = 6, across = 3, shown = 600;
    const std::size_t count = std::min(most, compared.truth.shape()[1]), stride = (compared.truth.shape()[0] + shown - 1) / shown;
    const std::size_t columns = std::min(count, across), rows = (count + across - 1) / across;
    examples::canvas result(360 * rows, 360 * columns);
    for (std::size_t k = 0; k < count; ++k) {
        std::vector<double> truth, fitted;
        for (std::size_t i = 0; i < compared.truth.shape()[0]; i += stride) {
            truth.push_back(compared.truth(i, k));
            fitted.push_back(compared.fitted(i, k));
        }
        const auto [least, most_of_truth] = std::minmax_element(truth.begin(), truth.end());
        char note[64];
        std::snprintf(note, sizeof note, "R2 %.4f", compared.determination[k]);
        const examples::plot plot{.title = "Target " + std::to_string(k), .note = note, .x = {.label = "truth"}, .y = {.label = "fit"},
                                  .lines = {{.x = {*least, *most_of_truth}, .y = {*least, *most_of_truth}, .line = examples::stroke::dashed, .thickness = 1},
                                            {.x = truth, .y = fitted, .paint = examples::palette[0], .points = examples::marks::discs, .thickness = 0}}};
        examples::draw(result, {360.0 * static_cast<double>(k % across), 360.0 * static_cast<double>(k / across), 360, 360}, plot);
    }
    return result;
}

bool is_result(const std::string& name) {
    return name == "coefficients.npy" || name == "intercept.npy" || name == "residuals.npy" || name == "fit.png";
}

template <class T>
void process(const sample_file& x, const sample_file& y, const settings& wanted, const examples::output_folder& out) {
    const auto start = std::chrono::steady_clock::now();
    const moden::cpu_policy cpu;
    const regression<T> fit = wanted.differences ? of_differences<T>(cpu, x, y, wanted) : of_samples<T>(cpu, x, y, wanted);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const comparison<T> compared = compare(cpu, x, y, fit);
    const examples::canvas picture = draw_fit(compared);
    const bool has_intercept = wanted.intercept || wanted.differences;
    out.publish(
        [&](const std::filesystem::path& folder) {
            moden::io::save_npy(folder / "coefficients.npy", fit.coefficients);
            moden::io::save_npy(folder / "residuals.npy", compared.residuals);
            if (has_intercept) {
                moden::io::save_npy(folder / "intercept.npy", fit.intercept);
            }
            moden::io::write_png(folder / "fit.png", picture.bytes());
        },
        is_result);
    std::printf("samples      %zu of %zu columns, %zu targets, in %s\n", x.rows(), x.columns(), y.columns(), sizeof(T) == 4 ? "float" : "double");
    std::printf("fit          %s by %s, condition number %.3g%s, %.3f s\n", wanted.differences ? "differences of pairs" : "all samples",
                fit.route == moden::regression_route::qr ? "QR" : "normal equations", fit.condition,
                fit.status == moden::regression_status::accurate ? "" : " (more than half of the digits may be lost)", seconds);
    std::printf("\ntarget          R2  residual, rms\n");
    for (std::size_t k = 0; k < y.columns(); ++k) {
        double sum = 0;
        for (std::size_t i = 0; i < x.rows(); ++i) {
            sum += std::pow(static_cast<double>(compared.residuals(i, k)), 2);
        }
        std::printf("%6zu  %10.6f  %13.6g\n", k, compared.determination[k], std::sqrt(sum / static_cast<double>(x.rows())));
    }
    std::printf("\nwritten      coefficients%s, residuals (npy), fit.png in %s\n", has_intercept ? ", intercept" : "", wanted.out.c_str());
}

void run(const settings& wanted) {
    using moden::detail::require;
    const examples::output_folder out(wanted.out);
    const sample_file x(wanted.x, "--x"), y(wanted.y, "--y");
    require<examples::usage_error>(x.rows() == y.rows(), "--y '", wanted.y, "' has ", y.rows(), " rows (expected ", x.rows(), " as --x)");
    out.keep_input(wanted.x, is_result);
    out.keep_input(wanted.y, is_result);
    wanted.in_double ? process<double>(x, y, wanted, out) : process<float>(x, y, wanted, out);
}

}  // namespace
}  // namespace regress

int main(int argc, char** argv) {
    using namespace regress;
    settings wanted;
    CLI::App app("Linear regression of targets on the columns of X, for any number of samples: files are read a batch at a time.\n", "regress");
    app.add_option("--x", wanted.x, "samples, N x d")->required()->type_name("X.npy");
    app.add_option("--y", wanted.y, "targets, N x t or N")->required()->type_name("Y.npy");
    app.add_option("--out", wanted.out, "folder for the results; created if needed")->required()->type_name("DIR");
    app.add_option("--ridge", wanted.ridge, "weight of the squared coefficients; default 0")->check(CLI::NonNegativeNumber.description(""))->type_name("L");
    auto* intercept = app.add_flag("--intercept", wanted.intercept, "fit a constant term, which the ridge leaves alone");
    auto* differences = app.add_flag("--differences", wanted.differences, "fit differences of random pairs of samples; X and Y are read whole")->excludes(intercept);
    app.add_option("--pairs", wanted.pairs, "how many; default 20 d or N, whichever is more")
        ->needs(differences)
        ->check(CLI::Range(std::size_t{1}, std::size_t{1} << 40).description(""))
        ->type_name("P");
    app.add_option("--seed", wanted.seed, "of the pairs; default 0")->needs(differences);
    app.add_flag("--double", wanted.in_double, "compute in double precision");
    app.footer("\nWrites coefficients.npy (d x t), residuals.npy (N x t), intercept.npy (1 x t; with --intercept or --differences) and fit.png.\n"
               "Every error is one line on stderr and exit code 2, and nothing is written.");
    return examples::run_program(app, argc, argv, [&] { run(wanted); });
}
