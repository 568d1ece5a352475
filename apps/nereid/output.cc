// See output.h. SIGPIPE is ignored by app.cc, so that a closed pipe arrives here as EPIPE.
#include "apps/nereid/output.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace nereid::commands {

void Output::write(std::string_view text) {
  while (!text.empty() && ok()) {
    const ssize_t written = ::write(fd_, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<size_t>(written));
    } else if (errno != EINTR) {
      failure_ = errno;
    }
  }
}

void Output::line(std::string_view text) {
  write(std::string(text) + "\n");
}

Status Output::status() const {
  if (failure_ == 0 || failure_ == EPIPE) return {};
  return error("cannot write the output: {}", std::strerror(failure_));
}

}  // namespace nereid::commands
