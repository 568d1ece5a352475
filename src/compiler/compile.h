// One call from TTIR files to an output file: what nereid-cc does once its flags are parsed.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"

namespace nereid {

enum class EmitKind { kTtir, kLlvm, kAssembly, kObject, kSharedObject };

struct CompileOptions {
  std::vector<std::string> inputs;  // TTIR files; "-" is standard input
  std::string output;               // "-" is standard output, for text kinds
  std::string cpu = "native";
  EmitKind emit = EmitKind::kSharedObject;
  std::string dump_after;  // a stage name, "" for none; dumps go to standard error
};

struct StageInfo {
  std::string_view name;
  std::string_view meaning;
};
const std::vector<StageInfo>& compile_stages();

// On failure nothing is written; the message has one line and names the input file.
Status compile(const CompileOptions& options);

}  // namespace nereid
