// Conversions between C++ types and the C ABI of rust/nereid_text. For the .cc files of this
// folder.
#pragma once

#include <string>
#include <string_view>

#include "rust/nereid_text/nereid_text.h"
#include "src/base/result.h"

namespace nereid::text {

inline NereidSlice slice(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// Copies and gives back.
inline std::string take(NereidBuffer buffer) {
  std::string text(reinterpret_cast<const char*>(buffer.data), buffer.size);
  nereid_buffer_free(buffer);
  return text;
}

inline std::unexpected<Error> take_error(NereidBuffer message) {
  return std::unexpected(Error{take(message)});
}

}  // namespace nereid::text
