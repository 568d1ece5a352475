// Server-sent events as they come off the wire, read without building JSON for each: a chunk is
// only searched for what is measured.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace nereid::loadgen {

struct Usage {
  int32_t prompt_tokens = -1;  // -1: not said
  int32_t completion_tokens = -1;
};

// What one event says.
struct StreamEvent {
  bool has_text = false;  // of a choice, or part of a tool call
  bool is_done = false;   // "[DONE]"
  bool is_error = false;
  std::optional<Usage> usage;
};

// `payload`: what stands behind "data:".
StreamEvent inspect_event(std::string_view payload);

// Splits bytes into events. A payload of several "data:" lines is not put together: no server of
// this kind sends one.
class EventReader {
 public:
  // Calls on_event(std::string_view payload) for every event that `bytes` completes. False: a line
  // is longer than 16 MiB.
  template <typename OnEvent>
  bool push(std::string_view bytes, OnEvent&& on_event) {
    while (!bytes.empty()) {
      const size_t end = bytes.find('\n');
      if (end == std::string_view::npos) return keep(bytes);
      std::string_view line = bytes.substr(0, end);
      bytes.remove_prefix(end + 1);
      if (!partial_.empty()) {
        if (!keep(line)) return false;
        line = partial_;
      }
      if (line.ends_with('\r')) line.remove_suffix(1);
      if (line.starts_with("data:")) {
        line.remove_prefix(5);
        if (line.starts_with(' ')) line.remove_prefix(1);
        on_event(line);
      }
      partial_.clear();
    }
    return true;
  }

 private:
  bool keep(std::string_view bytes) {
    constexpr size_t kMaxLine = size_t{16} << 20;
    if (partial_.size() + bytes.size() > kMaxLine) return false;
    partial_ += bytes;
    return true;
  }

  std::string partial_;  // a line whose end has not come
};

}  // namespace nereid::loadgen
