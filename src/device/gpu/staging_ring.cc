// One pinned block, an event for each slot.
#include "src/device/gpu/staging_ring.h"

namespace nereid::gpu {

Status StagingRing::create() {
  NEREID_RETURN_IF_ERROR(session_.call(&Calls::host_alloc, &memory_, kSlots * kSlotBytes, 0U));
  for (Slot& slot : slots_) {
    NEREID_RETURN_IF_ERROR(session_.call(&Calls::event_create, &slot.event, kEventDisableTiming));
  }
  return {};
}

StagingRing::~StagingRing() {
  const Library& library = session_.library();
  for (const Slot& slot : slots_) {
    if (slot.event != nullptr) library.run(&Calls::event_destroy, slot.event);
  }
  if (memory_ != nullptr) library.run(&Calls::host_free, memory_);
}

Result<std::byte*> StagingRing::acquire() {
  next_ = (next_ + 1) % kSlots;
  Slot& slot = slots_[next_];
  if (slot.in_use) {
    NEREID_RETURN_IF_ERROR(session_.call(&Calls::event_synchronize, slot.event));
    slot.in_use = false;
  }
  return static_cast<std::byte*>(memory_) + next_ * kSlotBytes;
}

Status StagingRing::release(Handle stream) {
  Slot& slot = slots_[next_];
  NEREID_RETURN_IF_ERROR(session_.call(&Calls::event_record, slot.event, stream));
  slot.in_use = true;
  return {};
}

}  // namespace nereid::gpu
