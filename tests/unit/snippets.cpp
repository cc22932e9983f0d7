// The examples of the documentation are regions of tests. A header that names one that does not exist, or a region that
// is never checked, would be found by nobody else.

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace {

namespace fs = std::filesystem;

const fs::path project = fs::path(__FILE__).parent_path().parent_path().parent_path();

std::vector<std::string> lines_of(const fs::path& path) {
    std::ifstream file(path);
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) {
        lines.push_back(line);
    }
    return lines;
}

bool contains(const std::string& line, const std::string& part) {
    return line.find(part) != std::string::npos;
}

struct reference_to_region {
    fs::path header;
    std::string file;
    std::string region;
};

/// Every "\snippet FILE REGION" of the public headers.
std::vector<reference_to_region> references() {
    std::vector<reference_to_region> result;
    for (const auto& entry : fs::recursive_directory_iterator(project / "include")) {
        if (!entry.is_regular_file()) {
            continue;
        }
        for (const std::string& line : lines_of(entry.path())) {
            const std::string command = "\\snippet ";
            const std::size_t at = line.find(command);
            if (at == std::string::npos) {
                continue;
            }
            reference_to_region found{entry.path().lexically_relative(project), {}, {}};
            std::istringstream(line.substr(at + command.size())) >> found.file >> found.region;
            result.push_back(found);
        }
    }
    return result;
}

/// Numbers of the lines that delimit a region.
std::vector<std::size_t> delimiters(const std::vector<std::string>& lines, const std::string& region) {
    std::vector<std::size_t> result;
    for (std::size_t i = 0; i < lines.size(); ++i) {
        if (contains(lines[i], "//! [" + region + "]")) {
            result.push_back(i);
        }
    }
    return result;
}

}  // namespace

TEST_CASE("the sources lie where they were when this was compiled") {
    REQUIRE(fs::is_directory(project / "include" / "moden"));
    REQUIRE(references().size() >= 20);  // otherwise the search itself is broken
}

TEST_CASE("every example that a header refers to exists, is short, and is followed by a check") {
    for (const auto& one : references()) {
        const auto& header = one.header;
        const auto& file = one.file;
        const auto& region = one.region;
        CAPTURE(header.string());
        CAPTURE(file);
        CAPTURE(region);
        const auto lines = lines_of(project / file);
        REQUIRE(!lines.empty());
        const auto ends = delimiters(lines, region);
        REQUIRE(ends.size() == 2);
        const std::size_t length = ends[1] - ends[0] - 1;
        CHECK(length >= 1);
        CHECK(length <= 15);
        bool calls_something = false;
        for (std::size_t i = ends[0] + 1; i < ends[1]; ++i) {
            CHECK(!contains(lines[i], "CHECK("));  // belongs to the test, not to the example
            CHECK(!contains(lines[i], "REQUIRE("));
            calls_something = calls_something || contains(lines[i], "moden::") ||
                              contains(lines[i], "stylegan2::");
        }
        CHECK(calls_something);
        // Between the end of the region and the end of the test: something has to be checked.
        bool checked = false;
        for (std::size_t i = ends[1] + 1; i < lines.size() && lines[i] != "}"; ++i) {
            checked = checked || contains(lines[i], "CHECK") || contains(lines[i], "REQUIRE");
        }
        CHECK(checked);
    }
}

TEST_CASE("every region of a test in this folder is shown by some header") {
    const auto shown = references();
    for (const auto& entry : fs::directory_iterator(project / "tests" / "unit")) {
        for (const std::string& line : lines_of(entry.path())) {
            const std::string opening = "    //! [";
            if (line.rfind(opening, 0) != 0) {
                continue;
            }
            const std::string region = line.substr(opening.size(), line.find(']') - opening.size());
            const std::string file = "tests/unit/" + entry.path().filename().string();
            CAPTURE(file);
            CAPTURE(region);
            CHECK(std::any_of(shown.begin(), shown.end(),
                              [&](const auto& one) { return one.file == file && one.region == region; }));
        }
    }
}
