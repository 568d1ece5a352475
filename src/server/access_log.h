// One log line for each request, with the same fields every time.
#pragma once

#include <cstdint>
#include <string_view>

namespace nereid::server {

struct AccessRecord {
  std::string_view request_id, peer, method, path;
  int status = 0;  // 0: nothing was answered
  uint64_t bytes_in = 0, bytes_out = 0;
  double seconds = 0;
  bool complete = false;  // the client took all of the answer
};

// The path is cut and the query is left out: it could hold anything.
void log_access(const AccessRecord& record);

}  // namespace nereid::server
