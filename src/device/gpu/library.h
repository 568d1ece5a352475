// A GPU driver's library, loaded at run time: its calls, and what their errors mean.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "src/base/result.h"
#include "src/device/gpu/calls.h"

namespace nereid::gpu {

class Library {
 public:
  // Loads and initialises it. Errors: not there, a symbol missing, driver too old. Never unloaded:
  // drivers do not survive that.
  static Result<std::shared_ptr<const Library>> open(const Flavor& flavor);

  const Flavor& flavor() const { return *flavor_; }
  const Calls& calls() const { return calls_; }
  int version() const { return version_; }  // of the driver, as it counts

  template <typename... Parameters, typename... Args>
  Code run(Code (*Calls::*call)(Parameters...), Args... args) const {
    return (calls_.*call)(args...);
  }
  // The same, with an error that names the call and says what the driver says of the code.
  template <typename... Parameters, typename... Args>
  Status call(Code (*Calls::*member)(Parameters...), Args... args) const {
    const Code code = run(member, args...);
    if (code == 0) return {};
    return error("{}", failure(member, code));
  }
  // "cuMemAlloc_v2: CUDA_ERROR_OUT_OF_MEMORY, out of memory"
  template <typename... Parameters>
  std::string failure(Code (*Calls::*member)(Parameters...), Code code) const {
    return failure_text(static_cast<const void*>(&(calls_.*member)), code);
  }

  Result<int> device_count() const;

 private:
  Library() = default;
  Result<void*> load_library();
  Status load_symbols(void* handle);
  std::string failure_text(const void* slot, Code code) const;

  const Flavor* flavor_ = nullptr;
  int version_ = 0;
  Calls calls_{};
  std::array<const char*, sizeof(Calls) / sizeof(void*)> names_{};  // of each call
  std::string path_;
};

}  // namespace nereid::gpu
