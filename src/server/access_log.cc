// See access_log.h.
#include "src/server/access_log.h"

#include "src/base/json.h"
#include "src/base/log.h"

namespace nereid::server {

void log_access(const AccessRecord& record) {
  if (!log_enabled(LogLevel::kInfo)) return;
  log_event(LogLevel::kInfo, "request",
            {{"request_id", record.request_id},
             {"peer", record.peer},
             {"method", printable(record.method, 16)},
             {"path", printable(record.path, 128)},
             {"status", record.status},
             {"bytes_in", static_cast<int64_t>(record.bytes_in)},
             {"bytes_out", static_cast<int64_t>(record.bytes_out)},
             {"seconds", record.seconds},
             {"complete", record.complete}});
}

}  // namespace nereid::server
