// Reading cases.json and cases.bin. The files come from our own tools: what is wrong with them is
// reported, but not searched for.
#include "tests/conformance/case_file.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "src/base/json.h"
#include "src/base/numbers.h"
#include "src/base/paths.h"

namespace nereid::testing {
namespace {

using nlohmann::json;

Result<std::span<const std::byte>> bytes_of(const json& range, const MappedFile& data) {
  const auto offset = range.at("offset").get<uint64_t>();
  const auto size = range.at("size").get<uint64_t>();
  if (offset > data.size() || size > data.size() - offset) {
    return error("{} bytes at {} are outside {}", size, offset, data.path());
  }
  return data.bytes().subspan(offset, size);
}

float float_value(const json& value) {
  if (value.is_number()) return value.get<float>();
  const auto text = value.get<std::string>();
  if (text == "inf") return std::numeric_limits<float>::infinity();
  if (text == "-inf") return -std::numeric_limits<float>::infinity();
  return std::numeric_limits<float>::quiet_NaN();
}

Result<uint64_t> scalar_slot(const std::string& type, const json& value) {
  if (type == "f32") return arg_slot(float_value(value));
  if (type == "i32") return arg_slot(value.get<int32_t>());
  if (type == "u32") return arg_slot(value.get<uint32_t>());
  if (type == "i64") return arg_slot(value.get<int64_t>());
  if (type == "u64") return value.get<uint64_t>();
  return error("scalar type '{}'", type);
}

Status read_pointer(const json& entry, const MappedFile& data, CaseArg& arg) {
  const auto dtype = parse_dtype(entry.at("dtype").get<std::string>());
  if (!dtype) return error("dtype '{}'", entry.at("dtype").get<std::string>());
  arg.is_pointer = true;
  arg.dtype = *dtype;
  arg.is_null = entry.value("null", false);
  arg.is_scratch = entry.value("scratch", false);
  arg.alias = entry.value("alias", "");
  if (arg.is_null || !arg.alias.empty()) return {};
  NEREID_TRY(arg.input, bytes_of(entry.at("input"), data));
  if (!entry.contains("expected")) return {};
  NEREID_TRY(arg.expected, bytes_of(entry.at("expected"), data));
  if (arg.expected->size() != arg.input.size()) return error("expected and input differ in size");
  const json& tolerance = entry.at("tolerance");
  arg.tolerance = {tolerance.at("atol"), tolerance.at("rtol"), tolerance.at("mismatch")};
  return {};
}

Result<KernelCase> read_case(const json& entry, const MappedFile& data) {
  KernelCase read{.kernel = entry.at("kernel"), .name = entry.at("case")};
  for (const auto& [name, value] : entry.at("key").items()) {
    read.key.emplace_back(name, value.is_string() ? value.get<std::string>() : value.dump());
  }
  for (const json& from : entry.at("args")) {
    CaseArg arg{.name = from.at("name")};
    const auto type = from.at("type").get<std::string>();
    if (type == "ptr") {
      if (auto ok = read_pointer(from, data, arg); !ok) {
        return with_context(ok.error(), read.label() + ": " + arg.name);
      }
    } else {
      NEREID_TRY_CONTEXT(arg.slot, scalar_slot(type, from.at("value")),
                         read.label() + ": " + arg.name);
    }
    read.args.push_back(std::move(arg));
  }
  return read;
}

}  // namespace

Result<CaseFile> CaseFile::open(const std::string& folder) {
  const std::string path = folder + "/cases.json";
  NEREID_TRY(const std::string text, read_file(path, size_t{256} << 20));
  NEREID_TRY_CONTEXT(const json root, parse_json(text, {.max_bytes = uint64_t{256} << 20}), path);
  NEREID_TRY(MappedFile data, MappedFile::open(folder + "/cases.bin"));
  CaseFile file(std::move(data));
  try {
    if (root.at("format") != "nereid-cases" || root.at("version") != 1) {
      return error("{}: is no case file of version 1", path);
    }
    for (const json& entry : root.at("cases")) {
      NEREID_TRY_CONTEXT(KernelCase read, read_case(entry, file.data_), path);
      file.cases_.push_back(std::move(read));
    }
  } catch (const json::exception& failure) {
    return error("{}: case {}: {}", path, file.cases_.size(), failure.what());
  }
  return file;
}

Result<std::vector<int64_t>> key_values(const KernelDecl& decl, const KernelCase& from) {
  std::vector<int64_t> values;
  for (const KeyFieldDecl& field : decl.key_fields) {
    const auto found =
        std::ranges::find(from.key, field.name, &std::pair<std::string, std::string>::first);
    if (found == from.key.end())
      return error("{}: key field '{}' is missing", from.label(), field.name);
    if (field.kind == KeyKind::kDType) {
      const auto dtype = parse_dtype(found->second);
      if (!dtype) return error("{}: {}: dtype '{}'", from.label(), field.name, found->second);
      values.push_back(static_cast<int64_t>(*dtype));
    } else {
      NEREID_TRY(const int64_t value, parse_int(found->second, field.name, INT64_MIN, INT64_MAX));
      values.push_back(value);
    }
  }
  return values;
}

}  // namespace nereid::testing
