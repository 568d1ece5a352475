// Names in the cache, and building through a stand-in for `python -m kernels.pack`.
#include "src/pack/pack_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <thread>

#include "src/base/atomic_file.h"
#include "src/base/log.h"
#include "src/base/paths.h"
#include "src/pack/testing/pack_builder.h"

namespace nereid {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::PackBuilder;

class PackCacheTest : public ::testing::Test {
 protected:
  PackCacheTest() {
    char name[] = "/tmp/nereid_cache_test.XXXXXX";
    dir_ = mkdtemp(name);
    setenv("NEREID_CACHE_DIR", (dir_ + "/cache").c_str(), 1);
    setenv("NEREID_KERNELS_DIR", (dir_ + "/src/kernels").c_str(), 1);
    setenv("NEREID_PYTHON", (dir_ + "/python").c_str(), 1);
    setenv("NEREID_CC", (dir_ + "/nereid-cc").c_str(), 1);
    set_log_level(LogLevel::kOff);
  }
  ~PackCacheTest() override { fs::remove_all(dir_); }

  // A toolchain whose "Python" runs `script`, with $OUT and $REQUEST set from the flags.
  void install_toolchain(const std::string& script) {
    ASSERT_TRUE(make_directories(dir_ + "/src/kernels"));
    ASSERT_TRUE(write_file_atomically(dir_ + "/src/kernels/pack.py", ""));
    ASSERT_TRUE(write_file_atomically(dir_ + "/nereid-cc", ""));
    ASSERT_TRUE(write_file_atomically(dir_ + "/good.pack", PackBuilder("cpu:test").bytes()));
    const std::string flags = "#!/bin/sh\necho \"$@\" > " + dir_ + "/flags\npwd >> " + dir_ +
                              "/flags\n" +
                              "while [ $# -gt 0 ]; do case $1 in --out) OUT=$2;; --request) "
                              "REQUEST=$2;; esac; shift; done\n";
    ASSERT_TRUE(write_file_atomically(dir_ + "/python", flags + script));
    fs::permissions(dir_ + "/python", fs::perms::owner_all);
  }
  std::string copies_good_pack() const {
    return "cp " + dir_ + "/good.pack $OUT.$$ && mv $OUT.$$ $OUT\n";
  }
  size_t files_in_cache() const {
    if (!is_directory(dir_ + "/cache/packs")) return 0;
    return static_cast<size_t>(std::distance(fs::directory_iterator(dir_ + "/cache/packs"), {}));
  }

  PackRequest request_ = {.target = "cpu:test",
                          .request_json = R"({"variants":[]})",
                          .sources_sha256 = std::string(64, 'a'),
                          .toolchain = "test",
                          .model = "my.gguf"};
  std::string dir_;
};

TEST_F(PackCacheTest, NamesDependOnEverything) {
  const std::string path = *cached_pack_path(request_);
  EXPECT_TRUE(path.starts_with(dir_ + "/cache/packs/cpu-test-")) << path;
  EXPECT_EQ(*cached_pack_path(request_), path);
  for (std::string PackRequest::* field : {&PackRequest::target, &PackRequest::request_json,
                                           &PackRequest::sources_sha256, &PackRequest::toolchain}) {
    PackRequest other = request_;
    (other.*field) += "x";
    EXPECT_NE(*cached_pack_path(other), path);
  }
}

TEST_F(PackCacheTest, WithoutToolchainTheErrorNamesTheCommand) {
  auto pack = open_or_build_pack(request_, {});
  ASSERT_FALSE(pack.has_value());
  EXPECT_THAT(pack.error().message,
              AllOf(HasSubstr("no kernel pack for cpu:test"), HasSubstr("no kernel sources in"),
                    HasSubstr("`nereid compile my.gguf --target cpu:test`")));
  EXPECT_FALSE(fs::exists(dir_ + "/cache"));
}

TEST_F(PackCacheTest, TheCommandHasTheFlags) {
  request_.flags = " --dtype bf16";
  EXPECT_THAT(open_or_build_pack(request_, {}).error().message,
              HasSubstr("`nereid compile my.gguf --target cpu:test --dtype bf16`"));
}

TEST_F(PackCacheTest, TakesAnOlderTargetOnlyWhereNothingCanBeBuilt) {
  const PackBuildOptions options = {.targets = {"cpu:newer", "cpu:broken", "cpu:test"}};
  install_toolchain(copies_good_pack());
  const std::string older = open_or_build_pack(request_, {})->path();
  request_.target = "cpu:broken";
  ASSERT_TRUE(write_file_atomically(*cached_pack_path(request_), "damaged"));
  request_.target = "cpu:newer";
  const std::string path = *cached_pack_path(request_);
  EXPECT_EQ(open_or_build_pack(request_, options)->path(), path);
  fs::remove(path);
  fs::remove(dir_ + "/python");
  EXPECT_EQ(open_or_build_pack(request_, options)->path(), older);
  EXPECT_FALSE(open_or_build_pack(request_, {.targets = {"cpu:newer"}}).has_value());
}

TEST_F(PackCacheTest, AGivenPackIsOfThisDeviceAndTheseSources) {
  const std::string path = dir_ + "/given.pack";
  ASSERT_TRUE(write_file_atomically(path, PackBuilder("cpu:test").bytes()));
  EXPECT_TRUE(open_pack(path, request_, {}).has_value());
  EXPECT_THAT(open_pack(path, request_, {.targets = {"cpu:x"}}).error().message,
              HasSubstr("made for cpu:test, this device runs cpu:x"));
  request_.sources_sha256 = std::string(64, 'b');
  EXPECT_THAT(open_pack(path, request_, {}).error().message, HasSubstr("other kernel sources"));
}

TEST_F(PackCacheTest, BuildsOnceAndReportsProgress) {
  install_toolchain(
      "printf "
      "'{\"done\":1,\"total\":2,\"what\":\"a\"}\\nnoise\\n{\"done\":2,\"total\":2,\"what\":\"b\"}"
      "\\n' >&3\n" +
      copies_good_pack());
  std::vector<std::string> seen;
  PackBuildOptions options;
  options.jobs = 3;
  options.on_progress = [&](int done, int total, const std::string& what) {
    seen.push_back(fmt::format("{}/{} {}", done, total, what));
  };
  auto pack = open_or_build_pack(request_, options);
  ASSERT_TRUE(pack.has_value()) << pack.error().message;
  EXPECT_EQ(seen, (std::vector<std::string>{"1/2 a", "2/2 b"}));
  EXPECT_EQ(files_in_cache(), 1u);
  const std::string flags = *read_file(dir_ + "/flags", 10'000);
  EXPECT_THAT(
      flags,
      AllOf(HasSubstr("-m kernels.pack --request "), HasSubstr("--target cpu:test"),
            HasSubstr("--jobs 3"), HasSubstr("--progress-fd 3"), HasSubstr("--expect-sources aaaa"),
            HasSubstr("--cc " + dir_ + "/nereid-cc"), HasSubstr("\n" + dir_ + "/src\n")));
  install_toolchain("exit 1\n");
  EXPECT_TRUE(open_or_build_pack(request_, {}).has_value());  // from the cache
}

TEST_F(PackCacheTest, FailedBuildSaysWhy) {
  install_toolchain(
      "echo Traceback >&2; echo 'kernels.pack: error: no space left on the disk' >&2; exit 1\n");
  auto pack = open_or_build_pack(request_, {});
  ASSERT_FALSE(pack.has_value());
  EXPECT_EQ(pack.error().message,
            "building kernels for cpu:test failed: no space left on the disk");
  EXPECT_EQ(files_in_cache(), 0u);
  install_toolchain("echo first; echo 'ModuleNotFoundError: no triton' >&2; exit 1\n");
  EXPECT_EQ(open_or_build_pack(request_, {}).error().message,
            "building kernels for cpu:test failed: ModuleNotFoundError: no triton");
}

TEST_F(PackCacheTest, DamagedPackIsBuiltAgainOrRefused) {
  install_toolchain(copies_good_pack());
  ASSERT_TRUE(open_or_build_pack(request_, {}).has_value());
  const std::string path = *cached_pack_path(request_);
  fs::resize_file(path, 40);
  ASSERT_TRUE(open_or_build_pack(request_, {}).has_value());
  fs::resize_file(path, 40);
  fs::remove(dir_ + "/python");
  auto pack = open_or_build_pack(request_, {});
  ASSERT_FALSE(pack.has_value());
  EXPECT_THAT(pack.error().message,
              AllOf(HasSubstr(path), HasSubstr("ends after the file"),
                    HasSubstr("cannot be built here"), HasSubstr("nereid compile my.gguf")));
}

TEST_F(PackCacheTest, RefusesKernelsOfOtherSources) {
  install_toolchain(copies_good_pack());
  request_.sources_sha256 = std::string(64, 'b');
  EXPECT_THAT(
      open_or_build_pack(request_, {}).error().message,
      HasSubstr("made from other kernel sources (aaaaaaaaaaaa, this program has bbbbbbbbbbbb)"));
}

TEST_F(PackCacheTest, ConcurrentBuildersDoNotDisturbEachOther) {
  install_toolchain("sleep 0.05\ntest \"$(cat $REQUEST)\" = '{\"variants\":[]}' || exit 9\n" +
                    copies_good_pack());
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  for (int thread = 0; thread < 6; ++thread) {
    threads.emplace_back([&] { good += open_or_build_pack(request_, {}).has_value() ? 1 : 0; });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 6);
  EXPECT_EQ(files_in_cache(), 1u);
}

}  // namespace
}  // namespace nereid
