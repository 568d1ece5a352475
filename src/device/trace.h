// What happened on a device: every launch, upload, download and kernel load, in order.
//
// Two uses: a timeline (Chrome trace JSON, viewable in Perfetto), and the proof that tensor data is
// written by kernels alone (which launch wrote which allocation).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "src/base/result.h"
#include "src/device/device.h"
#include "src/device/kernel_decl.h"

namespace nereid {

struct TraceBuffer {
  const char* argument = "";  // name of the kernel argument
  Access access = Access::kNone;
  DevicePtr pointer = 0;
  DevicePtr allocation = 0;  // start of the allocation that holds it; 0 if unknown
};

struct TraceEvent {
  enum class Kind : uint8_t { kLaunch, kUpload, kDownload, kAlloc, kFree, kLoad, kMark } kind;
  std::string_view label;  // launch: variant and choice; mark: its text. Owned by the trace
  const KernelDecl* decl = nullptr;
  const LoadedKernel* kernel = nullptr;  // launch; load: what it gave, null on failure
  const std::byte* image = nullptr;      // load: where the kernel's code was read
  Grid grid;
  uint64_t bytes = 0;                // copies and allocations
  int64_t start_ns = 0, end_ns = 0;  // since the trace began
  std::vector<TraceBuffer>
      buffers;  // launch: its pointers that are not null; else the one concerned
};

class Trace {
 public:
  // What comes after so many events is left out, and a mark says so: about 300 MB of memory.
  static constexpr size_t kMaxEvents = 1'000'000;

  explicit Trace(size_t max_events = kMaxEvents);

  const std::vector<TraceEvent>& events() const { return events_; }
  void add(TraceEvent event, std::string_view label);
  // A point in time with a name, such as "ready".
  void mark(std::string_view text);
  void clear() { events_.clear(); }

  int64_t now_ns() const;

  // Atomic: the file appears whole or not at all.
  Status write_chrome_json(const std::string& path) const;

 private:
  size_t max_events_;
  int64_t start_ns_ = 0;
  std::vector<TraceEvent> events_;
  std::unordered_set<std::string> labels_;
};

// A device that passes everything on to `inner` and notes it in `trace`. Both must outlive it.
// `inner`'s launches are timed around launch(), which on drivers that only enqueue is the time of
// enqueueing.
std::unique_ptr<Device> make_traced_device(Device& inner, Trace& trace);

}  // namespace nereid
