// Collecting events and writing them as Chrome trace JSON.
#include "src/device/trace.h"

#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "src/base/atomic_file.h"

namespace nereid {
namespace {

int64_t clock_ns() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

const char* kind_name(TraceEvent::Kind kind) {
  switch (kind) {
    case TraceEvent::Kind::kLaunch:
      return "launch";
    case TraceEvent::Kind::kUpload:
      return "upload";
    case TraceEvent::Kind::kDownload:
      return "download";
    case TraceEvent::Kind::kAlloc:
      return "alloc";
    case TraceEvent::Kind::kFree:
      return "free";
    case TraceEvent::Kind::kLoad:
      return "load";
    case TraceEvent::Kind::kMark:
      break;
  }
  return "mark";
}

const char* access_name(Access access) {
  switch (access) {
    case Access::kRead:
      return "read";
    case Access::kWrite:
      return "write";
    case Access::kReadWrite:
      return "readwrite";
    case Access::kNone:
      break;
  }
  return "none";
}

nlohmann::ordered_json event_args(const TraceEvent& event) {
  nlohmann::ordered_json args = nlohmann::ordered_json::object();
  if (event.kind == TraceEvent::Kind::kLaunch) {
    args["variant"] = std::string(event.label);
    args["grid"] = {event.grid.x, event.grid.y, event.grid.z};
  } else if (event.kind != TraceEvent::Kind::kMark) {
    args["bytes"] = event.bytes;
  }
  for (const TraceBuffer& buffer : event.buffers) {
    args[buffer.argument] = fmt::format("{} {:#x} in {:#x}", access_name(buffer.access),
                                        buffer.pointer, buffer.allocation);
  }
  return args;
}

nlohmann::ordered_json chrome_event(const TraceEvent& event) {
  const bool instant = event.kind == TraceEvent::Kind::kMark;
  nlohmann::ordered_json entry;
  if (event.decl != nullptr) {
    entry["name"] = event.decl->name;
  } else if (instant) {
    entry["name"] = std::string(event.label);
  } else {
    entry["name"] = kind_name(event.kind);
  }
  entry["cat"] = kind_name(event.kind);
  entry["ph"] = instant ? "i" : "X";
  entry["pid"] = 1;
  entry["tid"] = 1;
  entry["ts"] = static_cast<double>(event.start_ns) / 1e3;  // microseconds
  if (instant) {
    entry["s"] = "g";
  } else {
    entry["dur"] = static_cast<double>(event.end_ns - event.start_ns) / 1e3;
  }
  entry["args"] = event_args(event);
  return entry;
}

class TracedDevice : public Device {
 public:
  TracedDevice(Device& inner, Trace& trace) : inner_(inner), trace_(trace) {}

  const DeviceInfo& info() const override { return inner_.info(); }

  Result<DevicePtr> alloc(uint64_t bytes) override {
    const int64_t start = trace_.now_ns();
    auto pointer = inner_.alloc(bytes);
    if (!pointer) return pointer;
    live_[*pointer] = bytes;
    note(TraceEvent::Kind::kAlloc, *pointer, Access::kNone, bytes, start);
    return pointer;
  }

  void free(DevicePtr pointer) override {
    const int64_t start = trace_.now_ns();
    inner_.free(pointer);
    note(TraceEvent::Kind::kFree, pointer, Access::kNone, 0, start);
    live_.erase(pointer);
  }

  Result<uint64_t> free_bytes() override { return inner_.free_bytes(); }

  Status upload(DevicePtr destination, std::span<const std::byte> source) override {
    const int64_t start = trace_.now_ns();
    Status status = inner_.upload(destination, source);
    note(TraceEvent::Kind::kUpload, destination, Access::kWrite, source.size(), start);
    return status;
  }

  Status download(std::span<std::byte> destination, DevicePtr source) override {
    const int64_t start = trace_.now_ns();
    Status status = inner_.download(destination, source);
    note(TraceEvent::Kind::kDownload, source, Access::kRead, destination.size(), start);
    return status;
  }

  Result<const LoadedKernel*> load(const KernelImage& image) override {
    TraceEvent event{
        .kind = TraceEvent::Kind::kLoad, .image = image.blob.data(), .bytes = image.blob.size()};
    event.start_ns = trace_.now_ns();
    auto kernel = inner_.load(image);
    if (kernel) event.kernel = *kernel;
    event.end_ns = trace_.now_ns();
    trace_.add(std::move(event), image.entry);
    return kernel;
  }

  Status launch(const LaunchParams& params) override;
  // Sequences are not passed on: a launch is timed when it runs, alone.
  Status synchronize() override { return inner_.synchronize(); }

 private:
  DevicePtr allocation_of(DevicePtr pointer) const {
    auto after = live_.upper_bound(pointer);
    if (after == live_.begin()) return 0;
    const auto& [start, bytes] = *--after;
    return pointer == start || pointer - start < bytes ? start : 0;
  }

  void note(TraceEvent::Kind kind, DevicePtr pointer, Access access, uint64_t bytes,
            int64_t start) {
    TraceEvent event{.kind = kind, .bytes = bytes, .start_ns = start, .end_ns = trace_.now_ns()};
    event.buffers.push_back({"memory", access, pointer, allocation_of(pointer)});
    trace_.add(std::move(event), "");
  }

  Device& inner_;
  Trace& trace_;
  std::map<DevicePtr, uint64_t> live_;  // start -> bytes
};

Status TracedDevice::launch(const LaunchParams& params) {
  TraceEvent event{.kind = TraceEvent::Kind::kLaunch,
                   .decl = params.decl,
                   .kernel = params.kernel,
                   .grid = params.grid};
  event.start_ns = trace_.now_ns();
  Status status = inner_.launch(params);
  event.end_ns = trace_.now_ns();
  for (size_t at = 0; params.decl != nullptr && at < params.args.size(); ++at) {
    const ArgDecl& arg = params.decl->args[at];
    if (arg.kind != ArgKind::kPtr || params.args[at] == 0) continue;
    event.buffers.push_back(
        {arg.name, arg.access, params.args[at], allocation_of(params.args[at])});
  }
  trace_.add(std::move(event), params.label);
  return status;
}

}  // namespace

Trace::Trace(size_t max_events) : max_events_(max_events), start_ns_(clock_ns()) {}

int64_t Trace::now_ns() const {
  return clock_ns() - start_ns_;
}

void Trace::add(TraceEvent event, std::string_view label) {
  if (events_.size() > max_events_) return;
  if (events_.size() == max_events_) {
    event = {.kind = TraceEvent::Kind::kMark, .start_ns = event.start_ns, .end_ns = event.start_ns};
    label = "the trace is full: what follows is left out";
  }
  event.label = *labels_.emplace(label).first;
  events_.push_back(std::move(event));
}

void Trace::mark(std::string_view text) {
  const int64_t now = now_ns();
  add({.kind = TraceEvent::Kind::kMark, .start_ns = now, .end_ns = now}, text);
}

Status Trace::write_chrome_json(const std::string& path) const {
  NEREID_TRY(AtomicFile file, AtomicFile::create(path));
  NEREID_RETURN_IF_ERROR(file.write("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n"));
  std::string batch;
  for (size_t at = 0; at < events_.size(); ++at) {
    batch += chrome_event(events_[at]).dump();
    batch += at + 1 < events_.size() ? ",\n" : "\n";
    if (batch.size() > size_t{1} << 16) {
      NEREID_RETURN_IF_ERROR(file.write(batch));
      batch.clear();
    }
  }
  batch += "]}\n";
  NEREID_RETURN_IF_ERROR(file.write(batch));
  return file.commit();
}

std::unique_ptr<Device> make_traced_device(Device& inner, Trace& trace) {
  return std::make_unique<TracedDevice>(inner, trace);
}

}  // namespace nereid
