// Files, digests, numbers and JSON under limits.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "src/base/atomic_file.h"
#include "src/base/json.h"
#include "src/base/mapped_file.h"
#include "src/base/numbers.h"
#include "src/base/paths.h"
#include "src/base/sha256.h"

namespace nereid {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class TempDir : public testing::Test {
 protected:
  TempDir() {
    char name[] = "/tmp/nereid_base_test.XXXXXX";
    dir_ = mkdtemp(name);
  }
  ~TempDir() override { fs::remove_all(dir_); }
  std::string path(const std::string& name) const { return dir_ + "/" + name; }
  size_t files() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(dir_), {}));
  }
  std::string dir_;
};

using MappedFileTest = TempDir;
using AtomicFileTest = TempDir;
using PathsTest = TempDir;

TEST_F(MappedFileTest, ReadsAndReleases) {
  std::string content(3 * 4096 + 100, 'x');
  content.back() = 'y';
  ASSERT_TRUE(write_file_atomically(path("f"), content));
  auto file = MappedFile::open(path("f"));
  ASSERT_TRUE(file.has_value()) << file.error().message;
  ASSERT_EQ(file->size(), content.size());
  EXPECT_EQ(static_cast<char>(file->bytes().back()), 'y');
  file->release(0, content.size());
  file->release(100, 5);
  file->release(1 << 20, 5);
  EXPECT_EQ(static_cast<char>(file->bytes().front()), 'x');
  EXPECT_EQ(static_cast<char>(file->bytes().back()), 'y');
  MappedFile moved = std::move(*file);
  EXPECT_EQ(moved.size(), content.size());
  EXPECT_EQ(file->size(), 0u);
}

TEST_F(MappedFileTest, Refusals) {
  EXPECT_EQ(MappedFile::open(path("none")).error().message,
            path("none") + ": cannot open: No such file or directory");
  EXPECT_EQ(MappedFile::open(dir_).error().message,
            dir_ + ": is a directory, expected a regular file");
  ASSERT_TRUE(write_file_atomically(path("empty"), ""));
  EXPECT_EQ(MappedFile::open(path("empty"))->size(), 0u);
}

TEST_F(AtomicFileTest, AppearsOnCommitOnly) {
  {
    auto file = AtomicFile::create(path("f"));
    ASSERT_TRUE(file.has_value());
    ASSERT_TRUE(file->write("half"));
    EXPECT_FALSE(fs::exists(path("f")));
  }
  EXPECT_EQ(files(), 0u);
  ASSERT_TRUE(write_file_atomically(path("f"), "one"));
  ASSERT_TRUE(write_file_atomically(path("f"), "two"));
  EXPECT_EQ(*read_file(path("f"), 100), "two");
  EXPECT_EQ(files(), 1u);
  EXPECT_THAT(AtomicFile::create("/no/such/folder/f").error().message, HasSubstr("No such file"));
}

TEST_F(AtomicFileTest, Refusals) {
  EXPECT_EQ(write_file_atomically(dir_, "x").error().message,
            dir_ + ": is a directory, expected a file");
  EXPECT_EQ(AtomicFile::check_target("/no/such/folder/f").error().message,
            "/no/such/folder/f: cannot create: No such file or directory");
  EXPECT_TRUE(AtomicFile::check_target(path("f")));
  ASSERT_TRUE(write_file_atomically(path("f"), "x"));
  EXPECT_EQ(AtomicFile::check_target(path("f/g")).error().message,
            path("f/g") + ": cannot create: Not a directory");
  fs::create_symlink("circle", path("circle"));
  EXPECT_THAT(AtomicFile::check_target(path("circle")).error().message,
              HasSubstr("circle: cannot create: Too many levels of symbolic links"));
  EXPECT_EQ(files(), 2u);
}

TEST_F(AtomicFileTest, APipeIsWrittenToAndStaysAPipe) {
  const std::string pipe = path("pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  fs::create_symlink("pipe", path("link"));
  const int reader = open(pipe.c_str(), O_RDONLY | O_NONBLOCK);
  for (const char* name : {"pipe", "link"}) {
    EXPECT_TRUE(AtomicFile::check_target(path(name)));
    ASSERT_TRUE(write_file_atomically(path(name), "through"));
    char text[16] = {};
    EXPECT_EQ(read(reader, text, sizeof text), 7) << name;
    EXPECT_STREQ(text, "through");
    EXPECT_TRUE(fs::is_fifo(pipe));
  }
  EXPECT_TRUE(fs::is_symlink(path("link")));
  EXPECT_EQ(files(), 2u);
  close(reader);
}

// A node of its own that does what /dev/full does.
TEST_F(AtomicFileTest, ADeviceStaysADevice) {
  const std::string full = path("full");
  if (mknod(full.c_str(), S_IFCHR | 0600, makedev(1, 7)) != 0) GTEST_SKIP() << "needs root";
  if (access(full.c_str(), W_OK) != 0) GTEST_SKIP() << "devices of this file system do not open";
  EXPECT_EQ(write_file_atomically(full, "x").error().message,
            full + ": cannot write: No space left on device");
  EXPECT_TRUE(fs::is_character_file(full));
  EXPECT_EQ(files(), 1u);
}

TEST_F(AtomicFileTest, LinksAreFollowed) {
  fs::create_directory(path("folder"));
  fs::create_symlink("folder/second", path("first"));
  fs::create_symlink(path("file"), path("folder/second"));
  for (const char* content : {"made", "replaced"}) {  // the link leads nowhere, then to a file
    ASSERT_TRUE(write_file_atomically(path("first"), content));
    EXPECT_EQ(*read_file(path("file"), 100), content);
    EXPECT_TRUE(fs::is_symlink(path("first")));
    EXPECT_TRUE(fs::is_symlink(path("folder/second")));
  }
  EXPECT_EQ(files(), 3u);
}

// As a shell's `> file` and --trace /dev/stdout: the open file gets the bytes, not another of its
// name.
TEST_F(AtomicFileTest, AnOpenFileIsWrittenTo) {
  const int fd = open(path("f").c_str(), O_RDWR | O_CREAT, 0600);
  ASSERT_EQ(write(fd, "before ", 7), 7);
  ASSERT_TRUE(write_file_atomically(fmt::format("/proc/self/fd/{}", fd), "after"));
  char text[16] = {};
  EXPECT_EQ(pread(fd, text, sizeof text, 0), 12);
  EXPECT_STREQ(text, "before after");
  close(fd);
}

TEST_F(AtomicFileTest, FullDiskLeavesNothing) {
  // A file size limit stands in for a full disk.
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  auto* old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{1024, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  auto status = write_file_atomically(path("f"), std::string(10'000, 'x'));
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);
  ASSERT_FALSE(status.has_value());
  EXPECT_THAT(status.error().message,
              HasSubstr("cannot write: larger than the limit on the size of files"));
  EXPECT_EQ(files(), 0u);
}

TEST(Sha256, KnownDigests) {
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_F(PathsTest, CacheDirAndFolders) {
  ASSERT_EQ(setenv("NEREID_CACHE_DIR", "/somewhere", 1), 0);
  EXPECT_EQ(*cache_dir(), "/somewhere");
  ASSERT_EQ(unsetenv("NEREID_CACHE_DIR"), 0);
  ASSERT_EQ(setenv("XDG_CACHE_HOME", "/xdg", 1), 0);
  EXPECT_EQ(*cache_dir(), "/xdg/nereid");
  ASSERT_EQ(unsetenv("XDG_CACHE_HOME"), 0);
  ASSERT_TRUE(make_directories(path("a/b/c")));
  EXPECT_TRUE(is_directory(path("a/b/c")));
  ASSERT_TRUE(write_file_atomically(path("f"), "12345"));
  EXPECT_FALSE(make_directories(path("f")).has_value());
  EXPECT_THAT(read_file(path("f"), 4).error().message, HasSubstr("is 5 bytes, expected at most 4"));
  EXPECT_TRUE(executable_dir().has_value());
}

TEST(Numbers, Int) {
  EXPECT_EQ(*parse_int("42", "--threads", 0, 100), 42);
  EXPECT_EQ(*parse_int("-3", "n", -5, 5), -3);
  for (const char* bad : {"", "4x", " 4", "0x10", "1e3", "--1"}) {
    EXPECT_THAT(parse_int(bad, "--threads", 0, 100).error().message,
                HasSubstr("expected an integer"));
  }
  EXPECT_EQ(parse_int("101", "--threads", 0, 100).error().message,
            "--threads: found 101, expected 0 to 100");
  EXPECT_EQ(parse_int("99999999999999999999", "n", 0, 9).error().message,
            "n: found 99999999999999999999, expected 0 to 9");
}

TEST(Numbers, ParseBytes) {
  const std::pair<const char*, uint64_t> good[] = {{"1", 1},
                                                   {"8589934592", uint64_t{1} << 33},
                                                   {"8GiB", uint64_t{1} << 33},
                                                   {"1.5 gb", 1'500'000'000},
                                                   {"64mib", 64 << 20},
                                                   {"2KB", 2000},
                                                   {"3 TiB", uint64_t{3} << 40}};
  for (const auto& [text, bytes] : good) EXPECT_EQ(*parse_bytes(text), bytes) << text;
  for (const char* bad : {"", "0", "-1", "GiB", "8 G", "8GiBs", "1e9", "nan", "inf", "0.5",
                          "9999999TiB", "8  GiB", " 8GiB", "0x10"}) {
    EXPECT_EQ(parse_bytes(bad).error().message,
              fmt::format("found '{}', expected bytes such as 8589934592 or 8GiB", bad));
  }
}

TEST(Numbers, FormatBytes) {
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(uint64_t{3} << 29), "1.5 GiB");
}

TEST(Json, ParsesAndRefuses) {
  EXPECT_EQ((*parse_json(R"({"a": [1, {"a": 2}]})"))["a"][1]["a"], 2);
  for (const char* bad :
       {"", "{", "{} x", "\"\xff\"", "1e999", R"({"a": 1, "b": {"a": 1}, "a": 2})"}) {
    EXPECT_FALSE(parse_json(bad).has_value()) << bad;
  }
  EXPECT_THAT(parse_json(std::string(100'000, '[')).error().message, HasSubstr("at most 64"));
  EXPECT_TRUE(parse_json(R"(["[[[[", "\"[["])", {.max_depth = 1}).has_value());
  EXPECT_FALSE(parse_json("[1, 2, 3]", {.max_bytes = 4}).has_value());
}

}  // namespace
}  // namespace nereid
