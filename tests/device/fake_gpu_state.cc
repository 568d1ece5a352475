// See fake_gpu_state.h.
#include "tests/device/fake_gpu_state.h"

#include <dlfcn.h>
#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <vector>

namespace nereid::testing::fake {

thread_local int current_context = 0;

constexpr size_t kPage = 4096;
constexpr uint64_t kScratchAlign = 128;

static size_t mapped_bytes(size_t bytes) {
  return (bytes + kPage) / kPage * kPage;
}

namespace {

struct KernelInfo {
  uint32_t abi_version, num_args;
  uint64_t scratch_bytes;
  uint32_t scratch_align, reserved;
};

// As drivers do, from the headers alone.
size_t image_bytes(const void* image) {
  Elf64_Ehdr header;
  std::memcpy(&header, image, sizeof(header));
  return header.e_shoff + size_t{header.e_shnum} * sizeof(Elf64_Shdr);
}

// Calls that give something back do so after a fault too.
bool gives_back(const std::string& call) {
  return call.find("Free") != std::string::npos || call.find("Destroy") != std::string::npos ||
         call.find("Unload") != std::string::npos;
}

void* open_object(const void* image) {
  std::string bytes(static_cast<const char*>(image), image_bytes(image));
  const uint16_t machine = EM_X86_64;
  std::memcpy(bytes.data() + offsetof(Elf64_Ehdr, e_machine), &machine, sizeof(machine));
  char path[] = "/tmp/nereid-fake-gpu.XXXXXX";
  const int file = ::mkstemp(path);
  if (file < 0) return nullptr;
  void* library = nullptr;
  if (::write(file, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size())) {
    library = ::dlopen(path, RTLD_NOW | RTLD_LOCAL);
  }
  ::close(file);
  ::unlink(path);
  return library;
}

}  // namespace

const char* code_name(Code code) {
  switch (code) {
    case kOk:
      return "SUCCESS";
    case kInvalidValue:
      return "INVALID_VALUE";
    case kOutOfMemory:
      return "OUT_OF_MEMORY";
    case kNotInitialized:
      return "NOT_INITIALIZED";
    case kNoDevice:
      return "NO_DEVICE";
    case kInvalidDevice:
      return "INVALID_DEVICE";
    case kInvalidImage:
      return "INVALID_IMAGE";
    case kInvalidContext:
      return "INVALID_CONTEXT";
    case kInvalidHandle:
      return "INVALID_HANDLE";
    case kNotFound:
      return "NOT_FOUND";
    case 700:
      return "ILLEGAL_ADDRESS";
    case 999:
      return "UNKNOWN";
    default:
      return nullptr;
  }
}

State& State::get() {
  static State state;
  return state;
}

Code State::misuse(const std::string& what, Code code) {
  if (first_misuse.empty()) first_misuse = what;
  return code;
}

Code State::enter(const char* call, bool needs_context, const std::function<Code()>& action) {
  const std::lock_guard lock(mutex);
  ++counts[call];
  if (const auto at = failures_at.find(call); at != failures_at.end() && --at->second == 0) {
    failures_at.erase(at);
    const Code code = failure_codes[call];
    if (code >= 700 && code < 720) fault = code;
    return code;
  }
  if (!initialised && std::string(call).find("Init") == std::string::npos) {
    return misuse(std::string(call) + " before the driver was initialised", kNotInitialized);
  }
  if (needs_context) {
    if (current_context == 0 || contexts[current_context - 1] == 0) {
      return misuse(std::string(call) + " without a current context", kInvalidContext);
    }
    if (fault != kOk) {
      if (gives_back(call)) action();
      return fault;
    }
  }
  return action();
}

Code State::alloc(uint64_t* pointer, size_t bytes) {
  if (bytes == 0) return misuse("allocation of nothing", kInvalidValue);
  if (bytes > config.memory_bytes - used_bytes) return kOutOfMemory;
  void* made = ::mmap(nullptr, mapped_bytes(bytes), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (made == MAP_FAILED) return kOutOfMemory;
  std::memset(made, 0xCD, std::min(bytes, kPage));  // it holds something
  *pointer = reinterpret_cast<uint64_t>(made);
  memory[*pointer] = bytes;
  used_bytes += bytes;
  return kOk;
}

Code State::free(uint64_t pointer) {
  const auto found = memory.find(pointer);
  if (found == memory.end()) return misuse("free of memory that is not allocated", kInvalidValue);
  const Code code = drain_all();
  used_bytes -= found->second;
  ::munmap(reinterpret_cast<void*>(pointer), mapped_bytes(found->second));
  memory.erase(found);
  return code;
}

bool State::inside(uint64_t pointer, size_t bytes) const {
  auto after = memory.upper_bound(pointer);
  if (after == memory.begin()) return false;
  --after;
  return pointer + bytes <= after->first + after->second;
}

Code State::enqueue(void* stream, Work work) {
  const auto found = streams.find(stream);
  if (found == streams.end()) return misuse("a stream that is not live", kInvalidHandle);
  if (found->second->capturing) {
    found->second->capturing->work.push_back(std::move(work));
    return kOk;
  }
  found->second->pending.push_back(std::move(work));
  ++found->second->enqueued;
  return kOk;
}

Code State::drain(Stream& stream, uint64_t mark) {
  while (stream.done < mark && !stream.pending.empty()) {
    const auto work = std::move(stream.pending.front());
    stream.pending.pop_front();
    ++stream.done;
    if (fault == kOk) fault = work();
  }
  return fault;
}

Code State::drain_all() {
  for (auto& [handle, stream] : streams) drain(*stream, stream->enqueued);
  return fault;
}

Code State::load(void** module, const void* image) {
  auto made = std::make_unique<Module>();
  made->library = open_object(image);
  if (made->library == nullptr) return kInvalidImage;
  *module = made.get();
  modules[*module] = std::move(made);
  return kOk;
}

Code State::unload(void* module) {
  const auto found = modules.find(module);
  if (found == modules.end()) return misuse("a module that is not live", kInvalidHandle);
  const Code code = drain_all();
  std::erase_if(functions, [&](const auto& entry) { return entry.second->module == module; });
  ::dlclose(found->second->library);
  modules.erase(found);
  return code;
}

Code State::find(void** function, void* module, const char* name) {
  const auto found = modules.find(module);
  if (found == modules.end()) return misuse("a module that is not live", kInvalidHandle);
  void* library = found->second->library;
  const void* info_at = ::dlsym(library, (std::string(name) + "_info").c_str());
  void* entry = ::dlsym(library, name);
  if (entry == nullptr || info_at == nullptr) return kNotFound;
  KernelInfo info{};
  std::memcpy(&info, info_at, sizeof(info));
  auto made = std::make_unique<Function>();
  made->module = found->second.get();
  made->run = reinterpret_cast<EntryFn>(entry);
  made->num_args = info.num_args;
  made->scratch_bytes = (info.scratch_bytes + kScratchAlign - 1) / kScratchAlign * kScratchAlign;
  made->max_shared_bytes = kPlainShared;
  *function = made.get();
  functions[*function] = std::move(made);
  return kOk;
}

Code State::launch(void* handle, void* stream, const Launch& launch, void** params) {
  const auto found = functions.find(handle);
  if (found == functions.end())
    return misuse("launch of a function that is not live", kInvalidHandle);
  const Function& function = *found->second;
  const auto& grid = launch.grid;
  if (grid[0] == 0 || grid[1] == 0 || grid[2] == 0 || grid[0] > 0x7FFFFFFF || grid[1] > 65535 ||
      grid[2] > 65535) {
    return misuse("a grid that the GPU does not have", kInvalidValue);
  }
  if (launch.cluster == 0 || grid[0] % launch.cluster != 0) {
    return misuse("a grid that is not whole clusters", kInvalidValue);
  }
  if (launch.block[0] == 0 || launch.block[0] % launch.warp_size != 0 || launch.block[0] > 1024 ||
      launch.block[1] != 1 || launch.block[2] != 1) {
    return misuse("blocks that are not whole warps", kInvalidValue);
  }
  const uint32_t shared = launch.asks_for_shared ? function.max_shared_bytes : kMaxShared;
  if (launch.shared_bytes > shared) {
    return misuse("more shared memory than was asked for", kInvalidValue);
  }
  // Values are taken when the launch is enqueued, as drivers do.
  std::vector<uint64_t> args(function.num_args);
  for (uint32_t at = 0; at < function.num_args; ++at) std::memcpy(&args[at], params[at], 8);
  uint64_t scratch = 0, profile = 1;
  std::memcpy(&scratch, params[function.num_args], 8);
  std::memcpy(&profile, params[function.num_args + 1], 8);
  const uint64_t programs = uint64_t{grid[0]} / launch.cluster * grid[1] * grid[2];
  const auto capturing = streams.find(stream);
  const bool captured = capturing != streams.end() && capturing->second->capturing != nullptr;
  if (captured && launch.pdl && config.cuda_version < 12030) {
    return misuse("a dependent launch in a capture, which this driver does not know",
                  kInvalidValue);
  }
  launches.clusters += launch.cluster > 1 ? 1 : 0;
  (captured ? launches.captured_dependent : launches.dependent) += launch.pdl ? 1 : 0;
  if (profile != 0 ||
      (function.scratch_bytes > 0 && !inside(scratch, function.scratch_bytes * programs))) {
    return misuse("scratch memory that is too small", kInvalidValue);
  }
  return enqueue(stream, [this, function, launch, args, scratch] {
    return run(function, launch, args, scratch);
  });
}

Code State::run(const Function& function, const Launch& launch, const std::vector<uint64_t>& args,
                uint64_t scratch) {
  if (const auto at = failures_at.find("run"); at != failures_at.end() && --at->second == 0) {
    failures_at.erase(at);
    return failure_codes["run"];
  }
  // The kernels count programs, not blocks.
  const uint32_t grid[3] = {launch.grid[0] / launch.cluster, launch.grid[1], launch.grid[2]};
  const auto programs = grid[0] * grid[1] * grid[2];
  if (function.scratch_bytes == 0) {
    function.run(args.data(), 0, programs, grid, nullptr);
    return kOk;
  }
  for (uint32_t at = 0; at < programs; ++at) {
    function.run(args.data(), at, at + 1, grid,
                 reinterpret_cast<void*>(scratch + at * function.scratch_bytes));
  }
  return kOk;
}

}  // namespace nereid::testing::fake

namespace nereid::testing {

using fake::State;

void fake_gpu_reset(const FakeGpuConfig& config) {
  State& state = State::get();
  const std::lock_guard lock(state.mutex);
  state.config = config;
  state.initialised = false;
  state.fault = fake::kOk;
  state.counts.clear();
  state.failures_at.clear();
  state.failure_codes.clear();
  state.first_misuse.clear();
  state.launches = {};
  state.contexts.clear();
  state.streams.clear();
  state.graphs.clear();
  state.events.clear();
  state.functions.clear();
  state.modules.clear();
  for (const auto& [pointer, bytes] : state.memory) {
    ::munmap(reinterpret_cast<void*>(pointer), fake::mapped_bytes(bytes));
  }
  state.memory.clear();
  for (const auto& [pointer, bytes] : state.host_memory) std::free(pointer);
  state.host_memory.clear();
  state.used_bytes = 0;
}

void fake_gpu_fail(const std::string& call, int nth, int code) {
  State& state = State::get();
  const std::lock_guard lock(state.mutex);
  state.failures_at[call] = nth;
  state.failure_codes[call] = code;
}

int fake_gpu_calls(const std::string& call) {
  State& state = State::get();
  const std::lock_guard lock(state.mutex);
  return state.counts[call];
}

FakeGpuLaunches fake_gpu_launches() {
  State& state = State::get();
  const std::lock_guard lock(state.mutex);
  return state.launches;
}

FakeGpuLive fake_gpu_live() {
  State& state = State::get();
  const std::lock_guard lock(state.mutex);
  FakeGpuLive live;
  for (const auto& [device, count] : state.contexts) live.contexts += count;
  live.streams = static_cast<int>(state.streams.size());
  live.events = static_cast<int>(state.events.size());
  live.modules = static_cast<int>(state.modules.size());
  live.allocations = static_cast<int>(state.memory.size());
  live.graphs = static_cast<int>(state.graphs.size());
  live.host_allocations = static_cast<int>(state.host_memory.size());
  return live;
}

std::string fake_gpu_misuse() {
  State& state = State::get();
  const std::lock_guard lock(state.mutex);
  return state.first_misuse;
}

std::string fake_gpu_image(const std::string& driver, std::string object) {
  const uint16_t machine = driver == "cuda" ? 190 : 224;
  std::memcpy(object.data() + offsetof(Elf64_Ehdr, e_machine), &machine, sizeof(machine));
  return object;
}

}  // namespace nereid::testing
