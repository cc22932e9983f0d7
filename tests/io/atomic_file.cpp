// Output files are complete or not there.

#include "support.hpp"

#include <csignal>
#include <cstring>
#include <string>

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xtensor/xmath.hpp>

#include <moden/io.hpp>

using namespace moden;
using io_test::check_refused;
using io_test::read_text;
using io_test::write_text;

namespace {

std::vector<std::string> only(const std::string& name) { return {name}; }

/// An expression whose evaluation fails at its last element.
struct failing_function {
    double operator()(double value) const {
        if (value == 99999) {
            throw std::runtime_error("evaluation failed");
        }
        return value;
    }
};

/// Files of this process cannot grow beyond a limit while this lives: as if the disk were full.
class file_size_limit {
public:
    explicit file_size_limit(rlim_t limit) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
        getrlimit(RLIMIT_FSIZE, &previous_);
        const rlimit lower{limit, previous_.rlim_max};
        setrlimit(RLIMIT_FSIZE, &lower);
    }
    file_size_limit(const file_size_limit&) = delete;
    file_size_limit& operator=(const file_size_limit&) = delete;
    ~file_size_limit() {
        setrlimit(RLIMIT_FSIZE, &previous_);
        std::signal(SIGXFSZ, handler_);
    }

private:
    void (*handler_)(int);
    rlimit previous_{};
};

}  // namespace

TEST_CASE("a committed file has its content, its name, and no leftovers") {
    const io_test::temporary_folder folder;
    {
        io::atomic_file file(folder / "result.bin");
        file.write("head");
        file.write("content");
        CHECK(file.size() == 11);
        file.write_at(0, io_test::to_bytes("HEAD"));
        CHECK_FALSE(std::filesystem::exists(folder / "result.bin"));
        file.commit();
    }
    CHECK(folder.names() == only("result.bin"));
    CHECK(read_text(folder / "result.bin") == "HEADcontent");
}

TEST_CASE("a file that is not committed leaves the old one as it was") {
    const io_test::temporary_folder folder;
    write_text(folder / "result.bin", "old");
    {
        io::atomic_file file(folder / "result.bin");
        file.write("new");
    }
    CHECK(folder.names() == only("result.bin"));
    CHECK(read_text(folder / "result.bin") == "old");
}

TEST_CASE("an expression that fails while it is written leaves the old file as it was") {
    const io_test::temporary_folder folder;
    const dynamic_tensor<double> values = xt::arange<double>(100000);
    const auto failing = xt::make_lambda_xfunction(failing_function{}, values);
    for (const std::string name : {"a.npy", "a.npz", "a.safetensors"}) {
        write_text(folder / name, "old");
    }
    CHECK_THROWS_WITH(io::save_npy(folder / "a.npy", failing), "evaluation failed");
    CHECK_THROWS_WITH(io::save_safetensors(folder / "a.safetensors", {{"a", failing}}), "evaluation failed");
    {
        io::npz_writer writer(folder / "a.npz");
        writer.add("first", values);
        CHECK_THROWS_WITH(writer.add("second", failing), "evaluation failed");
        check_refused([&] { writer.add("third", values); }, {"a.npz", "incomplete"});
        check_refused([&] { writer.commit(); }, {"a.npz", "incomplete"});
    }
    CHECK(folder.names().size() == 3);
    for (const std::string name : {"a.npy", "a.npz", "a.safetensors"}) {
        CHECK(read_text(folder / name) == "old");
    }
}

TEST_CASE("a full disk leaves the old file as it was and is named") {
    const io_test::temporary_folder folder;
    const dynamic_tensor<double> values = io_test::sample<double>({100, 100});
    const dynamic_tensor<std::uint8_t> picture = io_test::sample<std::uint8_t>({200, 200, 3});
    for (const std::string name : {"a.npy", "a.npz", "d.npz", "a.safetensors", "a.png"}) {
        write_text(folder / name, "old");
    }
    {
        const file_size_limit limit(1000);
        const std::string reason = std::strerror(EFBIG);
        check_refused([&] { io::save_npy(folder / "a.npy", values); }, {"save_npy", "a.npy", reason});
        check_refused([&] { io::save_npz<double>(folder / "a.npz", {{"v", values}}); }, {"save_npz", "a.npz", reason});
        check_refused(
            [&] {
                io::save_npz<double>(folder / "d.npz", {{"v", values}}, {.compression = io::npz_compression::deflated});
            },
            {"save_npz", "d.npz", reason});
        check_refused(
            [&] {
                io::save_safetensors<double>(folder / "a.safetensors", {{"v", values}});
            },
            {"save_safetensors", "a.safetensors", reason});
        check_refused([&] { io::write_png(folder / "a.png", picture); }, {"write_png", "a.png", reason});
    }
    CHECK(folder.names().size() == 5);
    for (const std::string& name : folder.names()) {
        CHECK(read_text(folder / name) == "old");
    }
}

TEST_CASE("targets that cannot be written are named with the reason") {
    const io_test::temporary_folder folder;
    const dynamic_tensor<float> values = io_test::sample<float>({2});
    check_refused([&] { io::save_npy(folder / "missing/a.npy", values); },
                  {"save_npy", "missing/a.npy", std::strerror(ENOENT)});
    std::filesystem::create_directory(folder / "taken.npy");
    check_refused([&] { io::save_npy(folder / "taken.npy", values); }, {"taken.npy", "not a regular file"});
    write_text(folder / "file", "");
    check_refused([&] { io::save_npy(folder / "file/a.npy", values); }, {"file/a.npy", std::strerror(ENOTDIR)});
    if (::geteuid() != 0) {  // root may write anywhere
        write_text(folder / "read_only.npy", "old");
        ::chmod((folder / "read_only.npy").c_str(), 0444);
        check_refused([&] { io::save_npy(folder / "read_only.npy", values); },
                      {"read_only.npy", std::strerror(EACCES)});
        std::filesystem::create_directory(folder / "locked");
        ::chmod((folder / "locked").c_str(), 0555);
        check_refused([&] { io::save_npy(folder / "locked/a.npy", values); }, {"locked/a.npy", std::strerror(EACCES)});
        ::chmod((folder / "locked").c_str(), 0755);
    }
}

TEST_CASE("devices are refused and stay what they are") {
    check_refused([] { io::save_npy("/dev/null", io_test::sample<float>({2})); }, {"/dev/null", "not a regular file"});
    CHECK(std::filesystem::is_character_file("/dev/null"));
}

TEST_CASE("a link is followed and permissions are kept") {
    const io_test::temporary_folder folder;
    std::filesystem::create_directory(folder / "deep");
    write_text(folder / "deep/target.npy", "old");
    ::chmod((folder / "deep/target.npy").c_str(), 0640);
    std::filesystem::create_symlink("deep/target.npy", folder / "link.npy");
    const auto values = io_test::sample<float>({3, 3});
    io::save_npy(folder / "link.npy", values);
    CHECK(std::filesystem::is_symlink(folder / "link.npy"));
    CHECK(io::load_npy<float>(folder / "deep/target.npy") == values);
    struct stat status {};
    REQUIRE(::stat((folder / "deep/target.npy").c_str(), &status) == 0);
    CHECK((status.st_mode & 0777U) == 0640U);

    std::filesystem::create_symlink("deep/new.npy", folder / "dangling.npy");
    io::save_npy(folder / "dangling.npy", values);
    CHECK(std::filesystem::is_symlink(folder / "dangling.npy"));
    CHECK(io::load_npy<float>(folder / "deep/new.npy") == values);

    std::filesystem::create_symlink("circle.npy", folder / "circle.npy");
    check_refused([&] { io::save_npy(folder / "circle.npy", values); }, {"save_npy", "circle.npy", "link"});
}

TEST_CASE("a new file has the permissions that the umask leaves") {
    const io_test::temporary_folder folder;
    const mode_t previous = ::umask(027);
    io::save_npy(folder / "a.npy", io_test::sample<float>({3}));
    ::umask(previous);
    struct stat status {};
    REQUIRE(::stat((folder / "a.npy").c_str(), &status) == 0);
    CHECK((status.st_mode & 0777U) == 0640U);
}

TEST_CASE("a name as long as the file system allows can be written") {
    const io_test::temporary_folder folder;
    const std::string name = std::string(251, 'n') + ".npy";
    io::save_npy(folder / name, io_test::sample<float>({3}));
    CHECK(folder.names() == only(name));
}

TEST_CASE("a file that is replaced while it is mapped stays readable") {
    const io_test::temporary_folder folder;
    const auto before = io_test::sample<double>({50, 50});
    io::save_npy(folder / "a.npy", before);
    const io::npy_file file(folder / "a.npy");
    io::save_npy(folder / "a.npy", 2.0 * before);
    CHECK(file.load<double>() == before);
    CHECK(io::load_npy<double>(folder / "a.npy") == 2.0 * before);
}

TEST_CASE("mapped files: moves, empty files, and what is not a file") {
    const io_test::temporary_folder folder;
    write_text(folder / "a", "content");
    write_text(folder / "empty", "");
    io::mapped_file first(folder / "a");
    io::mapped_file second(std::move(first));
    CHECK(io_test::to_text(second.bytes()) == "content");
    CHECK(first.bytes().empty());
    io::mapped_file third(folder / "empty");
    CHECK(third.bytes().empty());
    third = std::move(second);
    CHECK(io_test::to_text(third.bytes()) == "content");

    check_refused([&] { io::mapped_file(folder / "none", "load_x"); }, {"load_x", "none", std::strerror(ENOENT)});
    std::filesystem::create_directory(folder / "directory");
    check_refused([&] { io::mapped_file(folder / "directory", "load_x"); },
                  {"load_x", "directory", "not a regular file"});
    REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
    check_refused([&] { io::mapped_file(folder / "pipe", "load_x"); }, {"pipe", "not a regular file"});
}
