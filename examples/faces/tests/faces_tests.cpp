// The face world's promises: repeatable, linear where it says so, projected by its camera, lit by its formula.

#include <doctest/doctest.h>

#include <faces/dataset.hpp>

#include <moden/core/error.hpp>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numbers>
#include <sstream>
#include <string>

#include <sys/wait.h>
#include <unistd.h>

namespace {

using namespace faces;

float largest_difference(const std::vector<vec3>& a, const std::vector<vec3>& b) {
    float largest = 0.0F;
    for (std::size_t i = 0; i < a.size(); ++i) {
        largest = std::max(largest, length(a[i] - b[i]));
    }
    return largest;
}

face_parameters some_face() {
    face_parameters face = random_face(11, 3);
    face.person.look.hair = hair_style::bald;
    return face;
}

}  // namespace

TEST_CASE("the same seed and index give the same person and picture, other ones do not") {
    const render_options options{.size = 32, .samples = 2};
    renderer one;
    const rendering first = one.render(random_face(5, 17), options);
    one.render(random_face(5, 18), options);  // buffers that were used in between must not matter
    const rendering again = one.render(random_face(5, 17), options);
    CHECK(first.image == again.image);
    CHECK(first.image == render(random_face(5, 17), options).image);
    CHECK(first.image != render(random_face(5, 18), options).image);
    CHECK(identity_values(random_identity(5, 17)) == identity_values(random_identity(5, 17)));
    CHECK(identity_values(random_identity(5, 17)) != identity_values(random_identity(6, 17)));
    CHECK(identity_values(random_identity(5, 17)).size() == identity_names().size());
}

TEST_CASE("shape coefficients have mean 0 and variance 1") {
    constexpr std::size_t count = 4000;
    for (const shape_mode mode : {shape_mode::face_width, shape_mode::nose_width, shape_mode::neck_width}) {
        double sum = 0.0, squares = 0.0;
        for (std::size_t i = 0; i < count; ++i) {
            const double value = random_identity(1, i).shape[static_cast<std::size_t>(mode)];
            CHECK(std::abs(value) <= 2.2);
            sum += value;
            squares += value * value;
        }
        CHECK(std::abs(sum / count) < 4.0 / std::sqrt(double{count}));
        CHECK(squares / count == doctest::Approx(0.90).epsilon(0.06));  // variance of a normal cut at 2.2
    }
}

TEST_CASE("vertices are linear in shape and expression together") {
    const std::vector<vec3> mean = head_vertices({}, {});
    identity person = random_identity(2, 9);
    expression face = make_expression(basic_expression::fear, 0.75F);
    const std::vector<vec3> both = head_vertices(person, face);
    const std::vector<vec3> shape_only = head_vertices(person, {});
    const std::vector<vec3> face_only = head_vertices({}, face);
    std::vector<vec3> sum(mean.size());
    for (std::size_t i = 0; i < mean.size(); ++i) {
        sum[i] = shape_only[i] + face_only[i] - mean[i];
    }
    CHECK(largest_difference(both, sum) < 1e-4F);

    identity half = person;
    for (float& s : half.shape) {
        s *= 0.5F;
    }
    const std::vector<vec3> halfway = head_vertices(half, make_expression(basic_expression::fear, 0.375F));
    for (std::size_t i = 0; i < mean.size(); ++i) {
        sum[i] = 0.5F * (both[i] + mean[i]);
    }
    CHECK(largest_difference(halfway, sum) < 1e-4F);
    CHECK(largest_difference(both, mean) > 0.5F);
}

TEST_CASE("every shape mode and every action moves the face, and only symmetrically") {
    const std::vector<vec3> mean = head_vertices({}, {});
    const auto check = [&](const std::vector<vec3>& moved) {
        CHECK(largest_difference(mean, moved) > 0.05F);
        vec3 sum;
        float total = 0.0F;
        for (std::size_t i = 0; i < mean.size(); ++i) {
            sum += moved[i] - mean[i];
            total += length(moved[i] - mean[i]);
        }
        CHECK(std::abs(sum.x) < 1e-3F * total);
    };
    for (std::size_t k = 0; k < shape_mode_count; ++k) {
        CAPTURE(shape_mode_names[k]);
        identity person;
        person.shape[k] = 1.0F;
        check(head_vertices(person, {}));
    }
    for (std::size_t a = 0; a < action_count; ++a) {
        CAPTURE(action_names[a]);
        expression face;
        face.actions[a] = 1.0F;
        check(head_vertices({}, face));
    }
}

TEST_CASE("landmarks project to where the camera says") {
    const face_parameters face = some_face();
    const rendering picture = render(face, {.size = 96, .truth = truth::light});
    const mat3 r = face.pose.rotation();
    for (std::size_t l = 0; l < landmark_count; ++l) {
        const vec3 p{picture.landmarks_object(l, 0), picture.landmarks_object(l, 1), picture.landmarks_object(l, 2)};
        const vec3 q = r * p;
        CHECK(q.x == doctest::Approx(picture.landmarks_camera(l, 0)).epsilon(1e-4));
        for (std::size_t i = 0; i < 2; ++i) {
            const float projected = picture.projection(i, 0) * p.x + picture.projection(i, 1) * p.y +
                                    picture.projection(i, 2) * p.z + picture.projection(i, 3);
            CHECK(projected == doctest::Approx(picture.landmarks_2d(l, i)).epsilon(1e-3));
        }
        const float scale = 96.0F / face.camera.view;
        CHECK(picture.landmarks_2d(l, 0) ==
              doctest::Approx(48.0F + scale * (q.x - face.camera.center_x)).epsilon(1e-3));
        CHECK(picture.landmarks_2d(l, 1) ==
              doctest::Approx(48.0F - scale * (q.y - face.camera.center_y)).epsilon(1e-3));
    }
    CHECK(picture.depth.size() <= 1);  // maps were not asked for
}

TEST_CASE("poses turn the face the way they are documented") {
    const vec3 nose{0.0F, 0.0F, 1.0F};
    CHECK((pose{.yaw = 0.3F}.rotation() * nose).x > 0.2F);
    CHECK((pose{.pitch = 0.3F}.rotation() * nose).y < -0.2F);
    CHECK((pose{.roll = 0.3F}.rotation() * vec3{1, 0, 0}).y > 0.2F);
    const mat3 r = pose{.yaw = 0.4F, .pitch = -0.2F, .roll = 0.7F}.rotation();
    const mat3 unit = r * transposed(r);
    for (std::size_t i = 0; i < 3; ++i) {
        CHECK(length(unit.row[i] - mat3{}.row[i]) < 1e-6F);
    }
}

TEST_CASE("landmarks are the features they are named after") {
    face_parameters face;
    face.person.look.hair = hair_style::bald;
    const rendering neutral = render(face, {.size = 128, .truth = truth::all});
    const auto region_at = [&](std::size_t l) {
        return static_cast<region>(neutral.labels(static_cast<std::size_t>(neutral.landmarks_2d(l, 1)),
                                                  static_cast<std::size_t>(neutral.landmarks_2d(l, 0))));
    };
    CHECK(region_at(30) == region::nose);
    CHECK(region_at(19) == region::brows);
    CHECK(region_at(24) == region::brows);
    for (std::size_t l = 0; l < landmark_count; ++l) {
        CAPTURE(l);
        // Points of the jaw lie on the silhouette: the head is within a pixel.
        const auto x = static_cast<std::size_t>(neutral.landmarks_2d(l, 0)),
                   y = static_cast<std::size_t>(neutral.landmarks_2d(l, 1));
        bool on_head = false;
        for (std::size_t k = 0; k < 9; ++k) {
            on_head = on_head || neutral.labels(y + k / 3 - 1, x + k % 3 - 1) != 0;
        }
        CHECK(on_head);
    }
    for (const auto& [a, b] :
         {std::pair<std::size_t, std::size_t>{0, 16}, {17, 26}, {36, 45}, {37, 44}, {48, 54}, {31, 35}, {61, 63}}) {
        CHECK(neutral.landmarks_object(a, 0) == doctest::Approx(-neutral.landmarks_object(b, 0)).epsilon(1e-4));
        CHECK(neutral.landmarks_object(a, 1) == doctest::Approx(neutral.landmarks_object(b, 1)).epsilon(1e-4));
        CHECK(neutral.landmarks_object(a, 0) < 0.0F);
    }
    face.expression = make_expression(basic_expression::surprise, 1.0F);
    const rendering surprised = render(face, {.size = 128, .truth = truth::light});
    const auto opening = [](const rendering& r) { return r.landmarks_object(62, 1) - r.landmarks_object(66, 1); };
    CHECK(std::abs(opening(neutral)) < 0.15F);
    CHECK(opening(surprised) > 1.5F);
}

TEST_CASE("a hidden landmark is reported as hidden") {
    face_parameters face;
    face.person.look.hair = hair_style::bald;
    const rendering frontal = render(face, {.size = 64, .truth = truth::light});
    CHECK(frontal.visible(36) == 1);
    CHECK(frontal.visible(45) == 1);
    CHECK(frontal.visible(30) == 1);
    face.pose.yaw = 1.2F;
    const rendering turned = render(face, {.size = 64, .truth = truth::light});
    CHECK(turned.visible(36) == 1);
    CHECK(turned.visible(45) == 0);
}

TEST_CASE("normals are unit and face the camera, maps agree with each other") {
    const rendering picture = render(random_face(4, 2), {.size = 64, .truth = truth::all});
    std::size_t covered = 0;
    for (std::size_t y = 0; y < 64; ++y) {
        for (std::size_t x = 0; x < 64; ++x) {
            const vec3 n{picture.normals(y, x, 0), picture.normals(y, x, 1), picture.normals(y, x, 2)};
            if (picture.labels(y, x) == static_cast<std::uint8_t>(region::background)) {
                CHECK(length(n) == 0.0F);
                CHECK(picture.shading(y, x) == 0.0F);
                CHECK(picture.depth(y, x) == 0.0F);
                continue;
            }
            ++covered;
            CHECK(length(n) == doctest::Approx(1.0).epsilon(1e-4));
            CHECK(n.z > -1e-3F);
            CHECK(picture.labels(y, x) < region_names.size());
            for (std::size_t c = 0; c < 3; ++c) {
                CHECK(picture.albedo(y, x, c) > 0.0F);
                CHECK(picture.albedo(y, x, c) < 1.0F);
            }
        }
    }
    CHECK(covered > 64 * 64 / 4);
}

TEST_CASE("normals are the slope of the depth map") {
    face_parameters face;
    face.person.look.hair = hair_style::bald;
    constexpr std::size_t n = 128;
    const rendering picture = render(face, {.size = n, .truth = truth::all});
    const float step = face.camera.view / n;
    double error = 0.0;
    std::size_t count = 0;
    for (std::size_t y = 22; y < 42; ++y) {  // the forehead, which is smooth
        for (std::size_t x = 48; x < 80; ++x) {
            const float dx = (picture.depth(y, x + 1) - picture.depth(y, x - 1)) / (2.0F * step);
            const float dy = -(picture.depth(y + 1, x) - picture.depth(y - 1, x)) / (2.0F * step);
            const vec3 from_depth = normalized({-dx, -dy, 1.0F});
            error +=
                length(from_depth - vec3{picture.normals(y, x, 0), picture.normals(y, x, 1), picture.normals(y, x, 2)});
            ++count;
        }
    }
    CHECK(error / static_cast<double>(count) < 0.03);
}

TEST_CASE("irradiance is the integral of radiance over the hemisphere") {
    const light l = random_light(8, 21);
    const irradiance formula(l.coefficients);
    for (const vec3& raw : {vec3{0, 0, 1}, vec3{0.3F, -0.5F, 0.8F}, vec3{-0.9F, 0.2F, 0.1F}, vec3{0.1F, 1.0F, -0.4F}}) {
        const vec3 n = normalized(raw);
        double sum = 0.0;
        constexpr int steps = 400;
        for (int i = 0; i < steps; ++i) {
            const double z = -1.0 + (2.0 * i + 1.0) / steps;
            for (int j = 0; j < 2 * steps; ++j) {
                const double a = std::numbers::pi * (j + 0.5) / steps;
                const double r = std::sqrt(1.0 - z * z);
                const vec3 d{static_cast<float>(r * std::cos(a)), static_cast<float>(r * std::sin(a)),
                             static_cast<float>(z)};
                const float cosine = dot(n, d);
                if (cosine <= 0.0F) {
                    continue;
                }
                const std::array<float, 9> y = spherical_harmonics(d);
                double radiance = 0.0;
                for (std::size_t k = 0; k < 9; ++k) {
                    radiance += double{l.coefficients[k]} * double{y[k]};
                }
                sum += radiance * double{cosine} * (2.0 / steps) * (std::numbers::pi / steps);
            }
        }
        CHECK(double{formula.shading(n)} == doctest::Approx(sum / std::numbers::pi).epsilon(2e-3));
    }
    CHECK(irradiance(lamp({0, 0, 1}, 0.7F, 0.2F)).shading({0, 0, 1}) == doctest::Approx(0.9F).epsilon(1e-4));
    CHECK(irradiance(faces::light{}.coefficients).shading({0, 1, 0}) == doctest::Approx(1.0F).epsilon(1e-3));
}

TEST_CASE("a rotated light gives a rotated normal the same shading") {
    const std::array<float, 9> light = random_light(8, 5).coefficients;
    const mat3 r = pose{.yaw = 0.7F, .pitch = -0.4F, .roll = 1.1F}.rotation();
    const irradiance before(light);
    const irradiance after(rotated(light, r));
    for (const vec3& raw : {vec3{0, 0, 1}, vec3{0.3F, -0.5F, 0.8F}, vec3{-0.9F, 0.2F, 0.1F}}) {
        const vec3 n = normalized(raw);
        CHECK(after.shading(r * n) == doctest::Approx(before.shading(n)).epsilon(1e-4));
    }
}

TEST_CASE("matte pictures are albedo times irradiance of the normals") {
    // One sample per pixel, so that no pixel mixes several surfaces.
    const face_parameters face = some_face();
    const rendering picture = render(
        face, {.size = 64, .samples = 1, .self_shadow = self_shadow::off, .gloss = gloss::off, .truth = truth::all});
    const irradiance shading(face.light.coefficients);
    const std::array<float, 3> color{face.light.color.x, face.light.color.y, face.light.color.z};
    std::size_t covered = 0;
    for (std::size_t y = 0; y < 64; ++y) {
        for (std::size_t x = 0; x < 64; ++x) {
            if (picture.labels(y, x) == static_cast<std::uint8_t>(region::background)) {
                continue;
            }
            ++covered;
            const vec3 n{picture.normals(y, x, 0), picture.normals(y, x, 1), picture.normals(y, x, 2)};
            CHECK(picture.shading(y, x) == doctest::Approx(std::max(shading.shading(n), 0.015F)).epsilon(1e-3));
            for (std::size_t c = 0; c < 3; ++c) {
                CHECK(std::abs(picture.image(y, x, c) -
                               encode(picture.albedo(y, x, c) * picture.shading(y, x) * color[c])) < 2e-3F);
            }
        }
    }
    CHECK(covered > 1000);
}

TEST_CASE("self-shadowing only takes light away, most under the chin") {
    face_parameters face;
    face.person.look.hair = hair_style::bald;
    const rendering lit = render(face, {.size = 64, .self_shadow = self_shadow::off, .truth = truth::all});
    const rendering shadowed = render(face, {.size = 64, .self_shadow = self_shadow::on, .truth = truth::all});
    double forehead = 0.0, throat = 0.0;
    for (std::size_t x = 28; x < 36; ++x) {
        for (std::size_t k = 0; k < 3; ++k) {
            forehead += double{shadowed.shading(16 + k, x)} / double{lit.shading(16 + k, x)} / 24.0;
            throat += double{shadowed.shading(55 + k, x)} / double{lit.shading(55 + k, x)} / 24.0;
        }
    }
    CHECK(forehead > 0.93);
    CHECK(throat < 0.80);
    for (std::size_t y = 0; y < 64; ++y) {
        for (std::size_t x = 0; x < 64; ++x) {
            CHECK(shadowed.shading(y, x) <= lit.shading(y, x) + 0.02F);
        }
    }
}

TEST_CASE("a symmetric face under frontal light is its own mirror image") {
    face_parameters face;
    face.person.look.hair = hair_style::bald;
    face.light = make_light(light_preset::frontal);
    face.background.style = background_style::plain;
    face.camera.center_x = 0.0F;
    const rendering picture = render(face, {.size = 64, .gloss = gloss::off, .truth = truth::all});
    double total = 0.0;
    std::size_t labels = 0;
    for (std::size_t y = 0; y < 64; ++y) {
        for (std::size_t x = 0; x < 64; ++x) {
            total += double{std::abs(picture.image(y, x, 1) - picture.image(y, 63 - x, 1))};
            labels += picture.labels(y, x) != picture.labels(y, 63 - x) ? 1 : 0;
        }
    }
    CHECK(total / (64.0 * 64.0) < 0.006);
    CHECK(labels < 64 * 64 / 100);
}

TEST_CASE("more samples per pixel converge") {
    const face_parameters face = random_face(4, 8);
    const rendering reference = render(face, {.size = 48, .samples = 8});
    const auto error = [&](std::size_t samples) {
        const rendering picture = render(face, {.size = 48, .samples = samples});
        double sum = 0.0;
        for (std::size_t i = 0; i < picture.image.size(); ++i) {
            sum += double{std::abs(picture.image.data()[i] - reference.image.data()[i])};
        }
        return sum / static_cast<double>(picture.image.size());
    };
    const double one = error(1), three = error(3), six = error(6);
    CHECK(three < 0.5 * one);
    CHECK(six < three);
    CHECK(three < 0.01);
}

TEST_CASE("pictures move less than an edge when the face moves a fraction of a pixel") {
    // What antialiasing is for: without it an edge pixel would jump by the full contrast.
    face_parameters face;
    face.person.look.hair = hair_style::bald;
    const rendering still = render(face, {.size = 64});
    face.camera.center_x += 0.1F * face.camera.view / 64.0F;
    const rendering moved = render(face, {.size = 64});
    float largest = 0.0F;
    for (std::size_t i = 0; i < still.image.size(); ++i) {
        largest = std::max(largest, std::abs(still.image.data()[i] - moved.image.data()[i]));
    }
    CHECK(largest > 0.0F);
    CHECK(largest < 0.25F);
}

TEST_CASE("tensorfaces holds the pictures of its parameters") {
    const tensorfaces_options set{.persons = 2, .views = 2, .lights = 2, .expressions = 2, .seed = 3};
    const render_options options{.size = 16, .samples = 2};
    const auto ensemble = tensorfaces(set, options, channels::rgb);
    REQUIRE(ensemble.dimension() == 5);
    CHECK(ensemble.shape(4) == 16 * 16 * 3);
    const face_set faces = make_tensorfaces_set(set);
    REQUIRE(faces.faces.size() == 16);
    const std::size_t index = 1 * 8 + 0 * 4 + 1 * 2 + 1;
    const rendering picture = render(faces.faces[index], options);
    for (std::size_t k = 0; k < picture.image.size(); ++k) {
        CHECK(ensemble(1, 0, 1, 1, k) == picture.image.data()[k]);
    }
    CHECK(identity_values(faces.faces[index].person) == identity_values(random_identity(3, 1)));
    CHECK(tensorfaces(set, options, channels::gray).shape(4) == 16 * 16);
}

TEST_CASE("structured sets name their levels") {
    const face_set set = make_expression_set({.persons = 2, .expressions = 6, .intensities = 4, .views = 2});
    REQUIRE(set.modes.size() == 4);
    CHECK(set.modes[1].levels ==
          std::vector<std::string>{"happiness", "disgust", "fear", "anger", "surprise", "sadness"});
    CHECK(set.modes[2].levels == std::vector<std::string>{"0.25", "0.50", "0.75", "1.00"});
    CHECK(set.faces.size() == 2 * 6 * 4 * 2);
    CHECK(set.faces[8 * 3 + 2 * 2 + 1].expression.basic[3] == doctest::Approx(0.75F));
    CHECK(set.faces[8 * 3 + 2 * 2 + 1].pose.yaw > 0.0F);
    CHECK_THROWS_AS(make_expression_set({.persons = 0}), moden::argument_error);
    CHECK_THROWS_AS(make_expression_set({.expressions = 7}), moden::argument_error);
    CHECK_THROWS_AS(make_tensorfaces_set({.lights = 9}), moden::argument_error);
    CHECK_THROWS_AS(make_random_set(0, 1), moden::argument_error);
}

TEST_CASE("parameters outside their range are refused") {
    CHECK_THROWS_AS(render({}, {.size = 7}), moden::argument_error);
    CHECK_THROWS_AS(render({}, {.samples = 0}), moden::argument_error);
    CHECK_THROWS_AS(render({}, {.samples = 9}), moden::argument_error);
    face_parameters face;
    face.pose.yaw = std::nanf("");
    CHECK_THROWS_AS(render(face), moden::argument_error);
    face = {};
    face.camera.view = 0.0F;
    CHECK_THROWS_AS(render(face), moden::argument_error);
}

namespace {

struct outcome {
    int code;
    std::string output, errors;
};

/// A folder of its own for one test, removed afterwards.
class scratch_folder {
public:
    scratch_folder() : path_(std::filesystem::temp_directory_path() / ("faces_tests_" + std::to_string(::getpid()))) {
        std::filesystem::create_directories(path_);
    }
    ~scratch_folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    scratch_folder(const scratch_folder&) = delete;
    scratch_folder& operator=(const scratch_folder&) = delete;
    const std::filesystem::path& path() const { return path_; }

private:
    std::filesystem::path path_;
};

std::string contents(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

outcome run_face_world(const std::string& arguments, const std::filesystem::path& folder) {
    const std::string command = std::string(FACE_WORLD_PROGRAM) + " " + arguments + " > '" +
                                (folder / "stdout").string() + "' 2> '" + (folder / "stderr").string() + "'";
    const int status = std::system(command.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, contents(folder / "stdout"), contents(folder / "stderr")};
}

}  // namespace

TEST_CASE("face_world writes a set with its ground truth, the same every time") {
    const scratch_folder folder;
    const std::string out = (folder.path() / "set").string();
    const outcome done =
        run_face_world("--set random --count 3 --size 16 --truth all --out '" + out + "'", folder.path());
    REQUIRE(done.code == 0);
    CHECK(done.errors.empty());
    for (const char* name : {"images", "identity", "expression", "actions", "gaze", "light", "light_color", "pose",
                             "camera", "landmarks_2d", "landmarks_3d", "landmarks_camera", "landmarks_visible", "depth",
                             "normals", "albedo", "shading", "labels"}) {
        CAPTURE(name);
        CHECK(std::filesystem::file_size(folder.path() / "set" / (std::string(name) + ".npy")) > 128);
    }
    CHECK(std::filesystem::exists(folder.path() / "set" / "contact_sheet.png"));
    CHECK(contents(folder.path() / "set" / "levels.json").find("\"happiness\"") != std::string::npos);
    const std::string images = contents(folder.path() / "set" / "images.npy");
    CHECK(images.size() == 128 + 3 * 16 * 16 * 3);
    REQUIRE(run_face_world("--set random --count 3 --size 16 --truth none --out '" + out + "2'", folder.path()).code ==
            0);
    CHECK(contents(folder.path() / "set2" / "images.npy") == images);
    CHECK(!std::filesystem::exists(folder.path() / "set2" / "depth.npy"));
}

TEST_CASE("face_world refuses bad arguments in one line and writes nothing") {
    const scratch_folder folder;
    const std::string out = " --out '" + (folder.path() / "set").string() + "'";
    for (const std::string& arguments :
         {std::string("--set faces") + out, std::string("--set random"),
          std::string("--set expressions --expressions 7") + out, std::string("--set tensorfaces --lights 9") + out,
          std::string("--set random --count 0") + out, std::string("--set random --size 4") + out,
          std::string("--set random --size huge") + out, std::string("--set random --persons 3") + out,
          std::string("--set expressions --lights 3") + out, std::string("--set random --shading nice") + out,
          std::string("--set tensorfaces --format uint8") + out, std::string("--set random --nonsense") + out, out,
          std::string("--set random --count 2 --out /dev/null/set")}) {
        CAPTURE(arguments);
        const outcome refused = run_face_world(arguments, folder.path());
        CHECK(refused.code == 2);
        CHECK(refused.output.empty());
        CHECK(refused.errors.rfind("face_world: ", 0) == 0);
        CHECK(std::count(refused.errors.begin(), refused.errors.end(), '\n') == 1);
        CHECK(!std::filesystem::exists(folder.path() / "set"));
    }
    const outcome help = run_face_world("--help", folder.path());
    CHECK(help.code == 0);
    CHECK(help.output.find("--truth") != std::string::npos);
}
