#pragma once

// Writing a set of faces to a folder: pictures, ground truth, names of the levels, and a sheet to look at.

#include "dataset.hpp"

#include <filesystem>

namespace faces {

enum class pixel_layout : std::uint8_t { picture, flat };  ///< ... x H x W x C, or ... x pixels
enum class pixel_format : std::uint8_t { uint8, float32 };

struct write_options {
    render_options render;
    pixel_layout layout = pixel_layout::picture;
    pixel_format format = pixel_format::uint8;
    channels colors = channels::rgb;
    std::string set_name;
    std::uint64_t seed = 1;
};

/// Renders a set and writes it into `folder`, which is created if needed. Files of the same names are replaced, all of
/// them at the end: nothing changes if anything fails or `progress` stops the work.
///
/// images.npy: modes x H x W x C or modes x pixels. levels.json: modes with their levels and names of factors, actions,
/// regions. contact_sheet.png. With truth `light`: identity, expression, actions, gaze, light, light_color, pose,
/// camera (2 x 4 projection), landmarks_2d, landmarks_3d (frame of the head), landmarks_camera, landmarks_visible. With
/// `all` also depth, normals, albedo, shading, labels. Everything is held in memory until it is written.
///
/// \return false if `progress` stopped it
/// \throws moden::io_error if the folder or a file cannot be written
bool write_set(const face_set& set, const std::filesystem::path& folder, const write_options& options,
               const render_progress& progress = {});

}  // namespace faces
