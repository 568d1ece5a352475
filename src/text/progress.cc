// Progress over the C ABI; drawn by indicatif in rust/nereid_text.
#include "src/text/progress.h"

#include "src/text/ffi.h"

namespace nereid::text {

Progress::Progress(const ProgressOptions& options)
    : handle_(nereid_progress_new(options.total, slice(options.message),
                                  options.unit == ProgressUnit::kBytes)) {}

Progress::~Progress() {
  nereid_progress_free(handle_);
}

void Progress::set(uint64_t done) {
  nereid_progress_set(handle_, done);
}

void Progress::finish(std::string_view message) {
  nereid_progress_finish(handle_, slice(message));
}

}  // namespace nereid::text
