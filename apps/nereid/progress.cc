// See progress.h. A counter on a terminal, one plain line elsewhere.
#include "apps/nereid/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

namespace nereid::commands {

void show_progress(LoadOptions& load) {
  load.on_pack_progress = [terminal = isatty(2) == 1](int done, int total, const std::string&) {
    if (terminal) {
      fmt::print(stderr, "\rcompiling kernels {}/{}{}", done, total, done == total ? "\n" : "");
    } else if (done == total) {
      fmt::print(stderr, "compiled {} kernels\n", total);
    }
  };
}

}  // namespace nereid::commands
