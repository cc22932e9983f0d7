// edit_faces: a tensor model of latent codes, what its directions do to faces, and how cleanly.

#include <cmath>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "../common/output_folder.hpp"
#include "tables.hpp"

namespace edit_faces {
namespace {

void save_text(const std::filesystem::path& path, const std::string& text) {
    std::ofstream file(path);
    file << text;
    require<moden::io_error>(file.flush().good(), "'", path.string(), "' cannot be written");
}

void write_structured_set(const moden::cpu_policy& cpu, const generator& net, const settings& wanted, const examples::output_folder& out) {
    const code_set set = invert_structured_set(cpu, net, wanted);
    out.publish([&](const std::filesystem::path& folder) {
        moden::io::save_npy(folder / "codes.npy", set.codes);
        save_text(folder / "levels.json", text_of_levels(set.modes));
    });
    std::printf("written      codes.npy and levels.json in %s\n", wanted.out.c_str());
}

/// Samples of the generator: w, N x w_dim.
matrix sampled_w(const moden::cpu_policy& cpu, const generator& net, std::size_t count, std::uint64_t seed) {
    auto z = matrix::from_shape({count, net.layout().z_dim});
    moden::fill_normal(cpu, z.data(), z.size(), seed);
    require<examples::usage_error>(net.layout().c_dim == 0, "--weights: a conditional generator (expected one without labels)");
    return stylegan2::map_latents(cpu, net, z);
}

/// The code of a face that the model has not seen, 1 x D.
matrix new_face(const moden::cpu_policy& cpu, const generator& net, const settings& wanted, std::size_t size) {
    const auto& layout = net.layout();
    auto code = matrix::from_shape({1, size});
    if (!wanted.face.empty()) {
        const auto given = moden::io::npy_file(wanted.face, "--face").load<float>();
        require<examples::usage_error>(given.size() == size || given.size() == layout.w_dim, "--face '", wanted.face, "' has ", given.size(),
                                       " entries (expected ", size, " or ", layout.w_dim, ")");
        for (std::size_t i = 0; i < size; ++i) {
            code(0, i) = given.data()[i % given.size()];
        }
        require<examples::usage_error>(moden::detail::count_not_finite(cpu, code.data(), size) == 0, "--face '", wanted.face, "' holds NaN or infinity");
        return code;
    }
    if (wanted.bundled && size == layout.num_ws * layout.w_dim) {
        faces::face_parameters face;
        face.person = faces::random_identity(wanted.seed, 1000);
        face.light = faces::make_light(faces::light_preset::window);
        return invert_pictures(cpu, net, wanted, examples::render_pictures({face}, layout.resolution)).codes;
    }
    const auto w = sampled_w(cpu, net, 1, wanted.seed);
    const auto ws = stylegan2::to_w_plus(cpu, net, w, {.psi = 0.7});
    std::copy_n(ws.begin(), size, code.begin());
    return code;
}

void print_model(const model& fitted, const code_set& set) {
    std::printf("codes        %zu entries, %zu codes:", set.codes.shape()[0], set.samples());
    for (const moden::factor_mode& mode : set.modes) {
        std::printf(" %zu %s%s", mode.levels.size(), mode.name.c_str(), &mode == &set.modes.back() ? "\n" : " x");
    }
    std::printf("model        ranks");
    for (std::size_t n = 0; n < fitted.decomposition.modes.size(); ++n) {
        std::printf(" %zu", fitted.decomposition.modes[n].rank);
    }
    std::printf(", relative error %.1e\n", fitted.decomposition.relative_error);
}

/// The table of effects, on stdout and as text with commas.
std::string measure_directions(const moden::cpu_policy& cpu, const generator& net, const settings& wanted, const named_directions& own,
                               const matrix& mean) {
    const auto measure = stylegan2::load_image_regressor<float>(cpu, wanted.measure);
    require<examples::usage_error>(measure.input_size() == 3 * net.layout().resolution * net.layout().resolution, "--measure '", wanted.measure,
                                   "' reads pictures of ", measure.input_size(), " numbers, the generator makes ",
                                   3 * net.layout().resolution * net.layout().resolution, " (--measure '' for none)");
    const matrix w = sampled_w(cpu, net, wanted.samples, wanted.seed + 1);
    const readings reader(cpu, net, measure, own.names, w);
    std::vector<std::size_t> known;
    std::vector<factor> intended;
    for (const factor& f : reader.factors()) {
        const auto at = std::find(own.names.begin(), own.names.end(), f.name);
        if (at != own.names.end()) {
            known.push_back(static_cast<std::size_t>(at - own.names.begin()));
            intended.push_back(f);
        }
    }
    require<examples::usage_error>(!known.empty(), "--measure '", wanted.measure, "' reads none of the directions' factors (",
                                   moden::detail::joined(own.names), ")");
    const std::size_t size = mean.shape()[1];
    std::vector<direction_set> sets{{"tensor model", chosen_rows(own.directions, known)}};
    for (direction_set& set : other_methods(cpu, net, reader, w, intended, size)) {
        sets.push_back(std::move(set));
    }
    // Codes to be edited: samples half way to the mean of the set.
    constexpr std::size_t edited = 24;
    auto codes = matrix::from_shape({edited, size});
    double square = 0;
    for (std::size_t n = 0; n < edited; ++n) {
        for (std::size_t i = 0; i < size; ++i) {
            const float off = w(n, i % w.shape()[1]) - mean(0, i);
            square += static_cast<double>(off) * off / edited;
            codes(n, i) = mean(0, i) + 0.5F * off;
        }
    }
    std::string text = "direction,method,change_per_unit,reached";
    std::printf("\nEffect of every direction on %zu faces, as the regressor reads it. Change: of the intended factor, per unit length of the\n"
                "code. Leakage: root mean square change of another factor in %% of that of the intended one, in units of their spread.\n\n"
                "direction   method                change  leakage:", edited);
    for (const factor& f : reader.factors()) {
        std::printf(" %6.6s", f.name.c_str());
        text += "," + f.name;
    }
    std::printf("   mean\n");
    text += ",mean\n";
    struct average {
        double sum = 0;
        std::size_t count = 0;
    };
    std::vector<average> averages(sets.size());
    for (std::size_t f = 0; f < intended.size(); ++f) {
        for (std::size_t m = 0; m < sets.size(); ++m) {
            const std::vector<float> direction(sets[m].directions.data() + f * size, sets[m].directions.data() + (f + 1) * size);
            const effect found = effect_of(cpu, reader, codes, 2 * std::sqrt(square), direction, f);
            std::printf("%-11s %-20s %7.3f          ", m == 0 ? intended[f].name.c_str() : "", sets[m].method.c_str(), found.own);
            text += intended[f].name + "," + sets[m].method + "," + number(found.own, "%.6g") + "," + number(found.reached, "%.6g");
            for (std::size_t other = 0; other < found.leakage.size(); ++other) {
                if (other == f) {
                    std::printf("      -");
                    text += ",";
                } else {
                    std::printf(" %6.0f", 100 * found.leakage[other]);
                    text += "," + number(found.leakage[other], "%.6g");
                }
            }
            const bool moves = std::abs(found.reached) >= 0.5;
            std::printf(" %6.0f%s\n", 100 * found.mean_leakage, moves ? "" : "  (hardly moves it)");
            text += "," + number(found.mean_leakage, "%.6g") + "\n";
            if (moves) {
                averages[m].sum += found.mean_leakage;
                ++averages[m].count;
            }
        }
    }
    std::printf("\nmean leakage of the directions that move their factor by half its spread, and how many do\n");
    for (std::size_t m = 0; m < sets.size(); ++m) {
        std::printf("  %-20s %4.0f %%  %zu of %zu\n", sets[m].method.c_str(), 100 * averages[m].sum / static_cast<double>(std::max<std::size_t>(1, averages[m].count)),
                    averages[m].count, intended.size());
    }
    return text;
}

/// The papers' tables, on the last sixth of the persons.
void write_tables(const moden::cpu_policy& cpu, const generator& net, const settings& wanted, const code_set& set, const examples::output_folder& out) {
    const auto expression = set.find(wanted.expression), person = set.find(wanted.person), intensity = set.find(wanted.intensity), view = set.find(wanted.view);
    require<examples::usage_error>(expression && person && view && set.modes[*person].levels.size() >= 3 && set.modes[*view].levels.size() >= 2,
                                   "--tables: the modes are ", moden::detail::names_of(set.modes), " (expected '", wanted.person, "' with at least 3 levels, '",
                                   wanted.expression, "' and '", wanted.view, "' with at least 2)");
    const code_set joined = intensity ? joined_modes(cpu, set, *expression, *intensity) : set;
    const std::size_t persons = set.modes[*person].levels.size(), kept = std::max<std::size_t>(1, persons / 6);
    split_set sets;
    sets.person = moden::index_of_mode(joined.modes, wanted.person);
    sets.expression = moden::index_of_mode(joined.modes, wanted.expression);
    sets.view = moden::index_of_mode(joined.modes, wanted.view);
    sets.seen = part_of(joined, sets.person, 0, persons - kept);
    sets.unseen = part_of(joined, sets.person, persons - kept, kept);
    const std::size_t size = set.codes.shape()[0], w_dim = net.layout().w_dim;
    require<examples::usage_error>(size == net.layout().num_ws * w_dim, "--tables: codes of ", size, " entries (expected w+)");
    require<examples::usage_error>(!wanted.measure.empty(), "--tables needs --measure");
    const auto measure = stylegan2::load_image_regressor<float>(cpu, wanted.measure);
    const matrix w = sampled_w(cpu, net, wanted.samples, wanted.seed + 1);
    auto samples = matrix::from_shape({std::min<std::size_t>(200, w.shape()[0]), size});
    for (std::size_t i = 0; i < samples.size(); ++i) {
        samples.data()[i] = w.data()[i / size * w_dim + i % w_dim];
    }
    std::string text = "### Reconstruction\n\n" + table_of_representations(cpu, sets, net, samples);
    std::printf("%s\n", text.c_str());
    const auto [curves, drawing] = curves_of_penalties(cpu, sets);
    std::printf("%s\n", curves.c_str());
    const readings reader(cpu, net, measure, {"yaw"}, w);
    const std::string rotations = table_of_rotations(cpu, sets, net, w, reader, wanted.ridge);
    std::printf("%s\n", rotations.c_str());
    text += "\n### Penalties\n\n" + curves + "\n### Rotation\n\n" + rotations;
    const examples::canvas& plots = drawing;
    out.publish([&](const std::filesystem::path& folder) {
        save_text(folder / "tables.md", text);
        moden::io::write_png(folder / "penalties.png", plots.bytes());
    });
    std::printf("%zu persons in the model, %zu kept from it\nwritten      tables.md, penalties.png in %s\n", persons - kept, kept, wanted.out.c_str());
}

void run(const settings& wanted) {
    const examples::output_folder out(wanted.out);
    const moden::cpu_policy cpu;
    const auto net = stylegan2::load_generator<float>(cpu, wanted.weights);
    if (wanted.invert_persons > 0) {
        write_structured_set(cpu, net, wanted, out);
        return;
    }
    const code_set set = read_code_set(wanted, net.layout());
    if (wanted.tables) {
        write_tables(cpu, net, wanted, set, out);
        return;
    }
    const std::size_t size = set.codes.shape()[0];
    const auto expression = set.find(wanted.expression);
    const auto person = set.find(wanted.person);
    const auto intensity = set.find(wanted.intensity);
    require<examples::usage_error>(expression && person, "--levels '", wanted.levels, "' names the modes ", moden::detail::names_of(set.modes),
                                   " (expected '", wanted.expression, "' and '", wanted.person, "'; see --expression-mode, --person-mode)");
    const model fitted = moden::fit_tensor_model(cpu, set.codes, set.modes);
    const matrix face = new_face(cpu, net, wanted, size);
    print_model(fitted, set);
    const named_directions own = directions_of(cpu, fitted, wanted);
    const std::size_t expressions = fitted.modes[*expression].levels.size();

    // Strips for the mean face and a new one.
    const matrix& mean = fitted.mean;
    std::vector<std::size_t> rows(expressions);
    std::iota(rows.begin(), rows.end(), std::size_t{0});
    const auto on_mean = draw_strips(cpu, net, mean, own, rows, own.names, wanted.step, "Expressions of the mean face");
    const auto on_new = draw_strips(cpu, net, face, own, rows, own.names, wanted.step, "Expressions of a new face");
    std::vector<std::pair<std::string, examples::canvas>> drawings{{"expressions_mean.png", on_mean}, {"expressions_new.png", on_new}};
    if (own.names.size() > expressions) {
        auto both = matrix::from_shape({2, size});
        std::copy(mean.begin(), mean.end(), both.begin());
        std::copy(face.begin(), face.end(), both.data() + size);
        drawings.emplace_back("yaw.png", draw_strips(cpu, net, both, own, {expressions, expressions}, {"mean face", "new face"}, wanted.step, "Rotation"));
    }
    drawings.emplace_back("energy.png", draw_energy(fitted));

    // Expressions and intensities as one mode: the star, and transfer.
    const code_set joined = intensity ? joined_modes(cpu, set, *expression, *intensity) : set;
    const model joint = intensity ? moden::fit_tensor_model(cpu, joined.codes, joined.modes) : fitted;
    const std::size_t joint_mode = moden::index_of_mode(joint.modes, wanted.expression);
    if (intensity && set.modes[*intensity].levels.size() >= 2) {
        const expression_star star = find_star(joint, joint_mode, set.modes[*expression].levels);
        drawings.emplace_back("expression_space.png", draw_star(star));
        double reach = 0;
        for (std::size_t e = 0; e < expressions; ++e) {
            double square = 0;
            for (std::size_t j = 0; j < star.points.shape()[1]; ++j) {
                square += std::pow(star.points((e + 1) * star.intensities - 1, j) - star.origin.point(j), 2);
            }
            reach += std::sqrt(square) / static_cast<double>(expressions);
        }
        std::printf("origin       lines of %zu expressions pass it at %.1f %% (root mean square) of the distance to full expressions\n", expressions,
                    100 * star.origin.root_mean_square / reach);
    }
    const std::size_t persons = joint.modes[*person].levels.size();
    const moden::mode_geometry people = moden::geometry_of({joined.codes.shape().begin() + 1, joined.codes.shape().end()}, moden::index_of_mode(joint.modes, wanted.person));
    const moden::mode_geometry levels = moden::geometry_of({joined.codes.shape().begin() + 1, joined.codes.shape().end()}, joint_mode);
    // Sample number of a person with a level of the joint mode, first level of everything else.
    const auto code_of = [&](std::size_t p, std::size_t level) {
        const std::size_t sample = p * people.columns + level * levels.columns, samples = joined.samples();
        auto code = matrix::from_shape({1, size});
        for (std::size_t i = 0; i < size; ++i) {
            code(0, i) = joined.codes.data()[i * samples + sample];
        }
        return code;
    };
    const auto stacked = [&](const std::vector<matrix>& codes) {
        auto result = matrix::from_shape({codes.size(), size});
        for (std::size_t n = 0; n < codes.size(); ++n) {
            std::copy(codes[n].begin(), codes[n].end(), result.data() + n * size);
        }
        return result;
    };
    std::vector<matrix> faces{face}, sources;
    std::vector<std::string> face_names{"new face"}, source_names;
    for (std::size_t n = 0; n < std::min<std::size_t>(4, persons); ++n) {
        faces.push_back(code_of(persons - 1 - n, 0));
        face_names.push_back(joint.modes[moden::index_of_mode(joint.modes, wanted.person)].levels[persons - 1 - n]);
    }
    const std::size_t per_expression = joint.level_count(joint_mode) / expressions;
    for (std::size_t e = 0; e < expressions; ++e) {
        sources.push_back(code_of(e % persons, (e + 1) * per_expression - 1));
        source_names.push_back(own.names[e]);
    }
    drawings.emplace_back("transfer.png", draw_transfer(cpu, net, joint, joint_mode, stacked(faces), face_names, stacked(sources), source_names, wanted.ridge));

    const std::string table = wanted.measure.empty() ? "" : measure_directions(cpu, net, wanted, own, mean);
    out.publish(
        [&](const std::filesystem::path& folder) {
            for (const auto& [name, drawing] : drawings) {
                moden::io::write_png(folder / name, drawing.bytes());
            }
            moden::io::save_npy(folder / "directions.npy", own.directions);
            if (!table.empty()) {
                save_text(folder / "leakage.csv", table);
            }
        },
        [](const std::string& name) { return name == "leakage.csv" || name == "yaw.png" || name == "expression_space.png"; });
    std::printf("\nwritten      ");
    for (const auto& [name, drawing] : drawings) {
        std::printf("%s, ", name.c_str());
    }
    std::printf("directions.npy%s in %s\n", table.empty() ? "" : ", leakage.csv", wanted.out.c_str());
}

}  // namespace
}  // namespace edit_faces

int main(int argc, char** argv) {
    using namespace edit_faces;
    settings wanted;
    command_line line(wanted);
    return examples::run_program(line.app(), argc, argv, [&] {
        line.finish();
        run(wanted);
    });
}
