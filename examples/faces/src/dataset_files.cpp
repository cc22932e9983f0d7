#include "../dataset_files.hpp"

#include <moden/core/error.hpp>
#include <moden/io/atomic_file.hpp>
#include <moden/io/npy.hpp>
#include <moden/io/png.hpp>

#include <nlohmann/json.hpp>

#include <unistd.h>

namespace faces {
namespace {

using moden::detail::require;

/// A folder inside the target where files wait until all of them are complete.
class staging_folder {
public:
    explicit staging_folder(const std::filesystem::path& target) : target_(target) {
        std::error_code error;
        created_target_ = std::filesystem::create_directories(target, error);
        require<moden::io_error>(!error && std::filesystem::is_directory(target),
                                 "write_set: cannot create the folder '", target.string(), "'",
                                 error ? ": " + error.message() : std::string());
        path_ = target / (".face_world-" + std::to_string(::getpid()));
        std::filesystem::create_directory(path_, error);
        require<moden::io_error>(!error, "write_set: cannot write into the folder '", target.string(),
                                 "': ", error.message());
    }
    staging_folder(const staging_folder&) = delete;
    staging_folder& operator=(const staging_folder&) = delete;
    ~staging_folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
        if (created_target_ && !published_) {
            std::filesystem::remove(target_, ignored);
        }
    }
    const std::filesystem::path& path() const { return path_; }

    void publish() {
        for (const auto& entry : std::filesystem::directory_iterator(path_)) {
            const std::filesystem::path target = target_ / entry.path().filename();
            require<moden::io_error>(!std::filesystem::is_directory(target), "write_set: '", target.string(),
                                     "' is a folder");
        }
        for (const auto& entry : std::filesystem::directory_iterator(path_)) {
            std::error_code error;
            std::filesystem::rename(entry.path(), target_ / entry.path().filename(), error);
            require<moden::io_error>(!error, "write_set: cannot write '", (target_ / entry.path().filename()).string(),
                                     "': ", error.message());
        }
        published_ = true;
    }

private:
    std::filesystem::path target_, path_;
    bool created_target_ = false;
    bool published_ = false;
};

/// One quantity for all faces: modes x its own extents.
template <class T>
class gathered {
public:
    gathered(const moden::extents& modes, const moden::extents& own) {
        moden::extents shape = modes;
        shape.insert(shape.end(), own.begin(), own.end());
        values_ = moden::dynamic_tensor<T>(shape);
        stride_ = 1;
        for (const std::size_t extent : own) {
            stride_ *= extent;
        }
    }
    T* at(std::size_t face) { return values_.data() + face * stride_; }
    template <class Range>
    void store(std::size_t face, const Range& range) {
        require<moden::shape_error>(static_cast<std::size_t>(range.end() - range.begin()) == stride_,
                                    "write_set: a quantity of unexpected size");
        std::copy(range.begin(), range.end(), at(face));
    }
    void save(const std::filesystem::path& path) const { moden::io::save_npy(path, values_); }

private:
    moden::dynamic_tensor<T> values_;
    std::size_t stride_;
};

std::array<float, 3> as_array(const vec3& v) { return {v.x, v.y, v.z}; }

/// Quantities that are known before anything is rendered.
void save_factors(const face_set& set, const moden::extents& modes, const std::filesystem::path& folder) {
    gathered<float> person(modes, {identity_names().size()}), basic(modes, {basic_expression_count}),
        actions(modes, {action_count}), gaze(modes, {2}), light(modes, {9}), color(modes, {3}), pose(modes, {3});
    for (std::size_t i = 0; i < set.faces.size(); ++i) {
        const face_parameters& face = set.faces[i];
        person.store(i, identity_values(face.person));
        basic.store(i, face.expression.basic);
        actions.store(i, face.expression.weights());
        gaze.store(i, std::array<float, 2>{face.expression.gaze_right, face.expression.gaze_up});
        light.store(i, face.light.coefficients);
        color.store(i, as_array(face.light.color));
        pose.store(i, std::array<float, 3>{face.pose.yaw, face.pose.pitch, face.pose.roll});
    }
    person.save(folder / "identity.npy");
    basic.save(folder / "expression.npy");
    actions.save(folder / "actions.npy");
    gaze.save(folder / "gaze.npy");
    light.save(folder / "light.npy");
    color.save(folder / "light_color.npy");
    pose.save(folder / "pose.npy");
}

template <class Names>
nlohmann::ordered_json names_of(const Names& names) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const auto& name : names) {
        list.push_back(std::string(name));
    }
    return list;
}

std::string describe(const face_set& set, const write_options& options) {
    nlohmann::ordered_json json;
    json["set"] = options.set_name;
    json["seed"] = options.seed;
    json["faces"] = set.faces.size();
    json["size"] = options.render.size;
    json["channels"] = options.colors == channels::rgb ? 3 : 1;
    json["layout"] = options.layout == pixel_layout::flat ? "flat" : "picture";
    json["values"] = options.format == pixel_format::uint8 ? "sRGB, 0 to 255" : "sRGB, 0 to 1";
    json["shading"] = options.render.self_shadow == self_shadow::on ? "full" : "lambertian";
    json["modes"] = nlohmann::ordered_json::array();
    for (const mode_levels& mode : set.modes) {
        nlohmann::ordered_json entry;
        entry["name"] = mode.name;
        if (!mode.levels.empty()) {
            entry["levels"] = mode.levels;
        }
        json["modes"].push_back(entry);
    }
    json["identity"] = identity_names();
    json["hair_styles"] = names_of(hair_style_names);
    json["expression"] = names_of(basic_expression_names);
    json["actions"] = names_of(action_names);
    json["pose"] = {"yaw", "pitch", "roll"};
    json["regions"] = names_of(region_names);
    json["units"] = "centimetres, radians, pixels";
    return json.dump(2) + "\n";
}

/// Which faces the contact sheet shows: up to 12 levels of the first mode as rows, up to 24 of the others spread
/// evenly.
std::vector<std::size_t> sheet_faces(const face_set& set, const moden::extents& modes, std::size_t& columns) {
    std::vector<std::size_t> chosen;
    if (modes.size() == 1) {
        columns = std::min<std::size_t>(16, set.faces.size());
        for (std::size_t i = 0; i < std::min<std::size_t>(set.faces.size(), 8 * columns); ++i) {
            chosen.push_back(i);
        }
        return chosen;
    }
    const std::size_t per_row = set.faces.size() / modes[0];
    columns = std::min<std::size_t>(24, per_row);
    for (std::size_t row = 0; row < std::min<std::size_t>(12, modes[0]); ++row) {
        for (std::size_t column = 0; column < columns; ++column) {
            chosen.push_back(row * per_row + column * per_row / columns);
        }
    }
    return chosen;
}

}  // namespace

bool write_set(const face_set& set, const std::filesystem::path& folder, const write_options& options,
               const render_progress& progress) {
    staging_folder staging(folder);
    const std::filesystem::path& out = staging.path();
    moden::extents modes;
    for (const mode_levels& mode : set.modes) {
        modes.push_back(mode.levels.empty() ? set.faces.size() : mode.levels.size());
    }
    const std::size_t n = options.render.size;
    const std::size_t depth = options.colors == channels::rgb ? 3 : 1;
    const moden::extents pixels =
        options.layout == pixel_layout::flat ? moden::extents{n * n * depth} : moden::extents{n, n, depth};
    const bool bytes = options.format == pixel_format::uint8;
    const bool light = options.render.truth != truth::none;
    const bool maps = options.render.truth == truth::all;
    const auto when = [](bool wanted, moden::extents extents) { return wanted ? extents : moden::extents{0}; };
    gathered<std::uint8_t> images8(modes, when(bytes, pixels)), labels(modes, when(maps, {n, n})),
        visible(modes, when(light, {landmark_count}));
    gathered<float> images(modes, when(!bytes, pixels)), depths(modes, when(maps, {n, n})),
        normals(modes, when(maps, {n, n, 3})), albedo(modes, when(maps, {n, n, 3})), shading(modes, when(maps, {n, n})),
        points2(modes, when(light, {landmark_count, 2})), points3(modes, when(light, {landmark_count, 3})),
        turned(modes, when(light, {landmark_count, 3})), camera(modes, when(light, {2, 4}));
    std::size_t columns = 1;
    const std::vector<std::size_t> chosen = sheet_faces(set, modes, columns);
    std::vector<moden::tensor<std::uint8_t, 3>> pictures(chosen.size());
    std::vector<float> flat(n * n * depth);

    const bool finished = render_all(
        set.faces, options.render,
        [&](std::size_t i, rendering&& picture) {
            flatten_pixels(picture.image, options.colors, flat.data());
            if (bytes) {
                std::transform(flat.begin(), flat.end(), images8.at(i), to_byte);
            } else {
                images.store(i, flat);
            }
            const auto shown = std::lower_bound(chosen.begin(), chosen.end(), i);
            if (shown != chosen.end() && *shown == i) {
                pictures[static_cast<std::size_t>(shown - chosen.begin())] = to_bytes(picture.image);
            }
            if (light) {
                visible.store(i, picture.visible);
                points2.store(i, picture.landmarks_2d);
                points3.store(i, picture.landmarks_object);
                turned.store(i, picture.landmarks_camera);
                camera.store(i, picture.projection);
            }
            if (maps) {
                labels.store(i, picture.labels);
                depths.store(i, picture.depth);
                normals.store(i, picture.normals);
                albedo.store(i, picture.albedo);
                shading.store(i, picture.shading);
            }
        },
        progress);
    if (!finished) {
        return false;
    }

    bytes ? images8.save(out / "images.npy") : images.save(out / "images.npy");
    if (light) {
        save_factors(set, modes, out);
        visible.save(out / "landmarks_visible.npy");
        points2.save(out / "landmarks_2d.npy");
        points3.save(out / "landmarks_3d.npy");
        turned.save(out / "landmarks_camera.npy");
        camera.save(out / "camera.npy");
    }
    if (maps) {
        labels.save(out / "labels.npy");
        depths.save(out / "depth.npy");
        normals.save(out / "normals.npy");
        albedo.save(out / "albedo.npy");
        shading.save(out / "shading.npy");
    }
    moden::io::write_png(out / "contact_sheet.png", contact_sheet(pictures, columns));
    moden::io::atomic_file levels(out / "levels.json", "write_set");
    levels.write(describe(set, options));
    levels.commit();
    staging.publish();
    return true;
}

}  // namespace faces
