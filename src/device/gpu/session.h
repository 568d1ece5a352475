// One GPU's context, and calls within it: what every part of the driver reaches the GPU through.
//
// A fault on the GPU (an address outside its memory, say) shows in whatever call comes later, and
// from then on nothing works in this process. The session remembers that, so that every later call
// gives the first error and the launch that was enqueued last.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "src/base/result.h"
#include "src/device/gpu/library.h"

namespace nereid::gpu {

class Session {
 public:
  explicit Session(std::shared_ptr<const Library> library);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();  // gives the context back

  Status open(int device);
  const Library& library() const { return *library_; }

  // Makes this context that of the calling thread; an error if a fault was met before.
  Status enter();
  // The same for giving something back, which is tried after a fault too.
  void try_enter();

  template <typename... Parameters, typename... Args>
  Status call(Code (*Calls::*member)(Parameters...), Args... args) {
    const Code code = library_->run(member, args...);
    return code == 0 ? Status() : failed(library_->failure(member, code), code);
  }
  // The error of a call, remembered if it is a fault.
  Status failed(const std::string& message, Code code);
  void note_failure(const std::string& message, Code code);

  void note_launch(std::string_view label) { last_label_ = label; }

 private:
  std::shared_ptr<const Library> library_;
  uint64_t id_ = 0;  // of this object, never given again
  int device_ = -1;
  Handle context_ = nullptr;
  std::string last_label_;
  std::string broken_;  // why nothing works any more; empty: all is well
};

}  // namespace nereid::gpu
