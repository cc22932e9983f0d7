#pragma once

// A folder of results that appears complete or not at all.

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <moden/core/error.hpp>

namespace examples {

/// Results wait in a temporary folder until all of them are written; then they are moved to where they belong.
///
/// A new folder comes into being with a single rename. In a folder that exists already the files are exchanged one by
/// one, and put back as they were if one of the moves fails. Files that do not belong to the results are left alone.
class output_folder {
public:
    /// Finds out whether the folder can be written, before any long computation. Leaves nothing behind.
    /// \throws moden::io_error if it cannot
    explicit output_folder(std::filesystem::path folder) : folder_(std::move(folder)) {
        using moden::detail::require;
        require<moden::io_error>(!folder_.empty(), "--out: the name of the folder is empty");
        std::error_code ignored;
        existing_ = std::filesystem::absolute(folder_).lexically_normal();
        if (!existing_.has_filename()) {
            existing_ = existing_.parent_path();  // "results/" and "results" are the same folder
        }
        folder_ = existing_;
        while (!std::filesystem::exists(std::filesystem::status(existing_, ignored)) && existing_.has_relative_path()) {
            existing_ = existing_.parent_path();
        }
        require<moden::io_error>(std::filesystem::is_directory(existing_, ignored), "--out '", folder_.string(), "': '",
                                 existing_.string(), "' is not a folder");
        const staging probe(existing_);  // the surest way to know whether the folder can be written
    }

    /// Calls `write(temporary folder)` and publishes the files that it has left there.
    /// \param is_stale  whether a file of this name, found in the folder but not among the new ones, is left over from
    ///                  an earlier run and to be removed
    /// \throws moden::io_error if a file cannot be moved; whatever `write` throws. The folder is as it was then.
    void publish(const std::function<void(const std::filesystem::path&)>& write,
                 const std::function<bool(const std::string&)>& is_stale = {}) const {
        const staging temporary(existing_);
        write(temporary.fresh());
        if (existing_ == folder_) {
            exchange(temporary, is_stale);
            return;
        }
        // Parents that are missing are created inside the temporary folder, so that one rename brings all of them.
        const std::filesystem::path missing = folder_.lexically_relative(existing_);
        const std::filesystem::path first = *missing.begin();
        std::filesystem::path source = temporary.fresh();
        if (missing != first) {
            source = temporary.path() / "parents" / first;
            std::filesystem::create_directories((temporary.path() / "parents" / missing).parent_path());
            std::filesystem::rename(temporary.fresh(), temporary.path() / "parents" / missing);
        }
        std::filesystem::rename(source, existing_ / first);
    }

    /// Refuses to replace a file that is being read.
    /// \param is_result  whether a file of this name is among what will be published
    /// \throws moden::io_error if the input would be one of the results
    void keep_input(const std::string& input, const std::function<bool(const std::string&)>& is_result) const {
        std::error_code ignored;
        const auto file = std::filesystem::absolute(input, ignored);
        moden::detail::require<moden::io_error>(
            input.empty() || !is_result(file.filename().string()) || !std::filesystem::equivalent(file.parent_path(), folder_, ignored), "'", input,
            "' would be replaced by the results (expected another --out)");
    }

    /// The folder as an absolute path.
    const std::filesystem::path& path() const { return folder_; }

private:
    /// A temporary folder with a place for new files and one for old files.
    class staging {
    public:
        explicit staging(const std::filesystem::path& where) {
            const auto fail = [&](const std::error_code& reason) {
                throw moden::io_error(
                    moden::detail::message("--out: cannot write into '", where.string(), "': ", reason.message()));
            };
            std::string name = (where / ".moden-XXXXXX").string();
            if (::mkdtemp(name.data()) == nullptr) {
                fail({errno, std::generic_category()});
            }
            path_ = name;
            std::error_code failure;
            const std::filesystem::path parts[] = {fresh(), old()};  // nvcc may drop the braces of an unnamed list
            for (const auto& part : parts) {
                if (!std::filesystem::create_directory(part, failure) || failure) {
                    std::error_code ignored;
                    std::filesystem::remove_all(path_, ignored);
                    fail(failure);
                }
            }
        }
        staging(const staging&) = delete;
        staging& operator=(const staging&) = delete;
        ~staging() {
            std::error_code ignored;
            std::filesystem::remove_all(path_, ignored);
        }
        const std::filesystem::path& path() const { return path_; }
        std::filesystem::path fresh() const { return path_ / "new"; }
        std::filesystem::path old() const { return path_ / "old"; }

    private:
        std::filesystem::path path_;
    };

    void exchange(const staging& temporary, const std::function<bool(const std::string&)>& is_stale) const {
        std::vector<std::filesystem::path> fresh;
        std::vector<std::filesystem::path> replaced;
        for (const auto& entry : std::filesystem::directory_iterator(temporary.fresh())) {
            fresh.push_back(entry.path().filename());
        }
        for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
            const std::filesystem::path name = entry.path().filename();
            const bool renewed = std::filesystem::exists(temporary.fresh() / name);
            if (renewed || (is_stale && is_stale(name.string()) && entry.is_regular_file())) {
                moden::detail::require<moden::io_error>(!entry.is_directory(), "--out: '", entry.path().string(),
                                                        "' is a folder, where a file is to be written");
                replaced.push_back(name);
            }
        }
        std::vector<std::pair<std::filesystem::path, std::filesystem::path>> done;
        const auto move = [&](const std::filesystem::path& from, const std::filesystem::path& to) {
            std::filesystem::rename(from, to);
            done.emplace_back(from, to);
        };
        try {
            for (const auto& name : replaced) {
                move(folder_ / name, temporary.old() / name);
            }
            for (const auto& name : fresh) {
                move(temporary.fresh() / name, folder_ / name);
            }
        } catch (const std::filesystem::filesystem_error& error) {
            for (auto step = done.rbegin(); step != done.rend(); ++step) {
                std::error_code ignored;
                std::filesystem::rename(step->second, step->first, ignored);
            }
            throw moden::io_error(moden::detail::message("--out: cannot move the results into '", folder_.string(),
                                                         "': ", error.code().message()));
        }
    }

    std::filesystem::path folder_;
    std::filesystem::path existing_;  ///< the folder itself, or the nearest parent that exists
};

}  // namespace examples
