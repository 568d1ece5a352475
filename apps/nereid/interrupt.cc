// See interrupt.h. A signal handler can reach only globals, hence the flag at file scope.
#include "apps/nereid/interrupt.h"

#include <csignal>

#include "src/base/check.h"

namespace nereid::commands {
namespace {

std::atomic<bool> stop_requested{false};
bool handler_installed = false;
struct sigaction previous_action;

void on_interrupt(int signal) {
  if (stop_requested.exchange(true)) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
}

}  // namespace

Interrupt::Interrupt() {
  NEREID_CHECK(!handler_installed, "two interrupt handlers at once");
  handler_installed = true;
  stop_requested = false;
  struct sigaction action = {};
  action.sa_handler = on_interrupt;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &previous_action);
}

Interrupt::~Interrupt() {
  sigaction(SIGINT, &previous_action, nullptr);
  handler_installed = false;
}

const std::atomic<bool>& Interrupt::flag() const {
  return stop_requested;
}

void Interrupt::request() const {
  stop_requested = true;
}

bool Interrupt::received() const {
  return stop_requested;
}

bool Interrupt::take() {
  return stop_requested.exchange(false);
}

}  // namespace nereid::commands
