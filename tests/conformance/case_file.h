// Cases that `python -m kernels.export_cases` wrote (docs/kernels.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "src/base/mapped_file.h"
#include "src/base/result.h"
#include "src/device/kernel_decl.h"

namespace nereid::testing {

// |got - expected| <= atol + rtol * |expected|; `mismatch` is the share of elements that may be
// off.
struct CaseTolerance {
  double atol = 0, rtol = 0, mismatch = 0;
};

struct CaseArg {
  std::string name;
  // Scalars: the slot of the entry ABI.
  bool is_pointer = false;
  uint64_t slot = 0;
  // Pointers.
  DType dtype = DType::kF32;
  bool is_null = false;
  bool is_scratch = false;
  std::string alias;  // the argument whose memory this one shares
  std::span<const std::byte> input;
  std::optional<std::span<const std::byte>> expected;
  CaseTolerance tolerance;
};

struct KernelCase {
  std::string kernel, name;
  std::vector<std::pair<std::string, std::string>> key;  // field, value as text
  std::vector<CaseArg> args;                             // declaration order

  std::string label() const { return kernel + "[" + name + "]"; }
};

class CaseFile {
 public:
  static Result<CaseFile> open(const std::string& folder);

  const std::vector<KernelCase>& cases() const { return cases_; }

 private:
  explicit CaseFile(MappedFile data) : data_(std::move(data)) {}

  MappedFile data_;
  std::vector<KernelCase> cases_;
};

// The key as a launcher takes it: every field of the declaration, in its order.
Result<std::vector<int64_t>> key_values(const KernelDecl& decl, const KernelCase& from);

}  // namespace nereid::testing
