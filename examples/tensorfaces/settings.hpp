#pragma once

// What the command line of tensorfaces says.

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <moden/core/extents.hpp>

#include "../common/program.hpp"
#include "../faces/dataset.hpp"

namespace tensorfaces {

struct settings {
    std::string out;
    std::string input;               ///< empty: rendered
    std::size_t picture_height = 0;  ///< of the user's own pictures; 0: square
    std::size_t picture_width = 0;
    std::size_t persons = 24, views = 5, lights = 5, expressions = 4, size = 64;
    std::size_t unseen = 4;  ///< persons the model never sees
    std::uint64_t seed = 1;
    faces::channels colors = faces::channels::rgb;
    moden::extents ranks;  ///< empty: all people, views, lights and expressions, at most 300 pixel dimensions
};

class command_line {
public:
    explicit command_line(settings& result) : settings_(result) {
        app_.name("tensorfaces");
        app_.description(
            "TensorFaces: factorises an ensemble people x views x lights x expressions x pixels,\n"
            "T = S x_0 U_people x_1 U_views x_2 U_lights x_3 U_expressions x_4 U_pixels,\n"
            "and writes what the factors look like, how the error falls with the ranks, and pictures\n"
            "with exchanged factors, also of persons that the model has never seen.\n");
        app_.footer(
            "\nWrites ensemble.png, eigenpictures.png, tensorfaces.png, error_by_rank.png,\n"
            "pictures_by_rank.png, swapped_factors.png and unseen_person.png.\n"
            "\nExamples:\n"
            "  tensorfaces --out pictures\n"
            "  tensorfaces --persons 40 --size 96 --ranks 40,5,5,4,600 --out pictures\n"
            "  tensorfaces --input ensemble.npy --picture 112x92 --out pictures\n"
            "      your own pictures, gray or RGB, with values from 0 to 1 or from 0 to 255\n"
            "\nEvery error is one line on stderr and exit code 2, and nothing is written.");
        app_.add_option("--out", settings_.out, "folder for the pictures; created if needed")
            ->required()
            ->type_name("DIR");
        app_.add_option("--input", settings_.input,
                        "an ensemble of your own, people x views x lights x expressions x pixels")
            ->type_name("T.npy");
        app_.add_option("--picture", picture_, "height and width of your pictures; default: square")->type_name("HxW");
        const auto counted = [&](const char* name, std::size_t& value, const char* text, std::size_t least,
                                 std::size_t most) {
            return app_.add_option(name, value, text)->check(CLI::Range(least, most).description(""))->type_name("N");
        };
        rendering_ = {
            counted("--persons", settings_.persons, "rendered persons, default 24", 1, 1000),
            counted("--views", settings_.views, "from left to right, default 5", 1, 100),
            counted("--lights", settings_.lights, "default 5, at most 8", 1, 8),
            counted("--expressions", settings_.expressions, "default 4 (the first is neutral), at most 7", 1, 7),
            counted("--size", settings_.size, "height and width in pixels, default 64", 8, 512),
            app_.add_option("--seed", settings_.seed, "which persons are rendered, default 1")->type_name("N"),
            app_.add_option("--channels", settings_.colors, "rgb (default) or gray")
                ->transform(CLI::CheckedTransformer(std::map<std::string, faces::channels>{
                                                        {"rgb", faces::channels::rgb}, {"gray", faces::channels::gray}})
                                .description(""))
                ->type_name("NAME")};
        counted("--unseen", settings_.unseen,
                "persons kept from the model to test it, default 4:\nrendered in addition, or the last ones of --input",
                0, 1000);
        app_.add_option("--ranks", ranks_, "people, views, lights, expressions, pixels; default: all,all,all,all,300")
            ->type_name("R0,R1,R2,R3,R4");
        app_.get_formatter()->column_width(32);
    }

    CLI::App& app() { return app_; }

    /// Brings the parsed options into the settings and refuses combinations that mean nothing.
    void finish() {
        const bool own = app_.get_option("--input")->count() > 0;
        for (const CLI::Option* option : rendering_) {
            if (own && option->count() > 0) {
                throw examples::usage_error(option->get_name() +
                                            " is for rendered ensembles and does not go with --input");
            }
        }
        if (app_.get_option("--picture")->count() > 0) {
            const std::size_t cross = picture_.find('x');
            const moden::extents sides = cross == std::string::npos
                                             ? moden::extents{}
                                             : numbers(picture_.substr(0, cross) + "," + picture_.substr(cross + 1));
            if (!own || sides.size() != 2 || sides[0] == 0 || sides[1] == 0 || sides[0] > 100000 || sides[1] > 100000) {
                throw examples::usage_error("--picture '" + picture_ +
                                            "' (expected HEIGHTxWIDTH such as 112x92, together with --input)");
            }
            settings_.picture_height = sides[0];
            settings_.picture_width = sides[1];
        }
        if (app_.get_option("--ranks")->count() > 0) {
            settings_.ranks = numbers(ranks_);
            if (settings_.ranks.size() != 5) {
                throw examples::usage_error(
                    "--ranks '" + ranks_ +
                    "' (expected five positive numbers separated by commas, such as 24,5,5,4,300)");
            }
        }
    }

private:
    /// "3,5" as numbers; empty if it is anything else.
    static moden::extents numbers(const std::string& text) {
        moden::extents result;
        std::size_t digits = 0;
        for (const char c : text + ",") {
            if (c >= '0' && c <= '9' && digits < 18) {
                result.resize(digits == 0 ? result.size() + 1 : result.size(), 0);
                result.back() = 10 * result.back() + static_cast<std::size_t>(c - '0');
                ++digits;
            } else if (c == ',' && digits > 0) {
                digits = 0;
            } else {
                return {};
            }
        }
        return result;
    }

    settings& settings_;
    CLI::App app_;
    std::vector<CLI::Option*> rendering_;
    std::string picture_, ranks_;
};

}  // namespace tensorfaces
