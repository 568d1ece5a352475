// Pinned host memory through which copies go: a copy from it is asynchronous, and the caller may
// reuse its own memory at once.
#pragma once

#include <array>
#include <cstddef>

#include "src/base/result.h"
#include "src/device/gpu/session.h"

namespace nereid::gpu {

class StagingRing {
 public:
  static constexpr size_t kSlotBytes = size_t{4} << 20;
  static constexpr size_t kSlots = 8;

  // The session must outlive it, and be entered wherever it is used.
  explicit StagingRing(Session& session) : session_(session) {}
  StagingRing(const StagingRing&) = delete;
  StagingRing& operator=(const StagingRing&) = delete;
  ~StagingRing();  // the GPU must be done with it
  Status create();

  // The next slot, kSlotBytes long, once the GPU is done with what it held before.
  Result<std::byte*> acquire();
  // What is enqueued on `stream` is the last that uses the slot acquired last.
  Status release(Handle stream);

 private:
  struct Slot {
    Handle event = nullptr;
    bool in_use = false;  // the event was recorded and not waited for
  };
  Session& session_;
  void* memory_ = nullptr;
  std::array<Slot, kSlots> slots_;
  size_t next_ = 0;
};

}  // namespace nereid::gpu
