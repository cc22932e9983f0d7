#pragma once

// Dendrograms: the tree of a hierarchical clustering, with pictures or numbers of the samples below it.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include <moden/clustering/ward_linkage.hpp>

#include "canvas.hpp"
#include "plot.hpp"

namespace examples {

struct dendrogram {
    std::string title = {};
    std::string note = {};    ///< smaller line below the title
    std::string height = {};  ///< what the vertical axis shows
    moden::cluster_tree tree = {};
    std::vector<std::string> labels = {};             ///< of every sample
    std::vector<std::size_t> clusters = {};           ///< of every sample, for colours; empty: one colour
    std::vector<std::vector<picture>> pictures = {};  ///< of every sample, one below the other; may be empty
};

/// Numbers of clusters in the order in which a dendrogram shows them, from the left.
inline std::vector<std::size_t> clusters_from_the_left(const moden::cluster_tree& tree, const std::vector<std::size_t>& clusters) {
    const std::size_t none = clusters.size();
    std::vector<std::size_t> number(clusters.size(), none), result(clusters.size());
    std::size_t next = 0;
    for (const std::size_t leaf : moden::leaf_order(tree)) {
        std::size_t& mine = number[clusters[leaf]];
        mine = mine == none ? next++ : mine;
        result[leaf] = mine;
    }
    return result;
}

/// Draws a dendrogram, as wide as its leaves ask for: every merge is a bracket at its height. Brackets within a cluster have its colour.
/// More than 300 leaves are drawn without names and pictures.
inline canvas draw(const dendrogram& d) {
    constexpr double text_size = 9, left = 62, tree_height = 300, picture_size = 44, gap = 4;
    constexpr std::size_t most_with_names = 300;
    const std::size_t leaves = d.tree.samples;
    const bool named = leaves <= most_with_names;
    std::size_t rows = 0;
    double step = 5;
    for (std::size_t i = 0; i < leaves && named; ++i) {
        rows = std::max(rows, d.pictures.empty() ? 0 : d.pictures[i].size());
        step = std::max({step, canvas::text_width(d.labels[i], text_size) + 8, rows > 0 ? picture_size + gap : 18});
    }
    const double top = d.note.empty() ? 44 : 62, bottom = top + tree_height;
    const double width = std::max({left + step * static_cast<double>(leaves) + 16, canvas::text_width(d.title, 12) + 32,
                                   canvas::text_width(d.note, text_size) + 32});
    canvas result(static_cast<std::size_t>(bottom + 30 + static_cast<double>(rows) * (picture_size + gap) + 8), static_cast<std::size_t>(width));
    result.text(16, 24, d.title, 12);
    result.text(16, 42, d.note, text_size, faint);
    result.text(left, top - 6, d.height, text_size, faint);

    const double highest = d.tree.merges.empty() ? 0 : d.tree.merges.back().height;
    const detail::scale scale({}, 0, highest > 0 ? 1.04 * highest : 1, 6);
    const auto y_of = [&](double height) { return bottom - scale.position(height) * (tree_height - 8); };
    for (const auto& tick : scale.ticks()) {
        const double y = bottom - tick.position * (tree_height - 8);
        result.lines({{left, y}, {width - 12, y}}, 1, grid_gray);
        result.text(left - 8, y + text_size / 2, tick.text, text_size, ink, align::right);
    }

    struct node {
        double x = 0, height = 0;
        bool mixed = false;  ///< of several clusters
        std::size_t cluster = 0;
    };
    std::vector<node> nodes(leaves);
    const std::vector<std::size_t> order = moden::leaf_order(d.tree);
    const auto paint_of = [&](const node& n) {
        return d.clusters.empty() ? palette[0] : n.mixed ? faint : palette[n.cluster % std::size(palette)];
    };
    for (std::size_t i = 0; i < order.size(); ++i) {
        const std::size_t leaf = order[i];
        nodes[leaf] = {left + step * (static_cast<double>(i) + 0.5), 0, false, d.clusters.empty() ? 0 : d.clusters[leaf]};
        if (named) {
            result.text(nodes[leaf].x, bottom + 18, d.labels[leaf], text_size, paint_of(nodes[leaf]), align::center);
        }
        for (std::size_t row = 0; row < rows && row < d.pictures[leaf].size(); ++row) {
            result.paste(d.pictures[leaf][row], static_cast<std::size_t>(nodes[leaf].x - picture_size / 2),
                         static_cast<std::size_t>(bottom + 28 + static_cast<double>(row) * (picture_size + gap)),
                         static_cast<std::size_t>(picture_size), static_cast<std::size_t>(picture_size));
        }
    }
    for (const moden::cluster_merge& merge : d.tree.merges) {
        const node a = nodes[merge.first], b = nodes[merge.second];
        const node joined{(a.x + b.x) / 2, merge.height, a.mixed || b.mixed || a.cluster != b.cluster, a.cluster};
        const double y = y_of(joined.height);
        result.lines({{a.x, y_of(a.height)}, {a.x, y}}, 2, paint_of(a));
        result.lines({{b.x, y_of(b.height)}, {b.x, y}}, 2, paint_of(b));
        result.lines({{a.x, y}, {b.x, y}}, 2, paint_of(joined));
        nodes.push_back(joined);
    }
    return result;
}

}  // namespace examples
