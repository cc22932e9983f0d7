// localized_components: directions that change small parts of a face, from a Jacobian as a localized sparse dictionary.

#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../common/dendrogram.hpp"
#include "../common/output_folder.hpp"
#include "drawings.hpp"
#include "jacobians.hpp"

namespace localized_components {
namespace {

/// What a Jacobian of the generator comes with.
struct generator_context {
    generator net;
    std::optional<regressor> measure;
    latent_space space;
    matrix face;  ///< 1 x w_dim
    std::vector<double> fit, scale;
};

bool is_result(const std::string& name) {
    return name == "U.npy" || name == "V.npy" || name == "objective.npy" || name == "jacobian.npy" || name == "directions.npy" ||
           name == "components.png" || name == "dendrogram.png";
}

double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

matrix edited_face(const moden::cpu_policy& cpu, const settings& wanted, const latent_space& space) {
    const std::size_t size = space.mean.size();
    auto face = matrix::from_shape({1, size});
    if (wanted.face.empty()) {
        std::copy(space.mean.begin(), space.mean.end(), face.begin());
        return face;
    }
    const auto given = moden::io::npy_file(wanted.face, "--face").load<float>();
    require<examples::usage_error>(given.size() == size, "--face '", wanted.face, "' has ", given.size(), " entries (expected ", size, ")");
    std::copy(given.begin(), given.end(), face.begin());
    require<examples::usage_error>(moden::detail::count_not_finite(cpu, face.data(), size) == 0, "--face '", wanted.face, "' holds NaN or infinity");
    return face;
}

/// Directions of --start as rows, P x d.
template <class T>
moden::tensor<T, 2> starting_directions(const settings& wanted, std::size_t size) {
    const moden::io::npy_file file(wanted.start, "--start");
    require<examples::usage_error>(file.shape().size() == 2 && file.shape()[0] == size && file.shape()[1] > 0, "--start '", wanted.start, "': an array of ",
                                   file.shape(), " (expected ", size, " x P)");
    const auto columns = file.load<T, 2>();
    const std::size_t count = columns.shape()[1];
    require<examples::usage_error>(!wanted.components || *wanted.components == count, "--components ", wanted.components.value_or(0), ", but --start '",
                                   wanted.start, "' has ", count, " columns");
    auto rows = moden::tensor<T, 2>::from_shape({count, size});
    for (std::size_t p = 0; p < count; ++p) {
        double square = 0;
        for (std::size_t i = 0; i < size; ++i) {
            rows(p, i) = columns(i, p);
            require<examples::usage_error>(std::isfinite(rows(p, i)), "--start '", wanted.start, "': column ", p, " holds NaN or infinity");
            square += static_cast<double>(rows(p, i)) * static_cast<double>(rows(p, i));
        }
        require<examples::usage_error>(square > 0, "--start '", wanted.start, "': column ", p, " is zero (expected a direction)");
    }
    return rows;
}

/// The generator with its Jacobian.
std::pair<std::unique_ptr<generator_context>, map_jacobian> jacobian_of_generator(const moden::cpu_policy& cpu, const settings& wanted) {
    auto net = stylegan2::load_generator<float>(cpu, wanted.weights);
    std::optional<regressor> measure;
    if (!wanted.measure.empty()) {
        measure.emplace(stylegan2::load_image_regressor<float>(cpu, wanted.measure));
        if (measure->resolution() != net.layout().resolution) {
            require<examples::usage_error>(wanted.source == jacobian_source::picture, "--measure '", wanted.measure, "' reads pictures of ",
                                           measure->resolution(), " x ", measure->resolution(), ", the generator makes ", net.layout().resolution,
                                           " x ", net.layout().resolution, " (--source picture needs no regressor)");
            measure.reset();
        }
    }
    require<examples::usage_error>(measure || wanted.source == jacobian_source::picture, "--source pairs and jvp need --measure");
    // Before the long part.
    const std::size_t size = net.layout().w_dim, count = wanted.components.value_or(64);
    if (!wanted.start.empty()) {
        starting_directions<float>(wanted, size);
    }
    require<examples::usage_error>(!wanted.start.empty() || count <= size, "--components ", count, " (expected at most w_dim = ", size, ")");
    auto space = sample_latent_space(cpu, net, wanted.samples, wanted.seed);
    auto face = edited_face(cpu, wanted, space);
    map_jacobian jacobian = wanted.source == jacobian_source::pairs  ? jacobian_of_pairs(cpu, net, *measure, space)
                            : wanted.source == jacobian_source::jvp ? jacobian_of_readings(cpu, net, *measure, space)
                                                                    : jacobian_of_picture(cpu, net, space);
    auto scale = balance(jacobian, wanted.depth_share);
    auto context = std::make_unique<generator_context>(
        generator_context{std::move(net), std::move(measure), std::move(space), std::move(face), jacobian.fit, std::move(scale)});
    return {std::move(context), std::move(jacobian)};
}

/// One's own Jacobian in the scalar type that is computed in.
template <class T>
moden::tensor<T, 2> own_jacobian(const settings& wanted) {
    const moden::io::npy_file file(wanted.jacobian, "--jacobian");
    require<examples::usage_error>(file.shape().size() == 2 && file.size() > 0, "--jacobian '", wanted.jacobian, "': an array of ", file.shape(),
                                   " (expected S x d)");
    if (!wanted.shape.empty()) {
        const moden::extents shape = shape_of(wanted.shape);
        require<examples::usage_error>(moden::element_count(shape) == file.shape()[0], "--shape ", wanted.shape, " has ", moden::element_count(shape),
                                       " elements, '", wanted.jacobian, "' has ", file.shape()[0], " rows");
    }
    return file.load<T, 2>();
}

template <class T>
moden::localized_dictionary_result<moden::tensor<T, 2>> factorise(const moden::cpu_policy& cpu, const settings& wanted, const moden::tensor<T, 2>& jacobian) {
    examples::progress_bar bar("factorising");
    moden::localized_dictionary_options options{.components = wanted.components.value_or(64),
                                                .sparsity = wanted.alpha(),
                                                .coherence = wanted.beta(),
                                                .method = wanted.solver,
                                                .tolerance = wanted.tolerance,
                                                .max_iterations = wanted.most_iterations(),
                                                .learning_rate = wanted.learning_rate,
                                                .seed = wanted.seed,
                                                .progress = [&](std::size_t iteration, double objective) {
                                                    return bar.update(iteration, wanted.most_iterations(), std::to_string(objective));
                                                }};
    if (wanted.start.empty()) {
        return moden::localized_dictionary(cpu, jacobian, options);
    }
    const auto directions = starting_directions<T>(wanted, jacobian.shape()[1]);
    const auto components = moden::sparse_components(cpu, jacobian, directions, {.sparsity = wanted.alpha()});
    options.components = 0;
    return moden::localized_dictionary(cpu, jacobian, components, directions, options);
}

const char* words_for(moden::iteration_status status) {
    return status == moden::iteration_status::converged ? "converged" : "iterations used up";
}

/// Numbers in lines of ten or so, indented like the values of the report.
void print_list(const std::vector<std::string>& words) {
    std::size_t width = 0;
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (width > 100) {
            std::printf("\n             ");
            width = 0;
        }
        std::printf("%s%s", words[i].c_str(), i + 1 < words.size() ? ", " : "\n");
        width += words[i].size() + 2;
    }
}

/// What is kept, in the order of the report and the pictures: largest components first.
struct kept_set {
    std::vector<std::size_t> indices;
    std::vector<std::size_t> clusters;  ///< numbered from the left of the dendrogram
    moden::cluster_tree tree;
};

template <class T>
kept_set choose(const moden::cpu_policy& cpu, const settings& wanted, const moden::localized_dictionary_result<moden::tensor<T, 2>>& found,
                const moden::component_report& report, double threshold) {
    kept_set kept{moden::discard_components(cpu, found.components, found.directions, threshold).indices, {}, {}};
    std::stable_sort(kept.indices.begin(), kept.indices.end(), [&](std::size_t a, std::size_t b) { return report.norms[a] > report.norms[b]; });
    if (kept.indices.empty()) {
        return kept;
    }
    const std::size_t size = found.directions.shape()[1];
    auto directions = moden::tensor<T, 2>::from_shape({kept.indices.size(), size});
    for (std::size_t k = 0; k < kept.indices.size(); ++k) {
        std::copy_n(found.directions.data() + kept.indices[k] * size, size, directions.data() + k * size);
    }
    kept.tree = moden::ward_linkage_of_distances(moden::absolute_cosine_distance(cpu, directions));
    kept.clusters = examples::clusters_from_the_left(kept.tree, moden::cut_into_clusters(kept.tree, std::min(wanted.clusters, kept.indices.size())));
    return kept;
}

template <class T>
std::vector<float> column_of(const moden::tensor<T, 2>& components, std::size_t p) {
    std::vector<float> column(components.shape()[0]);
    for (std::size_t s = 0; s < column.size(); ++s) {
        column[s] = static_cast<float>(components(s, p));
    }
    return column;
}

template <class T>
void process(const moden::cpu_policy& cpu, const settings& wanted, const examples::output_folder& out) {
    const auto start = std::chrono::steady_clock::now();
    std::unique_ptr<generator_context> context;
    moden::tensor<T, 2> jacobian;
    moden::extents shape;
    if (wanted.own()) {
        jacobian = own_jacobian<T>(wanted);
        shape = wanted.shape.empty() ? moden::extents{} : shape_of(wanted.shape);
    } else {
        auto [made, maps] = jacobian_of_generator(cpu, wanted);
        context = std::move(made);
        jacobian = moden::tensor<T, 2>(maps.values);
        shape = maps.shape;
    }
    const double reading_seconds = seconds_since(start);
    const auto middle = std::chrono::steady_clock::now();
    const auto found = factorise(cpu, wanted, jacobian);
    const double fitting_seconds = seconds_since(middle);

    const std::size_t rows = jacobian.shape()[0], size = jacobian.shape()[1], count = found.directions.shape()[0];
    const double threshold = wanted.discard.value_or(wanted.own() ? 0.01 : 0.01 * static_cast<double>(moden::norm(cpu, jacobian)));
    // Adam leaves entries near zero where there should be none.
    const double near_zero = wanted.solver == moden::dictionary_method::adam ? 1e-3 * static_cast<double>(moden::norm(cpu, jacobian)) / std::sqrt(rows) : 0;
    const auto report = moden::report_components(cpu, found.components, found.directions, near_zero);
    const kept_set kept = choose(cpu, wanted, found, report, threshold);

    auto latent = moden::tensor<T, 2>::from_shape({size, count});
    for (std::size_t p = 0; p < count; ++p) {
        for (std::size_t i = 0; i < size; ++i) {
            latent(i, p) = found.directions(p, i);
        }
    }
    matrix steps;  // in w
    edited_faces edited;
    if (context) {
        steps = moden::mode_product(cpu, matrix(found.directions), context->space.root, 1);
        auto chosen = matrix::from_shape({kept.indices.size(), steps.shape()[1]});
        for (std::size_t k = 0; k < kept.indices.size(); ++k) {
            std::copy_n(steps.data() + kept.indices[k] * steps.shape()[1], steps.shape()[1], chosen.data() + k * steps.shape()[1]);
        }
        edited = edit_face(cpu, context->net, context->face, chosen, context->measure ? &*context->measure : nullptr, context->space.samples);
    }

    examples::sheet sheet{.title = "Localized components",
                          .notes = {"every component has a scale of its own; grey: no change; single channels: red up, blue down"},
                          .cell_height = 72,
                          .cell_width = 72};
    examples::dendrogram tree{.title = "Directions of the components, by Ward linkage of 1 - |cosine|", .height = "distance", .tree = kept.tree,
                              .clusters = kept.clusters};
    if (!shape.empty()) {
        sheet.columns = names_of_pictures(shape);
    }
    if (context) {
        sheet.notes.push_back("faces: w + s directions, s in standard deviations of w along the direction; difference: of s = 2 and s = -2");
        for (const double s : strengths) {
            char text[16];
            std::snprintf(text, sizeof text, s == 0 ? "0" : "%+g", s);
            sheet.columns.push_back(text);
        }
        sheet.columns.push_back("difference");
    }
    // Components alone stand side by side; with faces, each has a row.
    const std::size_t across = context || shape.empty() ? 1 : std::max<std::size_t>(1, 12 / sheet.columns.size());
    for (std::size_t k = 0; k < kept.indices.size(); ++k) {
        const std::string number = std::to_string(kept.indices[k]);
        tree.labels.push_back(number);
        if (shape.empty()) {
            continue;
        }
        const auto pictures = pictures_of_component(column_of(found.components, kept.indices[k]), shape);
        tree.pictures.push_back(pictures);
        if (k % across == 0) {
            sheet.rows.emplace_back();
        }
        examples::sheet_row& row = sheet.rows.back();
        for (const auto& picture : pictures) {
            row.cells.push_back({picture, context || &picture != &pictures.front() ? "" : number});
        }
        if (context) {
            row.label = edited.names[k].empty() ? number : number + " " + edited.names[k];
            for (const auto& picture : edited.strips[k]) {
                row.cells.push_back({picture, ""});
            }
            row.cells.push_back({edited.differences[k], ""});
        }
    }
    if (!context) {
        sheet.columns.clear();
    }
    const bool has_sheet = !sheet.rows.empty(), has_tree = kept.indices.size() >= 2;
    const examples::canvas sheet_drawing = has_sheet ? draw(sheet) : examples::canvas(1, 1);
    const examples::canvas tree_drawing = has_tree ? draw(tree) : examples::canvas(1, 1);

    auto history = moden::tensor<double, 1>::from_shape({found.history.size()});
    std::copy(found.history.begin(), found.history.end(), history.begin());
    out.publish(
        [&](const std::filesystem::path& folder) {
            moden::io::save_npy(folder / "U.npy", found.components);
            moden::io::save_npy(folder / "V.npy", latent);
            moden::io::save_npy(folder / "objective.npy", history);
            if (context) {
                moden::io::save_npy(folder / "jacobian.npy", jacobian);
                moden::io::save_npy(folder / "directions.npy", steps);
            }
            if (has_sheet) {
                moden::io::write_png(folder / "components.png", sheet_drawing.bytes());
            }
            if (has_tree) {
                moden::io::write_png(folder / "dendrogram.png", tree_drawing.bytes());
            }
        },
        is_result);

    std::printf("Jacobian     %zu x %zu in %s", rows, size, sizeof(T) == 4 ? "float" : "double");
    if (!context) {
        std::printf(", %s\n", wanted.jacobian.c_str());
    } else if (wanted.source == jacobian_source::pairs) {
        std::printf(", all pairs of %zu faces: R2 of albedo %.2f, of depth %.2f; %.1f s\n", wanted.samples, context->fit[0], context->fit[1], reading_seconds);
    } else {
        std::printf(", exact at the mean code; %.1f s\n", reading_seconds);
    }
    if (context) {
        std::printf("scale        |J|^2 = S; ");
        if (context->scale.size() == 2) {
            std::printf("1 is %.3g of albedo, %.3g cm of depth, per standard deviation of w\n", 1 / context->scale[0], 1 / context->scale[1]);
        } else {
            std::printf("1 is %.3g of a picture in [-1, 1], per standard deviation of w\n", 1 / context->scale[0]);
        }
    }
    std::printf("dictionary   %zu components, alpha %g, beta %g, %s%s\n", count, wanted.alpha(), wanted.beta(),
                wanted.solver == moden::dictionary_method::adam ? "adam" : "alternating", wanted.start.empty() ? "" : ", from given directions");
    std::printf("objective    %.6g after %zu iterations (%s), %.6g after the first; relative error %.4f; %.1f s\n", found.objective, found.iterations,
                words_for(found.status), found.history.front(), found.relative_error, fitting_seconds);
    double zeros = 0;
    for (const std::size_t p : kept.indices) {
        zeros += 100 * report.zero_share[p] / static_cast<double>(kept.indices.size());
    }
    std::printf("kept         %zu of %zu", kept.indices.size(), count);
    if (!kept.indices.empty()) {
        std::printf(", on average %.1f %% of their entries zero", zeros);
    }
    std::printf("\ncoherence    largest |cosine| of two directions %.3f\n", report.largest_coherence);
    std::vector<std::string> gone;
    for (std::size_t p = 0; p < count; ++p) {
        if (std::find(kept.indices.begin(), kept.indices.end(), p) == kept.indices.end()) {
            char text[48];
            std::snprintf(text, sizeof text, "%zu (%.3g)", p, report.norms[p]);
            gone.push_back(text);
        }
    }
    std::printf("discarded    %zu, for |u| < %.4g%s", gone.size(), threshold, gone.empty() ? "\n" : ": component (|u|)\n             ");
    print_list(gone);
    for (std::size_t c = 0; c < std::min(wanted.clusters, kept.indices.size()); ++c) {
        std::vector<std::string> members;
        for (std::size_t k = 0; k < kept.indices.size(); ++k) {
            if (kept.clusters[k] == c) {
                members.push_back(std::to_string(kept.indices[k]));
            }
        }
        std::printf("cluster %-4zu ", c);
        print_list(members);
    }
    if (!kept.indices.empty()) {
        std::printf("\ncomponent      |u|  zeros  |cosine|  cluster%s\n",
                    context && context->measure ? "  read off the faces, change per standard deviation in units of the spread" : "");
    }
    for (std::size_t k = 0; k < kept.indices.size(); ++k) {
        const std::size_t p = kept.indices[k];
        std::printf("%9zu  %7.4g  %4.1f%%  %8.3f  %7zu%s%s\n", p, report.norms[p], 100 * report.zero_share[p], report.coherence[p], kept.clusters[k],
                    context && !edited.readings[k].empty() ? "  " : "", context ? edited.readings[k].c_str() : "");
    }
    std::printf("\nwritten      U, V, objective%s (npy)%s%s in %s\n", context ? ", jacobian, directions" : "", has_sheet ? ", components.png" : "",
                has_tree ? ", dendrogram.png" : "", wanted.out.c_str());
}

void run(const settings& wanted) {
    const examples::output_folder out(wanted.out);
    for (const std::string& input : {wanted.jacobian, wanted.start, wanted.face}) {
        out.keep_input(input, is_result);
    }
    const moden::cpu_policy cpu;
    wanted.in_double ? process<double>(cpu, wanted, out) : process<float>(cpu, wanted, out);
}

}  // namespace
}  // namespace localized_components

int main(int argc, char** argv) {
    using namespace localized_components;
    settings wanted;
    command_line line(wanted);
    return examples::run_program(line.app(), argc, argv, [&] {
        line.finish();
        run(wanted);
    });
}
