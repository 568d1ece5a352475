// The current context of each thread; which errors last.
#include "src/device/gpu/session.h"

#include <atomic>

namespace nereid::gpu {
namespace {

// Whose context is current in this thread: Session::id_.
thread_local uint64_t current_session = 0;

uint64_t next_id() {
  static std::atomic<uint64_t> last = 0;
  return ++last;
}

// Faults of a kernel or of the GPU; both drivers have the same numbers for them.
bool is_fault(Code code) {
  switch (code) {
    case 214:  // uncorrectable memory error
    case 220:  // link error
    case 700:  // illegal address
    case 702:  // launch timed out
    case 709:  // context is destroyed
    case 710:  // assertion in a kernel
    case 714:  // hardware stack error
    case 715:  // illegal instruction
    case 716:  // misaligned address
    case 717:  // invalid address space
    case 718:  // invalid program counter
    case 719:  // launch failed
      return true;
    default:
      return false;
  }
}

}  // namespace

Session::Session(std::shared_ptr<const Library> library)
    : library_(std::move(library)), id_(next_id()) {}

Session::~Session() {
  if (device_ < 0) return;
  library_->run(&Calls::context_release, device_);
  current_session = 0;
}

Status Session::open(int device) {
  NEREID_RETURN_IF_ERROR(call(&Calls::context_retain, &context_, device));
  device_ = device;
  return enter();
}

Status Session::enter() {
  if (!broken_.empty()) return error("{}", broken_);
  if (device_ < 0) return error("no context");
  if (current_session == id_) return {};
  NEREID_RETURN_IF_ERROR(call(&Calls::context_set_current, context_));
  current_session = id_;
  return {};
}

void Session::try_enter() {
  if (device_ < 0 || current_session == id_) return;
  if (library_->run(&Calls::context_set_current, context_) == 0) current_session = id_;
}

Status Session::failed(const std::string& message, Code code) {
  note_failure(message, code);
  return error("{}", is_fault(code) ? broken_ : message);
}

void Session::note_failure(const std::string& message, Code code) {
  if (!is_fault(code)) return;
  broken_ = fmt::format("{}; nothing more runs on this GPU in this process", message);
  if (!last_label_.empty()) {
    broken_ += fmt::format(" (enqueued last: {}; NEREID_GPU_SYNC=1 finds the launch that fails)",
                           last_label_);
  }
}

}  // namespace nereid::gpu
