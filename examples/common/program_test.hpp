#pragma once

// For tests of programs: runs one and keeps what it said.

#include <doctest/doctest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace examples {

/// What a program left behind.
struct outcome {
    int exit_code = -1;
    std::string out;
    std::string err;
};

inline std::string contents_of(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// A folder for one test that is gone afterwards.
class scratch_folder {
public:
    scratch_folder() {
        std::string name = (std::filesystem::temp_directory_path() / "moden-test-XXXXXX").string();
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        path_ = name;
    }
    scratch_folder(const scratch_folder&) = delete;
    scratch_folder& operator=(const scratch_folder&) = delete;
    ~scratch_folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
    const std::filesystem::path& path() const { return path_; }

private:
    std::filesystem::path path_;
};

/// A word of a shell command line.
inline std::string quoted(const std::string& word) {
    std::string result = "'";
    for (const char c : word) {
        result += c == '\'' ? std::string("'\\''") : std::string(1, c);
    }
    return result + "'";
}

/// Runs a program through the shell; neither of its outputs is a terminal.
/// \param before  shell commands that come first, such as "ulimit -f 1;"
inline outcome run(const std::string& program, const std::vector<std::string>& arguments,
                   const std::string& before = {}) {
    const scratch_folder folder;
    std::string command = before + " exec " + quoted(program);
    for (const std::string& argument : arguments) {
        command += " " + quoted(argument);
    }
    command += " </dev/null >" + quoted((folder / "out").string()) + " 2>" + quoted((folder / "err").string());
    const int status = std::system(command.c_str());
    outcome result;
    result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    result.out = contents_of(folder / "out");
    result.err = contents_of(folder / "err");
    return result;
}

/// Checks that a program refused: exit code 2, one line on stderr that starts with its name, nothing on stdout.
/// \param words  what the line must mention
inline void check_refused(const outcome& result, const std::string& name, const std::string& words) {
    CHECK(result.exit_code == 2);
    CHECK(result.out == "");
    CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
    CHECK(result.err.ends_with('\n'));
    CHECK(result.err.starts_with(name + ": "));
    CHECK_MESSAGE(result.err.find(words) != std::string::npos, result.err);
}

/// Names of everything in a folder, hidden files included, sorted.
inline std::vector<std::string> names_in(const std::filesystem::path& folder) {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
}

}  // namespace examples
