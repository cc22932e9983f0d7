#pragma once

// The deformable head: mean plus linear displacement bases for skin, eyes, mouth, ears and every hair style, its
// landmarks, and how much light each vertex loses to the rest of the head.

#include "appearance.hpp"
#include "deformation.hpp"
#include "hair.hpp"
#include "head_mesh.hpp"
#include "parameters.hpp"

#include <array>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace faces {

/// A mesh whose vertices are mean + sum_k shape_k S_k + sum_a weight_a A_a.
class linear_mesh {
public:
    explicit linear_mesh(rest_mesh rest);

    const std::vector<rest_vertex>& rest() const { return rest_.vertices; }
    const std::vector<triangle>& triangles() const { return rest_.triangles; }

    /// Writes the deformed vertices to `out` (one per rest vertex).
    void evaluate(std::span<const float, shape_mode_count> shape, std::span<const float, action_count> weights,
                  std::span<vec3> out) const;

private:
    /// A displacement field, stored for the range of vertices where it is not zero.
    struct field {
        std::size_t first = 0;
        std::vector<vec3> values;
    };
    template <class Displacement>
    field make_field(const Displacement& displacement) const;

    rest_mesh rest_;
    std::array<field, shape_mode_count> shape_;
    std::array<field, action_count> actions_;
};

/// What a vertex loses, per light coefficient, because other parts of the mean head hide part of its surroundings:
/// shading = E(n) / pi + sum_k L_k loss_k, with the light in the frame of the head.
using occlusion = std::array<float, 9>;

inline constexpr std::size_t landmark_count = 68;

class head_model {
public:
    /// The one head; built on first use, constant afterwards, safe to share between threads.
    static const head_model& get();

    const linear_mesh& head() const { return head_; }
    /// Creases that actions draw: one weight per head vertex, or an empty list for actions without creases.
    const std::vector<float>& crease(action which) const { return creases_[static_cast<std::size_t>(which)]; }
    /// What each triangle of the head belongs to.
    const std::vector<part>& triangle_parts() const { return triangle_parts_; }
    /// Triangles of the lower face, 1 where the back side may show through the open mouth.
    const std::vector<std::uint8_t>& around_mouth() const { return around_mouth_; }
    /// Slow changes of skin colour, one per head vertex.
    const std::vector<skin_tint>& tint() const { return tint_; }
    /// Vertices of the head that are landmarks, in the usual order of 68: jaw 0-16, brows 17-26, nose 27-35, eyes
    /// 36-47, outer lips 48-59, inner lips 60-67. Picture left comes first.
    const std::array<std::uint32_t, landmark_count>& landmarks() const { return landmarks_; }

    /// A hair style with its shell and what it does to the light; built on first use.
    struct style {
        hair_mesh hair;
        std::unique_ptr<linear_mesh> shell;  ///< empty for bald heads
        std::vector<occlusion> head_loss;    ///< one per head vertex
        std::vector<occlusion> hair_loss;    ///< one per hair vertex
    };
    const style& hair(hair_style which) const;

    head_model(const head_model&) = delete;
    head_model& operator=(const head_model&) = delete;

private:
    head_model();
    void build_style(hair_style which, style& result) const;

    linear_mesh head_;
    std::array<std::vector<float>, action_count> creases_;
    std::vector<skin_tint> tint_;
    std::vector<part> triangle_parts_;
    std::vector<std::uint8_t> around_mouth_;
    std::array<std::uint32_t, landmark_count> landmarks_{};
    mutable std::array<style, hair_style_names.size()> styles_;
    mutable std::array<std::once_flag, hair_style_names.size()> built_;
};

/// Unit normals of the vertices of a mesh, averaged over the adjacent triangles by area.
void vertex_normals(std::span<const vec3> positions, std::span<const triangle> triangles, std::span<vec3> normals);

}  // namespace faces
