#pragma once

// A progress bar on stderr. It appears on terminals only and is gone when the work is done.

#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <string>

namespace examples {

/// One bar for one piece of work.
class progress_bar {
public:
    /// \param label  what is being done
    explicit progress_bar(std::string label) : label_(std::move(label)), visible_(::isatty(STDERR_FILENO) != 0) {}
    progress_bar(const progress_bar&) = delete;
    progress_bar& operator=(const progress_bar&) = delete;
    ~progress_bar() {
        if (drawn_) {
            std::fputs("\r\033[K", stderr);
        }
    }

    /// Shows that `done` of `total` steps are complete, at most ten times a second.
    /// \param note  more to say, for instance the error reached so far
    /// \return      true, so that it can be the last line of a callback that is asked whether to go on
    bool update(std::size_t done, std::size_t total, const std::string& note = {}) {
        const auto now = std::chrono::steady_clock::now();
        if (!visible_ || total == 0 || (drawn_ && done < total && now - last_ < std::chrono::milliseconds(100))) {
            return true;
        }
        constexpr std::size_t width = 30;
        const std::size_t filled = width * (done < total ? done : total) / total;
        std::fprintf(stderr, "\r%s [%s%s] %zu/%zu %s\033[K", label_.c_str(), std::string(filled, '=').c_str(),
                     std::string(width - filled, ' ').c_str(), done, total, note.c_str());
        drawn_ = true;
        last_ = now;
        return true;
    }

private:
    std::string label_;
    bool visible_;
    bool drawn_ = false;
    std::chrono::steady_clock::time_point last_{};
};

}  // namespace examples
