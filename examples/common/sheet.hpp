#pragma once

// Contact sheets: pictures in rows and columns with names above, at the side and below.

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "canvas.hpp"

namespace examples {

/// A picture of a sheet. Without a picture the place stays empty.
struct sheet_cell {
    std::optional<picture> image = std::nullopt;
    std::string caption = {};
};

struct sheet_row {
    std::string label = {};
    std::vector<sheet_cell> cells = {};
    double space_below = 0;  ///< pixels, to set groups of rows apart
};

struct sheet {
    std::string title = {};
    std::vector<std::string> notes = {};    ///< smaller lines below the title
    std::vector<std::string> columns = {};  ///< names above the columns; may be empty
    std::vector<sheet_row> rows = {};
    std::size_t cell_height = 128;  ///< pictures are resized to this
    std::size_t cell_width = 128;
};

/// Draws a sheet, as large as its cells ask for.
inline canvas draw(const sheet& s) {
    constexpr double text_size = 9;
    constexpr double gap = 6;
    std::size_t columns = s.columns.size();
    double label_width = 0;
    double rows_height = 0;
    const auto row_height = [&](const sheet_row& row) {
        const bool captions = std::any_of(row.cells.begin(), row.cells.end(),
                                          [](const sheet_cell& cell) { return !cell.caption.empty(); });
        return static_cast<double>(s.cell_height) + gap + (captions ? 18 : 0) + row.space_below;
    };
    for (const sheet_row& row : s.rows) {
        columns = std::max(columns, row.cells.size());
        label_width = std::max(label_width, canvas::text_width(row.label, text_size + 1));
        rows_height += row_height(row);
    }
    const double left = 16 + (label_width > 0 ? label_width + 14 : 0);
    const double top =
        (s.title.empty() ? 12 : 38) + 18 * static_cast<double>(s.notes.size()) + (s.columns.empty() ? 4 : 24);
    const double step_x = static_cast<double>(s.cell_width) + gap;
    double needed = left + step_x * static_cast<double>(columns) + 10;
    needed = std::max(needed, canvas::text_width(s.title, 12) + 32);
    for (const std::string& note : s.notes) {
        needed = std::max(needed, canvas::text_width(note, text_size) + 32);
    }
    canvas result(static_cast<std::size_t>(top + rows_height + 8), static_cast<std::size_t>(needed));
    result.text(16, 26, s.title, 12);
    for (std::size_t i = 0; i < s.notes.size(); ++i) {
        result.text(16, 46 + 18 * static_cast<double>(i), s.notes[i], text_size, faint);
    }
    for (std::size_t c = 0; c < s.columns.size(); ++c) {
        result.text(left + step_x * static_cast<double>(c) + static_cast<double>(s.cell_width) / 2, top - 8,
                    s.columns[c], text_size, ink, align::center);
    }
    double y = top;
    for (const sheet_row& row : s.rows) {
        result.text(left - 14, y + static_cast<double>(s.cell_height) / 2 + text_size / 2, row.label, text_size + 1,
                    ink, align::right);
        for (std::size_t c = 0; c < row.cells.size(); ++c) {
            const sheet_cell& cell = row.cells[c];
            const double x = left + step_x * static_cast<double>(c);
            if (cell.image) {
                result.paste(*cell.image, static_cast<std::size_t>(x), static_cast<std::size_t>(y), s.cell_height,
                             s.cell_width);
            }
            result.text(x + static_cast<double>(s.cell_width) / 2, y + static_cast<double>(s.cell_height) + 15,
                        cell.caption, text_size, faint, align::center);
        }
        y += row_height(row);
    }
    return result;
}

}  // namespace examples
