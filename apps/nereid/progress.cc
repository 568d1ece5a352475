// See progress.h.
#include "apps/nereid/progress.h"

#include <unistd.h>

#include <chrono>
#include <memory>
#include <string>

#include "src/text/progress.h"

namespace nereid::commands {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kQuietLoading = std::chrono::milliseconds(500);

struct Bar {
  std::unique_ptr<text::Progress> shown;

  void set(uint64_t done, const text::ProgressOptions& options) {
    if (!shown) shown = std::make_unique<text::Progress>(options);
    shown->set(done);
    if (done < options.total) return;
    shown->finish();
    shown.reset();
  }
};

}  // namespace

void show_progress(LoadOptions& load) {
  load.on_pack_progress = [bar = std::make_shared<Bar>()](int done, int total, const std::string&) {
    bar->set(static_cast<uint64_t>(done), {.total = static_cast<uint64_t>(total),
                                           .message = "compiling kernels for this model (once)"});
  };
  if (isatty(2) != 1) return;
  load.on_load_progress = [bar = std::make_shared<Bar>(), start = Clock::now()](uint64_t done,
                                                                                uint64_t total) {
    if (!bar->shown && (done >= total || Clock::now() - start < kQuietLoading)) return;
    bar->set(done,
             {.total = total, .message = "loading weights", .unit = text::ProgressUnit::kBytes});
  };
}

}  // namespace nereid::commands
