// Broken safetensors files.
#include "src/weights/safetensors_reader.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/hostile/gguf_writer.h"

namespace nereid::hostile::safetensors_test {
namespace {

std::string file_of(const std::string& header, size_t data_bytes) {
  return raw(uint64_t{header.size()}) + header + std::string(data_bytes, '\0');
}

std::string parse_error(const std::string& file) {
  const auto tensors = safetensors::parse(std::as_bytes(std::span(file)));
  return tensors ? "parsed" : tensors.error().message;
}

struct Case {
  const char* name;
  std::string file;
  const char* message;
};
void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

class BrokenSafetensors : public ::testing::TestWithParam<Case> {};

TEST_P(BrokenSafetensors, IsRefused) {
  EXPECT_EQ(parse_error(GetParam().file), GetParam().message);
}

// One tensor 'w' with the given fields, and 8 bytes of data.
std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return file_of(
      R"({"w":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}",
      8);
}

const Case kCases[] = {
    {"empty", "",
     "header length: found 0 bytes at byte 0, expected 8: the file is truncated or damaged"},
    {"seven_bytes", "1234567",
     "header length: found 7 bytes at byte 0, expected 8: the file is truncated or damaged"},
    {"header_length_lies", raw(uint64_t{100}) + "{}",
     "header: found 2 bytes at byte 8, expected 100: the file is truncated or damaged"},
    {"header_length_huge", raw(~uint64_t{0}) + "{}",
     "header length: found 18446744073709551615, expected at most 100000000"},
    {"header_no_json", file_of("{]", 0), "header: not valid JSON at byte 2"},
    {"header_not_utf8", file_of("{\"\xff\":1}", 0), "header: not valid JSON at byte 3"},
    {"header_an_array", file_of("[]", 0), "header: found an array, expected an object"},
    {"header_nested_deeply", file_of(std::string(100000, '['), 0),
     "header: JSON: found nesting of depth 100000, expected at most 4"},
    {"duplicate_name", file_of(R"({"w":{},"w":{}})", 0),
     "header: JSON: key 'w' occurs twice in one object"},
    {"tensor_no_object", file_of(R"({"w":3})", 0), "tensor 'w': found 3, expected an object"},
    {"no_dtype", file_of(R"({"w":{"shape":[2],"data_offsets":[0,8]}})", 8),
     "tensor 'w': dtype: found nothing, expected F32, F16, BF16 or F8_E4M3"},
    {"unknown_dtype", one("\"I64\"", "[1]", "[0,8]"),
     "tensor 'w': dtype: found 'I64', expected F32, F16, BF16 or F8_E4M3"},
    {"dtype_a_number", one("7", "[2]", "[0,8]"),
     "tensor 'w': dtype: found 7, expected F32, F16, BF16 or F8_E4M3"},
    {"quantised_dtype", one("\"Q4_0\"", "[32]", "[0,8]"),
     "tensor 'w': dtype: found 'Q4_0', expected F32, F16, BF16 or F8_E4M3"},
    {"no_shape", file_of(R"({"w":{"dtype":"F32","data_offsets":[0,8]}})", 8),
     "tensor 'w': shape: found nothing, expected an array of up to 8 numbers"},
    {"shape_negative", one("\"F32\"", "[-2]", "[0,8]"),
     "tensor 'w': shape: found -2, expected a whole number from 0"},
    {"shape_fraction", one("\"F32\"", "[2.5]", "[0,8]"),
     "tensor 'w': shape: found 2.5, expected a whole number from 0"},
    {"shape_0", one("\"F32\"", "[0]", "[0,0]"),
     "tensor 'w': shape: dimension: found 0, expected at least 1"},
    {"shape_past_2_63", one("\"F32\"", "[18446744073709551615]", "[0,8]"),
     "tensor 'w': shape: found 18446744073709551615, expected at most 2^63 - 1"},
    {"shape_overflows", one("\"F32\"", "[4294967296,4294967296]", "[0,8]"),
     "tensor 'w': shape: dimensions multiply past 2^62 elements"},
    {"shape_of_nine_dimensions", one("\"F32\"", "[1,1,1,1,1,1,1,1,2]", "[0,8]"),
     "tensor 'w': shape: found an array, expected an array of up to 8 numbers"},
    {"no_offsets", file_of(R"({"w":{"dtype":"F32","shape":[2]}})", 8),
     "tensor 'w': data_offsets: found nothing, expected an array of two numbers"},
    {"three_offsets", one("\"F32\"", "[2]", "[0,8,8]"),
     "tensor 'w': data_offsets: found an array, expected an array of two numbers"},
    {"offsets_reversed", one("\"F32\"", "[2]", "[8,0]"),
     "tensor 'w': data_offsets: found [8, 0], expected a range within the 8 bytes of data"},
    {"offsets_past_the_end", one("\"F32\"", "[3]", "[0,12]"),
     "tensor 'w': data_offsets: found [0, 12], expected a range within the 8 bytes of data"},
    {"offsets_negative", one("\"F32\"", "[2]", "[-8,0]"),
     "tensor 'w': data_offsets: found -8, expected a whole number from 0"},
    {"size_contradicts_shape", one("\"F32\"", "[1]", "[0,8]"),
     "tensor 'w': data_offsets: found 8 bytes, expected 4 for its shape and dtype"},
    {"overlap",
     file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
             R"("b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
             8),
     "tensor 'b': data begins at 4, expected 8: it overlaps the tensor before it"},
    {"hole",
     file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
             R"("b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})",
             12),
     "tensor 'b': data begins at 8, expected 4: there is a hole"},
    {"data_behind_the_last_tensor", one("\"F32\"", "[1]", "[0,4]"),
     "found 8 bytes of data, expected 4, the end of the last tensor"},
    {"metadata_no_object", file_of(R"({"__metadata__":5})", 0),
     "__metadata__: found 5, expected an object of strings"},
    {"metadata_no_strings", file_of(R"({"__metadata__":{"format":["pt"]}})", 0),
     "__metadata__: 'format': found an array, expected a string"},
};
INSTANTIATE_TEST_SUITE_P(Container, BrokenSafetensors, ::testing::ValuesIn(kCases),
                         [](const auto& info) { return info.param.name; });

TEST(Safetensors, AcceptsWhatIsRight) {
  const std::string file = file_of(
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2],"data_offsets":[4,8]},)"
      R"("a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}   )",
      8);
  const auto tensors = safetensors::parse(std::as_bytes(std::span(file)));
  ASSERT_TRUE(tensors) << tensors.error().message;
  ASSERT_EQ(tensors->size(), 2u);
  EXPECT_EQ((*tensors)[1].name, "b");
  EXPECT_EQ((*tensors)[1].bytes.size(), 4u);
}

TEST(Safetensors, TruncatedAnywhereIsRefused) {
  const std::string whole = one("\"F32\"", "[2]", "[0,8]");
  ASSERT_EQ(parse_error(whole), "parsed");
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_NE(parse_error(whole.substr(0, length)), "parsed") << length;
  }
}

}  // namespace
}  // namespace nereid::hostile::safetensors_test
