// Launches that are handed to the GPU together, and graphs of those that come again.
//
// A decode step launches the same kernels on the same memory every time; only what that memory
// holds differs. Within a sequence launches are noted in one list of words, and a list seen before
// is replayed as a graph: one call instead of hundreds.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "src/device/device.h"
#include "src/device/gpu/session.h"

namespace nereid::gpu {

struct Kernel : LoadedKernel {
  Handle module = nullptr, function = nullptr;
  uint32_t threads = 0, shared_bytes = 0;  // of a block
  uint32_t num_ctas = 1;                   // blocks of a program
  bool launch_pdl = false;
  uint64_t scratch_bytes = 0;  // of one program
};

struct NotedLaunch {
  const Kernel* kernel = nullptr;
  Grid grid;
  std::span<const uint64_t> args;  // the kernel's, then the addresses of scratch memory
};

class LaunchList {
 public:
  void clear() { words_.clear(); }
  void add(const NotedLaunch& launch);
  bool empty() const { return words_.empty(); }
  const std::vector<uint64_t>& words() const { return words_; }
  uint64_t hash() const;

  // Calls `visit` with each launch, in order, until it fails.
  template <typename F>
  Status each(F visit) const {
    for (size_t at = 0; at < words_.size();) {
      NotedLaunch launch;
      at = read(at, launch);
      NEREID_RETURN_IF_ERROR(visit(launch));
    }
    return {};
  }

 private:
  size_t read(size_t at, NotedLaunch& launch) const;

  std::vector<uint64_t> words_;
};

// Not thread safe; the session must outlive it.
class GraphCache {
 public:
  // A graph is worth its memory and the time to make it when its launches come again.
  static constexpr size_t kMaxGraphs = 64;
  static constexpr int kSeenBefore = 2;

  explicit GraphCache(Session& session) : session_(session) {}
  GraphCache(const GraphCache&) = delete;
  GraphCache& operator=(const GraphCache&) = delete;
  ~GraphCache() { clear(); }
  void clear();

  // The graph of these launches, if there is one by now; `enqueue` (given a launch) is what it is
  // made of, with `stream` capturing. Null: not yet, launch them one by one.
  template <typename F>
  Result<Handle> find(const LaunchList& list, Handle stream, F enqueue) {
    Entry& entry = entry_of(list);
    if (entry.graph != nullptr || ++entry.seen <= kSeenBefore) return entry.graph;
    NEREID_RETURN_IF_ERROR(session_.call(&Calls::capture_begin, stream, kCaptureThreadLocal));
    const Status enqueued = list.each(enqueue);
    NEREID_TRY(entry.graph, end_capture(stream, enqueued));
    return entry.graph;
  }

 private:
  struct Entry {
    std::vector<uint64_t> words;
    Handle graph = nullptr;
    int seen = 0;
  };
  Entry& entry_of(const LaunchList& list);
  Result<Handle> end_capture(Handle stream, const Status& enqueued);

  Session& session_;
  std::unordered_map<uint64_t, Entry> entries_;  // by hash
};

}  // namespace nereid::gpu
