// Ids of answers, messages and calls: a prefix and random letters and digits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace nereid::openai {

// random_id("chatcmpl-") = "chatcmpl-" and 24 characters. Any thread.
std::string random_id(std::string_view prefix, size_t length = 24);
uint64_t random_seed();

}  // namespace nereid::openai
