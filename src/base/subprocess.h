// Running another program: no shell, its progress read line by line, its complaints kept.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"

namespace nereid {

struct ProcessOptions {
  std::vector<std::string> argv;  // argv[0] is looked up in PATH unless it has a slash
  std::string working_dir;        // empty: inherited
  std::string input;  // the child's standard input: a file of its own in memory, /dev/stdin there
  // If set, the child's descriptor 3 is a pipe and each line written there comes here.
  std::function<void(std::string_view line)> on_progress_line;
};

struct ProcessResult {
  int exit_code = 0;   // 128 + signal when a signal ended it
  std::string output;  // end of stdout and stderr together, at most 16 KiB
};

// Waits until it ends. An error means that it could not be started.
Result<ProcessResult> run_process(const ProcessOptions& options);

}  // namespace nereid
