// NEREID_CHECK: a condition that only a bug can break. Active in release builds; aborts with the
// place and a message. Never reachable from user input: that is Result (result.h).
#pragma once

#include <fmt/format.h>
#include <string>

namespace nereid {
[[noreturn]] void check_failed(const char* condition, const char* file, int line,
                               const std::string& message);
}  // namespace nereid

// NEREID_CHECK(rows > 0, "rows {}", rows)
#define NEREID_CHECK(condition, ...)                                                    \
  do {                                                                                  \
    if (!(condition)) [[unlikely]]                                                      \
      ::nereid::check_failed(#condition, __FILE__, __LINE__, fmt::format(__VA_ARGS__)); \
  } while (0)
