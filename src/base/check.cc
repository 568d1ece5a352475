// The failing side of NEREID_CHECK.
#include "src/base/check.h"

#include <cstdio>
#include <cstdlib>

namespace nereid {

void check_failed(const char* condition, const char* file, int line, const std::string& message) {
  std::fprintf(stderr, "nereid: internal error: %s:%d: %s: %s\n", file, line, condition,
               message.c_str());
  std::abort();
}

}  // namespace nereid
