// Ctrl-C: while an Interrupt lives, the first SIGINT asks for a clean stop (a flag that generation
// polls), the second one kills the process as usual. One at a time.
#pragma once

#include <atomic>

namespace nereid::commands {

class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  const std::atomic<bool>& flag() const;
  // Asks for a stop without a signal, such as when nobody reads the output any more.
  void request() const;
  bool received() const;
  // Whether a stop was asked for; from then on it is not any more.
  bool take();
};

}  // namespace nereid::commands
