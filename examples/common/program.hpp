#pragma once

// How the example programs begin and end: 0 when all went well; otherwise exit code 2 and exactly one line on stderr.

#include <CLI/CLI.hpp>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>

namespace examples {

/// Input that the program refuses; the message names the option and what was expected.
class usage_error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// The text without line breaks or other control characters, which names of files may contain.
inline std::string one_line(std::string text) {
    std::replace_if(
        text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
    return text;
}

/// Parses the command line, then runs `body`. Whatever either of them throws becomes one line and exit code 2.
///
/// \param app   options, all of them already added; app.get_name() starts the line
/// \param body  what the program does; prints to stdout
/// \return      the exit code of the program: 0 or 2
template <class Body>
int run_program(CLI::App& app, int argc, char** argv, const Body& body) {
    // A write beyond the limit on file size is to fail, not to end the program with files half written.
    std::signal(SIGXFSZ, SIG_IGN);
    const auto fail = [&](const std::string& text) {
        std::fprintf(stderr, "%s: %s\n", app.get_name().c_str(), one_line(text).c_str());
        return 2;
    };
    try {
        try {
            app.parse(argc, argv);
            body();
        } catch (const CLI::Success& asked_for_help) {
            app.exit(asked_for_help);
        } catch (const CLI::ParseError& error) {
            return fail(std::string(error.what()) + " (see " + app.get_name() + " --help)");
        }
        if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
            return fail("cannot write to standard output");
        }
        return 0;
    } catch (const std::bad_alloc&) {
        return fail("not enough memory");
    } catch (const std::exception& error) {
        return fail(error.what());
    }
}

}  // namespace examples
