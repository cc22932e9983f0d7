// pose_faces: a 3D model from landmarks of generated faces, and edits of pose and expression by it.

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "../common/output_folder.hpp"
#include "../common/pictures.hpp"
#include "../common/sheet.hpp"
#include "tables.hpp"

namespace pose_faces {
namespace {

void save_text(const std::filesystem::path& path, const std::string& text) {
    std::ofstream file(path);
    file << text;
    require<moden::io_error>(file.flush().good(), "'", path.string(), "' cannot be written");
}

/// Pictures of codes with what is read off them.
struct looked_at {
    moden::tensor<float, 4> pictures;
    matrix readings;
};

looked_at look(const moden::cpu_policy& cpu, const generator& net, const regressor& measure, const code_space& space, const matrix& codes) {
    auto pictures = pictures_of(cpu, net, space, codes);
    auto readings = measure.predict(cpu, pictures);
    return {std::move(pictures), std::move(readings)};
}

/// Rows: yaw, pitch, roll, smile; columns: what is asked for. Captions say what is measured.
examples::canvas draw_strips(const moden::cpu_policy& cpu, const generator& net, const regressor& measure, const face_numbers& numbers, const landmark_model& model,
                             const steered_space& steered, const vector& face, edit_method method, const settings& wanted) {
    constexpr std::size_t columns = 7;
    constexpr double largest[] = {0.6, 0.3, 0.25};
    const bool linear = method == edit_method::linear;
    examples::sheet sheet{.title = linear ? "One linear step" : "By minimising, with the identity preserved",
                          .notes = {"below: what is asked, and what is measured (degrees; smile in % of full happiness)"}, .cell_height = 96, .cell_width = 96};
    const vector q = steered.white->value(cpu, face);
    auto start = matrix::from_shape({1, face.size()});
    std::copy(face.begin(), face.end(), start.begin());
    const double smile = numbers.smile(look(cpu, net, measure, steered.space, start).readings, 0);
    for (std::size_t which = 0; which < 4; ++which) {
        auto codes = matrix::from_shape({columns, face.size()});
        std::vector<double> values;
        for (std::size_t i = 0; i < columns; ++i) {
            const double part = static_cast<double>(i) / (columns - 1);
            values.push_back(which < 3 ? largest[which] * (2 * part - 1) : part);
            const vector e = edited(cpu, steered, face, model.asked(q, which, which < 3 ? values.back() : values.back() - smile), method, wanted);
            std::copy(e.begin(), e.end(), codes.data() + i * e.size());
        }
        const looked_at seen = look(cpu, net, measure, steered.space, codes);
        examples::sheet_row row{.label = factor_names[which], .space_below = 8};
        for (std::size_t i = 0; i < columns; ++i) {
            const double unit = which < 3 ? degree : 100;
            row.cells.push_back({examples::picture_of(seen.pictures, i), text_of("%+.0f: %+.0f", unit * values[i], unit * numbers.factor(seen.readings, i, which))});
        }
        sheet.rows.push_back(std::move(row));
    }
    return draw(sheet);
}

/// Sources in rows, targets in columns: Paper III Fig. 6.
examples::canvas draw_transfer(const moden::cpu_policy& cpu, const generator& net, const regressor& measure, const face_numbers& numbers, const landmark_model& model,
                               const steered_space& steered, const matrix& codes, const settings& wanted) {
    const std::size_t count = codes.shape()[0] / 2;
    const looked_at given = look(cpu, net, measure, steered.space, codes);
    const matrix q = steered.phi.values(cpu, steered.space.from_white.values(cpu, codes));
    examples::sheet sheet{.title = "Pose and shape of the upper row, everything else of the left column",
                          .notes = {"below: measured yaw in degrees"}, .cell_height = 96, .cell_width = 96};
    const auto cell = [&](const looked_at& seen, std::size_t n) {
        return examples::sheet_cell{examples::picture_of(seen.pictures, n), text_of("%+.0f", degree * numbers.yaw(seen.readings, n))};
    };
    examples::sheet_row top{.label = "", .cells = {{}}, .space_below = 8};
    for (std::size_t t = 0; t < count; ++t) {
        top.cells.push_back(cell(given, count + t));
    }
    sheet.rows.push_back(std::move(top));
    for (std::size_t s = 0; s < count; ++s) {
        auto moved = matrix::from_shape({count, codes.shape()[1]});
        for (std::size_t t = 0; t < count; ++t) {
            const vector e = edited(cpu, steered, row_of(codes, s), transferred(cpu, model, row_of(q, s), row_of(q, count + t)), edit_method::gradient, wanted);
            std::copy(e.begin(), e.end(), moved.data() + t * e.size());
        }
        const looked_at seen = look(cpu, net, measure, steered.space, moved);
        examples::sheet_row row{.label = "", .cells = {cell(given, s)}};
        for (std::size_t t = 0; t < count; ++t) {
            row.cells.push_back(cell(seen, t));
        }
        sheet.rows.push_back(std::move(row));
    }
    return draw(sheet);
}

void print_errors(const char* what, const errors_in_3d& e) {
    std::printf("%-46s %6.2f %8.2f %9.2f\n", what, e.sequence, e.frame, e.degrees);
}

/// Where the truth is known: renders of the face world, and w+ codes of such renders.
void print_truth(const moden::cpu_policy& cpu, const regressor& measure, const face_numbers& numbers, const landmark_model& model, const steered_space& wplus,
                 const settings& wanted) {
    if (numbers.points() != faces::landmark_count) {
        return;  // a regressor with other landmarks than the face world's
    }
    const auto people = faces::make_random_set(wanted.renders, 9001).faces;
    const true_faces truth = truth_of(people);
    std::printf("\nThe model of generated faces on renders of the face world, whose 3D landmarks are known: error of shapes after one similarity for all and after one each, in %%,\n"
                "and of rotations in degrees\n\n%-46s %6s %8s %9s\n", "", "all", "each", "rotation");
    auto seen = tracks::from_shape({people.size(), 2, faces::landmark_count});
    for (std::size_t n = 0; n < people.size(); ++n) {
        const auto& view = people[n].camera;
        for (std::size_t l = 0; l < faces::landmark_count; ++l) {
            for (std::size_t a = 0; a < 2; ++a) {
                float x = 0;
                for (std::size_t i = 0; i < 3; ++i) {
                    x += truth.cameras(n, a, i) * truth.shapes(n, i, l);
                }
                seen(n, a, l) = x / view.view;
            }
        }
    }
    const matrix exact = attributes_of(cpu, model.model, seen);
    matrix rigid = exact;
    for (std::size_t n = 0; n < people.size(); ++n) {
        std::fill_n(rigid.data() + n * rigid.shape()[1] + 6, model.basis(), 0.0F);
    }
    print_errors("rigid shape alone", errors_of(cpu, model.model, rigid, truth));
    print_errors("fitted to true 2D landmarks", errors_of(cpu, model.model, exact, truth));
    const matrix read = measure.predict(cpu, examples::render_pictures(people, measure.resolution()));
    print_errors("fitted to landmarks that are read", errors_of(cpu, model.model, attributes_of(cpu, model.model, numbers.landmarks(read)), truth));
    if (!wanted.bundled) {
        return;
    }
    // The bundled set of codes: 24 persons x 6 expressions x 4 intensities x 2 views, codes in columns.
    const auto codes = moden::io::npy_file(std::string(MODEN_DATA_FOLDER) + "/face_codes.npy").load<float>();
    const auto set = faces::make_expression_set({.persons = 24, .seed = 2024}).faces;
    const std::size_t size = wplus.phi.input_size(), count = set.size();
    require<moden::shape_error>(codes.size() == size * count, "face_codes.npy has ", codes.size(), " entries (expected ", size, " x ", count, ")");
    auto rows = matrix::from_shape({count, size});
    for (std::size_t i = 0; i < size; ++i) {
        for (std::size_t n = 0; n < count; ++n) {
            rows(n, i) = codes.data()[i * count + n];
        }
    }
    print_errors("regressor of w+, codes of 1152 inverted renders", errors_of(cpu, model.model, wplus.phi.values(cpu, rows), truth_of(set)));
}

void run(const settings& wanted) {
    const examples::output_folder out(wanted.out);
    const moden::cpu_policy cpu;
    const auto net = stylegan2::load_generator<float>(cpu, wanted.weights);
    const auto measure = stylegan2::load_image_regressor<float>(cpu, wanted.measure);
    require<examples::usage_error>(measure.resolution() == net.layout().resolution, "--measure '", wanted.measure, "' reads pictures of ", measure.resolution(),
                                   " pixels, the generator makes ", net.layout().resolution);
    const face_numbers numbers(measure, wanted.measure);
    identity_map::columns_of(measure, wanted.measure);  // refuses what is no use before anything is rendered
    require<examples::usage_error>(wanted.basis + 2 < numbers.points(), "--basis-shapes ", wanted.basis, " for ", numbers.points(), " landmarks (expected at most ",
                                   numbers.points() - 3, ")");
    const auto spaces = make_spaces(cpu, net, wanted.seed);
    const std::size_t rows = net.layout().num_ws;
    const auto white_w = [&](const matrix& z) { return to_white(cpu, spaces[1]->from_white, stylegan2::map_latents(cpu, net, z)); };

    const matrix z = drawn_z(cpu, net, wanted.samples, wanted.seed, 2), w = white_w(z);
    const matrix mixed = mixed_codes(w, white_w(drawn_z(cpu, net, wanted.samples, wanted.seed, 3)), rows, wanted.seed);
    const sample_set of_w{w, readings_of(cpu, net, measure, *spaces[1], w)}, of_mixed{mixed, readings_of(cpu, net, measure, *spaces[2], mixed)};
    matrix q;
    const landmark_model model = learn_landmark_model(cpu, numbers, of_w, wanted.basis, q);
    std::printf("landmarks    %zu of %zu faces; %zu basis shapes explain them to %.3f pixels, a rigid shape to %.3f\n", numbers.points(), wanted.samples, model.basis(),
                model.reprojection, model.rigid_reprojection);
    std::printf("pose         correlation with what the regressor of pictures reads: yaw %.4f, pitch %.4f, roll %.4f (slopes %.3f, %.3f, %.3f)\n", model.pose[0].correlation,
                model.pose[1].correlation, model.pose[2].correlation, model.pose[0].slope, model.pose[1].slope, model.pose[2].slope);
    std::printf("smile        R2 of happiness from the %zu coefficients of the shape: %.3f\n", model.basis(), model.smile_fit);

    const identity_map identity(cpu, measure, wanted.measure, of_w.readings);
    const tracks landmarks = numbers.landmarks(of_w.readings), of_mixed_landmarks = numbers.landmarks(of_mixed.readings);
    std::vector<std::unique_ptr<steered_space>> steered;
    steered.push_back(learn_steering(cpu, *spaces[0], model, z, landmarks, q, identity, wanted));
    steered.push_back(learn_steering(cpu, *spaces[1], model, w, landmarks, q, identity, wanted));
    steered.push_back(learn_steering(cpu, *spaces[2], model, mixed, of_mixed_landmarks, attributes_of(cpu, model.model, of_mixed_landmarks), identity, wanted));
    for (const auto& s : steered) {
        std::printf("regressor    %-3s landmark loss on faces kept from it: network %.4f (epoch %zu), closed form %.4f\n", s->space.name.c_str(), s->loss, s->best_epoch, s->ridge_loss);
    }
    print_truth(cpu, measure, numbers, model, *steered[2], wanted);

    const std::size_t fresh_count = 10 * wanted.faces;
    const matrix fresh_z = drawn_z(cpu, net, fresh_count, wanted.seed, 4), fresh_w = white_w(fresh_z);
    const std::vector<matrix> fresh{fresh_z, fresh_w, mixed_codes(fresh_w, white_w(drawn_z(cpu, net, fresh_count, wanted.seed, 5)), rows, wanted.seed + 1)};
    const std::string edits = table_of_edits(cpu, net, measure, numbers, model, identity, *steered[1], some_rows(fresh_w, 0, wanted.faces), wanted);
    const std::string table = table_of_spaces(cpu, net, measure, numbers, model, identity, {steered[0].get(), steered[1].get(), steered[2].get()}, fresh, wanted.faces,
                                              wanted);

    const vector face = row_of(fresh_w, 0);
    const auto linear = draw_strips(cpu, net, measure, numbers, model, *steered[1], face, edit_method::linear, wanted);
    const auto gradient = draw_strips(cpu, net, measure, numbers, model, *steered[1], face, edit_method::gradient, wanted);
    const auto grid = draw_transfer(cpu, net, measure, numbers, model, *steered[1], some_rows(fresh_w, 0, std::min<std::size_t>(8, fresh_count / 2 * 2)), wanted);
    auto rigid = matrix::from_shape({3, numbers.points()});
    std::copy_n(model.model.shapes().data(), rigid.size(), rigid.data());
    out.publish([&](const std::filesystem::path& folder) {
        moden::io::write_png(folder / "strips_linear.png", linear.bytes());
        moden::io::write_png(folder / "strips_gradient.png", gradient.bytes());
        moden::io::write_png(folder / "transfer.png", grid.bytes());
        save_text(folder / "edits.csv", edits);
        save_text(folder / "table.csv", table);
        moden::io::save_npy(folder / "shape.npy", rigid);
    });
    std::printf("\nwritten      strips_linear.png, strips_gradient.png, transfer.png, edits.csv, table.csv, shape.npy in %s\n", wanted.out.c_str());
}

}  // namespace
}  // namespace pose_faces

int main(int argc, char** argv) {
    using namespace pose_faces;
    settings wanted;
    command_line line(wanted);
    return examples::run_program(line.app(), argc, argv, [&] {
        line.finish();
        run(wanted);
    });
}
