// A progress bar on standard error. Where standard error is no terminal it is one plain line at the
// start and one at the end.
#pragma once

#include <cstdint>
#include <string_view>

struct NereidProgress;

namespace nereid::text {

enum class ProgressUnit : uint8_t { kItems, kBytes };

struct ProgressOptions {
  uint64_t total = 0;  // 0: not known
  std::string_view message;
  ProgressUnit unit = ProgressUnit::kItems;
};

// Destroying an unfinished bar, as after a failure, removes it without a line. Not for use by
// several threads at once.
class Progress {
 public:
  explicit Progress(const ProgressOptions& options);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void set(uint64_t done);
  // Removes the bar; `message`, when there is one, is printed in its place. Without a terminal the
  // line says how long it took otherwise.
  void finish(std::string_view message = {});

 private:
  NereidProgress* handle_;
};

}  // namespace nereid::text
