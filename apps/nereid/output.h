// Standard output of a command, with the two ways it can end told apart: a reader that went away
// (`nereid run ... | head`) is a quiet end, anything else (a full disk) is an error.
#pragma once

#include <string_view>

#include "src/base/result.h"

namespace nereid::commands {

class Output {
 public:
  explicit Output(int fd) : fd_(fd) {}

  // Written at once, so that each token of a stream shows up. After a failure, nothing is written.
  void write(std::string_view text);
  void line(std::string_view text);  // with a newline behind
  bool ok() const { return failure_ == 0; }
  // The error of an earlier write, unless it was a broken pipe.
  Status status() const;

 private:
  int fd_;
  int failure_ = 0;  // errno
};

}  // namespace nereid::commands
