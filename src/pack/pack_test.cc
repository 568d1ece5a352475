// The pack reader on good packs, and on every kind of broken one.
#include "src/pack/pack.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include "src/pack/manifest.h"
#include "src/pack/testing/pack_builder.h"

namespace nereid {
namespace {

using nlohmann::ordered_json;
using ::testing::HasSubstr;
using testing::PackBuilder;

class PackTest : public ::testing::Test {
 protected:
  PackTest() {
    char name[] = "/tmp/nereid_pack_test.XXXXXX";
    dir_ = mkdtemp(name);
  }
  ~PackTest() override { std::filesystem::remove_all(dir_); }

  Result<Pack> open(const std::string& bytes, std::vector<std::string> targets = {}) {
    const std::string path = dir_ + "/p.pack";
    std::filesystem::remove(path);  // writing over a file may wait for the disk
    std::ofstream(path, std::ios::binary) << bytes;
    return Pack::open(path, targets);
  }
  // The message without the path before it; "" when the pack opens.
  std::string refusal(const std::string& bytes) {
    auto pack = open(bytes);
    if (pack) return "";
    const std::string prefix = dir_ + "/p.pack: ";
    EXPECT_TRUE(pack.error().message.starts_with(prefix)) << pack.error().message;
    EXPECT_EQ(pack.error().message.find('\n'), std::string::npos);
    return pack.error().message.substr(prefix.size());
  }

  std::string dir_;
};

PackBuilder good_pack() {
  PackBuilder builder;
  builder.blob_start = 8192;
  builder.add_variant("rms_norm", {{"x_dtype", "f32"}, {"dim", 576}, {"flag", true}});
  builder.add_choice(
      {.entry = "a", .num_args = 5, .max = 4, .tiles = {{"ROWS", 1}}, .blob = "one"});
  builder.add_choice(
      {.entry = "b", .num_args = 5, .scratch_bytes = 100, .tiles = {{"ROWS", 8}}, .blob = "two"});
  builder.add_variant("silu_mul", {{"dtype", "bf16"}});
  builder.add_choice({.entry = "c", .num_args = 3, .blob = std::string(5000, 'x')});
  return builder;
}

TEST_F(PackTest, LaunchAttributesMayBeThere) {
  PackBuilder builder = good_pack();
  builder.choice(0, 1)["num_ctas"] = 2;
  builder.choice(0, 1)["launch_pdl"] = true;
  auto pack = open(builder.bytes(), {});
  ASSERT_TRUE(pack.has_value()) << pack.error().message;
  const std::vector<PackChoice>& choices = pack->variants()[0].choices;
  EXPECT_EQ(choices[0].num_ctas, 1u);
  EXPECT_FALSE(choices[0].launch_pdl);
  EXPECT_EQ(choices[1].num_ctas, 2u);
  EXPECT_TRUE(choices[1].launch_pdl);
}

TEST_F(PackTest, FindsVariantsAndChoices) {
  auto pack = open(good_pack().bytes(), {"cpu:znver4", "cpu:x86-64-v3"});
  ASSERT_TRUE(pack.has_value()) << pack.error().message;
  EXPECT_EQ(pack->target(), "cpu:x86-64-v3");
  EXPECT_EQ(pack->triton_version(), "3.9.0");
  EXPECT_EQ(pack->variants().size(), 2u);
  const PackVariant* norm =
      pack->find("rms_norm", {{"x_dtype", "f32"}, {"dim", "576"}, {"flag", "1"}});
  ASSERT_NE(norm, nullptr);
  ASSERT_EQ(norm->choices.size(), 2u);
  EXPECT_EQ(norm->choices[0].max, 4);
  EXPECT_EQ(norm->choices[1].max, std::nullopt);
  EXPECT_EQ(norm->choices[1].tiles, (std::vector<std::pair<std::string, int64_t>>{{"ROWS", 8}}));
  EXPECT_EQ(norm->choices[1].scratch_bytes, 100u);
  const auto blob = norm->choices[1].blob;
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(blob.data()), blob.size()), "two");
  EXPECT_EQ(pack->find("rms_norm", {{"x_dtype", "f32"}, {"dim", "577"}, {"flag", "1"}}), nullptr);
  EXPECT_EQ(pack->find("rms_norm", {{"x_dtype", "f32"}, {"dim", "576"}}), nullptr);
  EXPECT_EQ(pack->find("none", {}), nullptr);
}

TEST_F(PackTest, UnknownFieldsAreIgnored) {
  PackBuilder builder = good_pack();
  builder.manifest["new"] = {1, 2, 3};
  builder.choice(0, 0)["new"] = "x";
  EXPECT_EQ(refusal(builder.bytes()), "");
}

TEST_F(PackTest, ForeignTarget) {
  auto pack = open(good_pack().bytes(), {"cpu:znver4", "cpu:x86-64-v4"});
  ASSERT_FALSE(pack.has_value());
  EXPECT_THAT(pack.error().message,
              HasSubstr("made for cpu:x86-64-v3, this device runs cpu:znver4, cpu:x86-64-v4"));
}

TEST_F(PackTest, BrokenFrame) {
  const std::string good = good_pack().bytes();
  EXPECT_EQ(refusal(""), "0 bytes, expected a pack (at least 16 bytes)");
  EXPECT_EQ(refusal("NEREIDPX" + good.substr(8)), "does not begin with NEREIDPK: no pack");
  const auto with_length = [&](uint64_t length) {
    std::string file = good;
    for (int at = 0; at < 8; ++at) file[8 + at] = static_cast<char>(length >> (8 * at));
    return refusal(file);
  };
  EXPECT_THAT(with_length(~uint64_t{0}), HasSubstr("expected at most 16777216"));
  EXPECT_THAT(with_length(uint64_t{1} << 24), HasSubstr("ends after the file"));
  EXPECT_THAT(with_length(0), HasSubstr("manifest: not valid JSON"));
  EXPECT_THAT(with_length(10), HasSubstr("manifest: not valid JSON"));
}

TEST_F(PackTest, TruncatedAnywhere) {
  const std::string good = good_pack().bytes();
  // The last bytes are padding of the last blob.
  const size_t end = good_pack().blob_start + 2 * 4096 + 5000;
  for (size_t length = 0; length < end; length += 64) {
    EXPECT_NE(refusal(good.substr(0, length)), "") << length;
  }
  EXPECT_NE(refusal(good.substr(0, end - 1)), "");
  EXPECT_EQ(refusal(good.substr(0, end)), "");
}

TEST_F(PackTest, FlippedBytesInBlobsAndManifest) {
  const PackBuilder builder = good_pack();
  const std::string good = builder.bytes();
  for (const size_t at : {size_t{0}, size_t{2}, size_t{4096}, size_t{8192}, size_t{8192 + 4999}}) {
    std::string file = good;
    file[builder.blob_start + at] ^= 1;
    EXPECT_THAT(refusal(file), HasSubstr("SHA-256 of the blob differs")) << at;
  }
  // Any byte of the frame or manifest, any value: an error or a manifest, never a crash.
  const size_t manifest_end = 16 + builder.manifest.dump().size();
  std::mt19937 random(1);
  for (size_t at = 0; at < manifest_end; ++at) {
    std::string file = good;
    file[at] = static_cast<char>(random());
    if (auto manifest = parse_manifest(std::as_bytes(std::span(file)))) {
      for (const PackVariant& variant : manifest->variants) {
        EXPECT_FALSE(variant.choices.empty());
      }
    }
  }
}

// Each changes one thing of a good pack; the refusal must name it.
struct Damage {
  const char* name;
  void (*apply)(PackBuilder&);
  const char* message;
};

const Damage kDamages[] = {
    {"format", [](PackBuilder& b) { b.manifest["format"] = "other"; },
     "manifest: format 'other', expected 'nereid-pack'"},
    {"version", [](PackBuilder& b) { b.manifest["version"] = 2; },
     "manifest: pack version 2, expected 1"},
    {"abi", [](PackBuilder& b) { b.manifest["kernel_abi"] = 7; },
     "manifest: kernel ABI 7, expected 1"},
    {"no_target", [](PackBuilder& b) { b.manifest.erase("target"); },
     "manifest: field 'target' is missing"},
    {"target_type", [](PackBuilder& b) { b.manifest["target"] = 5; },
     "manifest: field 'target': expected a string of at most 512 bytes"},
    {"not_an_object", [](PackBuilder& b) { b.manifest = ordered_json::array(); },
     "manifest: expected an object"},
    {"kernels_type", [](PackBuilder& b) { b.manifest["kernels"] = "x"; },
     "manifest: field 'kernels': expected an array"},
    {"kernel_type", [](PackBuilder& b) { b.manifest["kernels"][1] = 3; },
     "manifest: kernel 1: expected an object"},
    {"key_value", [](PackBuilder& b) { b.manifest["kernels"][0]["key"]["dim"] = 1.5; },
     "manifest: kernel 0: key field 'dim': expected an integer or a string"},
    {"no_choices",
     [](PackBuilder& b) { b.manifest["kernels"][1]["choices"] = ordered_json::array(); },
     "manifest: kernel 1: silu_mul(dtype=bf16): no choices"},
    {"duplicate",
     [](PackBuilder& b) {
       b.manifest["kernels"].push_back(b.manifest["kernels"][1]);
       b.choice(2, 0)["blob"] = b.choice(0, 0)["blob"];
       b.choice(0, 0)["blob"]["offset"] = b.blob_start + b.blobs.size();
       b.blobs += "one";
     },
     "silu_mul(dtype=bf16) twice"},
    {"bounded_last", [](PackBuilder& b) { b.choice(1, 0)["max"] = 3; },
     "manifest: kernel 1: silu_mul(dtype=bf16): the last choice has a bound, expected \"max\": "
     "null"},
    {"unbounded_first", [](PackBuilder& b) { b.choice(0, 0)["max"] = nullptr; },
     "choice 0 has no bound and is not the last"},
    {"negative_args", [](PackBuilder& b) { b.choice(1, 0)["num_args"] = -1; },
     "field 'num_args': expected an integer from 0 to 1024"},
    {"huge_scratch", [](PackBuilder& b) { b.choice(1, 0)["scratch_bytes"] = ~uint64_t{0}; },
     "field 'scratch_bytes': expected an integer from 0 to 4294967296"},
    {"no_ctas", [](PackBuilder& b) { b.choice(1, 0)["num_ctas"] = 0; },
     "field 'num_ctas': expected an integer from 1 to 1024"},
    {"pdl_type", [](PackBuilder& b) { b.choice(1, 0)["launch_pdl"] = 1; },
     "field 'launch_pdl': expected a boolean"},
    {"tile_type", [](PackBuilder& b) { b.choice(0, 0)["tiles"]["ROWS"] = "x"; },
     "choice 0: tiles: field 'ROWS': expected an integer from 0 to 1099511627776"},
    {"empty_entry", [](PackBuilder& b) { b.choice(1, 0)["entry"] = ""; },
     "field 'entry': expected a symbol name"},
    {"nul_entry", [](PackBuilder& b) { b.choice(1, 0)["entry"] = std::string("a\0b", 3); },
     "field 'entry': expected a symbol name"},
    {"sha_length", [](PackBuilder& b) { b.choice(1, 0)["blob"]["sha256"] = "abc"; },
     "blob: field 'sha256': expected 64 hexadecimal digits"},
    {"sha_other", [](PackBuilder& b) { b.choice(1, 0)["blob"]["sha256"] = std::string(64, '0'); },
     "silu_mul(dtype=bf16) choice 0: SHA-256 of the blob differs from the manifest's"},
    {"empty_blob", [](PackBuilder& b) { b.choice(1, 0)["blob"]["size"] = 0; },
     "blob: field 'size': expected an integer from 1 to 9223372036854775807"},
    {"huge_blob", [](PackBuilder& b) { b.choice(1, 0)["blob"]["size"] = INT64_MAX; },
     "blob: 9223372036854775807 bytes at 16384 end after the file, which has 24576 bytes"},
    {"far_blob", [](PackBuilder& b) { b.choice(1, 0)["blob"]["offset"] = int64_t{1} << 62; },
     "end after the file"},
    {"negative_offset", [](PackBuilder& b) { b.choice(1, 0)["blob"]["offset"] = -4096; },
     "blob: field 'offset': expected an integer from 0 to"},
    {"unaligned", [](PackBuilder& b) { b.choice(1, 0)["blob"]["offset"] = b.blob_start + 8; },
     "is no multiple of 4096"},
    {"on_manifest", [](PackBuilder& b) { b.choice(1, 0)["blob"]["offset"] = 0; },
     "silu_mul(dtype=bf16) choice 0: blob overlaps the manifest"},
    {"overlap", [](PackBuilder& b) { b.choice(0, 1)["blob"]["size"] = 4097; },
     "blob overlaps that of rms_norm(dim=576,flag=1,x_dtype=f32) choice 1"},
    {"same_place", [](PackBuilder& b) { b.choice(0, 1)["blob"] = b.choice(0, 0)["blob"]; },
     "blob overlaps that of"},
    {"deep",
     [](PackBuilder& b) {
       ordered_json deep = 1;
       for (int at = 0; at < 20; ++at) deep = ordered_json::array({deep});
       b.manifest["x"] = deep;
     },
     "nesting of depth 21, expected at most 8"},
};

class DamagedPack : public PackTest, public ::testing::WithParamInterface<Damage> {};

TEST_P(DamagedPack, IsRefused) {
  PackBuilder builder = good_pack();
  GetParam().apply(builder);
  EXPECT_THAT(refusal(builder.bytes()), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(All, DamagedPack, ::testing::ValuesIn(kDamages),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace nereid
