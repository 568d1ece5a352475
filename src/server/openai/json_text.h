// JSON written straight into a string, for what is sent once per token: no document is built, and
// nothing is allocated but the string itself.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace nereid::openai {

// The text in quotes. Bytes that are not UTF-8 become U+FFFD, so that the result always is JSON.
void append_json_string(std::string& out, std::string_view text);
// null for empty text.
void append_json_string_or_null(std::string& out, std::string_view text);
void append_json_int(std::string& out, int64_t value);
// Not a number: null. Infinities become the largest finite numbers: JSON has none.
void append_json_number(std::string& out, double value);

// Bytes of the character that starts at text[at]; 0: not UTF-8.
size_t utf8_length(std::string_view text, size_t at);
bool is_utf8(std::string_view text);
// Characters (code points) of valid UTF-8.
size_t count_characters(std::string_view utf8);

}  // namespace nereid::openai
