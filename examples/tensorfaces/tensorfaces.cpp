// tensorfaces: factorises an ensemble of face pictures and shows what the factors are good for.
//
// After Vasilescu & Terzopoulos 2002; 001 Eq. 3.10. The calls of the library are in model.hpp.

#include <moden/io/png.hpp>
#include <moden/moden.hpp>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "../common/output_folder.hpp"
#include "../common/program.hpp"
#include "ensemble.hpp"
#include "factor_pictures.hpp"
#include "model.hpp"
#include "settings.hpp"
#include "swapping.hpp"

namespace tensorfaces {
namespace {

/// Seconds since the last time it was asked.
class stopwatch {
public:
    double lap() {
        const auto now = std::chrono::steady_clock::now();
        return std::chrono::duration<double>(now - std::exchange(last_, now)).count();
    }

private:
    std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

/// Ranks of the model: as asked, or everything but the weakest pixel dimensions.
moden::extents model_ranks(const ensemble& e, const settings& wanted) {
    const moden::extents shape(e.training.shape().begin(), e.training.shape().end());
    const std::size_t pictures = shape[0] * shape[1] * shape[2] * shape[3];
    if (wanted.ranks.empty()) {
        return {shape[0], shape[1], shape[2], shape[3], std::min({shape[4], pictures, std::size_t{300}})};
    }
    for (std::size_t n = 0; n < 5; ++n) {
        moden::detail::require<examples::usage_error>(wanted.ranks[n] >= 1 && wanted.ranks[n] <= shape[n],
                                                      "--ranks: ", wanted.ranks[n], " for ", mode_names[n],
                                                      " (expected 1 to ", shape[n], ")");
    }
    return wanted.ranks;
}

void print_model(const ensemble& e, const face_model& model) {
    std::printf("ensemble        %s (people x views x lights x expressions x pixels)\n",
                moden::detail::message(e.training.shape()).c_str());
    std::printf("model           %s\n", moden::detail::message(model.tucker.core.shape()).c_str());
    std::printf("relative error  %.4f   bound of Eq. 3.9: %.4f\n\n", model.tucker.relative_error,
                model.tucker.error_bound);
}

void print_ladder(const std::vector<truncation_step>& ladder) {
    std::printf("all modes truncated together\n");
    std::printf("  people   views  lights  expressions  pixels   stored    error    bound of Eq. 3.9\n");
    for (const truncation_step& step : ladder) {
        std::printf("  %6zu  %6zu  %6zu  %11zu  %6zu  %6.2f %%  %7.4f  %7.4f\n", step.ranks[0], step.ranks[1],
                    step.ranks[2], step.ranks[3], step.ranks[4], 100 * step.stored, step.error, step.bound);
    }
}

void print_swaps(const swap_errors& errors) {
    std::printf("\nexchanged factors, pictures of the ensemble\n  factor            relative error\n");
    for (std::size_t i = 0; i < 5; ++i) {
        std::printf("  %-16s  %.4f\n", i < 4 ? factor_names[i] : "all but person", errors[i]);
    }
}

void print_unseen(const unseen_errors& errors, const ensemble& e) {
    constexpr std::array<const char*, 5> what{"given picture", "another view", "another light", "another expression",
                                              "all others"};
    std::printf("\n%zu persons that the model has never seen, each known from one picture (mean over %zu)\n",
                e.unseen.shape()[0], errors.given);
    std::printf("  relative error       model    limit   nearest person   mean person\n");
    for (std::size_t i = 0; i < 5; ++i) {
        std::printf("  %-18s  %.4f   %.4f           %.4f        %.4f\n", what[i], errors.model[i], errors.limit[i],
                    errors.nearest[i], errors.mean_person[i]);
    }
    std::printf("  recognised: view %zu, light %zu, expression %zu of %zu\n", errors.recognised[1],
                errors.recognised[2], errors.recognised[3], errors.given);
    std::printf(
        "  limit: coordinates fitted to all pictures of the person; nearest, mean: training persons in the same "
        "condition\n");
}

void run(command_line& line, settings& wanted) {
    line.finish();
    const examples::output_folder out(wanted.out);
    stopwatch watch;
    const ensemble e = wanted.input.empty() ? render_ensemble(wanted) : load_ensemble(wanted);
    const double input_time = watch.lap();
    const moden::extents ranks = model_ranks(e, wanted);

    const face_model model = factorise(e, ranks);
    const double model_time = watch.lap();

    std::vector<std::pair<const char*, examples::canvas>> pictures;
    pictures.emplace_back("ensemble.png", draw_ensemble(e));
    pictures.emplace_back("eigenpictures.png", draw_eigenpictures(e, model));
    pictures.emplace_back("tensorfaces.png", draw_tensorfaces(e, model));
    const auto ladder = truncation_ladder(e, model);
    pictures.emplace_back("error_by_rank.png", draw_error_by_rank(e, model, ladder));
    pictures.emplace_back("pictures_by_rank.png", draw_pictures_by_rank(e, ladder));
    swap_errors swaps{};
    pictures.emplace_back("swapped_factors.png", draw_swaps(e, model, swaps));
    unseen_errors unseen;
    const bool has_unseen = e.unseen.shape()[0] > 0;
    if (has_unseen) {
        unseen = evaluate_unseen(e, model);
        pictures.emplace_back("unseen_person.png", draw_unseen(e, model));
    }
    const auto is_result = [](const std::string& name) { return name == "unseen_person.png"; };
    out.publish(
        [&](const std::filesystem::path& folder) {
            for (const auto& [name, picture] : pictures) {
                moden::io::write_png(folder / name, picture.bytes());
            }
        },
        is_result);
    const double picture_time = watch.lap();

    print_model(e, model);
    print_ladder(ladder);
    print_swaps(swaps);
    if (has_unseen) {
        print_unseen(unseen, e);
    }
    std::printf("\ntime            %.1f s (%s %.1f, factorise %.1f, pictures %.1f)\n",
                input_time + model_time + picture_time, wanted.input.empty() ? "render" : "read", input_time,
                model_time, picture_time);
    std::printf("pictures in     %s:", wanted.out.c_str());
    for (const auto& entry : pictures) {
        std::printf(" %s", entry.first);
    }
    std::printf("\n");
}

}  // namespace
}  // namespace tensorfaces

int main(int argc, char** argv) {
    tensorfaces::settings wanted;
    tensorfaces::command_line line(wanted);
    return examples::run_program(line.app(), argc, argv, [&] { tensorfaces::run(line, wanted); });
}
