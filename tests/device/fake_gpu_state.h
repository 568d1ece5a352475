// What the stand-in for GPU drivers does behind both sets of names; see fake_gpu.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "tests/device/fake_gpu.h"

namespace nereid::testing::fake {

using Code = int;
inline constexpr Code kOk = 0, kInvalidValue = 1, kOutOfMemory = 2, kNotInitialized = 3,
                      kNoDevice = 100, kInvalidDevice = 101, kInvalidImage = 200,
                      kInvalidContext = 201, kInvalidHandle = 400, kNotFound = 500;

const char* code_name(Code code);

using Work = std::function<Code()>;

struct Graph {
  std::vector<Work> work;
};

struct Stream {
  std::deque<std::function<Code()>> pending;
  uint64_t enqueued = 0, done = 0;
  std::unique_ptr<Graph> capturing;
};

struct Event {
  Stream* stream = nullptr;
  uint64_t mark = 0;  // of the stream's work
};

struct Module {
  void* library = nullptr;
};

using EntryFn = void (*)(const uint64_t* args, uint32_t begin, uint32_t end, const uint32_t grid[3],
                         void* scratch);

struct Function {
  Module* module = nullptr;
  EntryFn run = nullptr;
  uint32_t num_args = 0;
  uint64_t scratch_bytes = 0;
  uint32_t max_shared_bytes = 0;
};

struct Launch {
  uint32_t grid[3], block[3];
  uint32_t shared_bytes = 0;
  uint32_t warp_size = 0;
  uint32_t cluster = 1;          // blocks that run one program
  bool pdl = false;              // may begin before the end of the launch in front
  bool asks_for_shared = false;  // above 48 KiB shared memory has to be asked for first
};

inline constexpr uint32_t kPlainShared = 49152, kMaxShared = 232448;

// One lock for everything: calls come from several threads.
class State {
 public:
  static State& get();

  // Counts the call and fails it where a test wants that, else runs `action` under the lock.
  Code enter(const char* call, bool needs_context, const std::function<Code()>& action);

  Code misuse(const std::string& what, Code code);  // notes it, gives `code`
  Code alloc(uint64_t* pointer, size_t bytes);
  Code free(uint64_t pointer);
  bool inside(uint64_t pointer, size_t bytes) const;
  Code enqueue(void* stream, Work work);
  Code drain(Stream& stream, uint64_t mark);
  Code drain_all();
  Code load(void** module, const void* image);
  Code unload(void* module);
  Code find(void** function, void* module, const char* name);
  Code launch(void* function, void* stream, const Launch& launch, void** params);

  std::mutex mutex;
  FakeGpuConfig config;
  bool initialised = false;
  Code fault = kOk;             // sticky
  std::map<int, int> contexts;  // device -> how often it was retained
  std::map<void*, std::unique_ptr<Stream>> streams;
  std::map<void*, std::unique_ptr<Event>> events;
  std::map<void*, std::unique_ptr<Module>> modules;
  std::map<void*, std::unique_ptr<Function>> functions;
  std::map<void*, std::unique_ptr<Graph>> graphs;  // executable or not
  std::map<uint64_t, size_t> memory;
  std::map<void*, size_t> host_memory;
  uint64_t used_bytes = 0;
  std::map<std::string, int> counts, failures_at, failure_codes;
  std::string first_misuse;
  FakeGpuLaunches launches;

 private:
  Code run(const Function& function, const Launch& launch, const std::vector<uint64_t>& args,
           uint64_t scratch);
};

// The context of this thread: 1 + its device; 0 if there is none.
extern thread_local int current_context;

}  // namespace nereid::testing::fake
