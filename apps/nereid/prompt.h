// From what a person or a file says to prompt token ids: plain text, or a conversation through the
// model's chat template.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"
#include "src/engine/engine.h"

namespace nereid::commands {

// Text as it is, with the special tokens (such as BOS) that the tokenizer puts around a text.
Result<std::vector<int32_t>> encode_text(const Engine& engine, std::string_view text);

// `conversation`: {"messages": [{"role": ..., "content": ...}, ...], "tools": [...]?, more template
// variables?, "add_generation_prompt": bool?}. An error when the model has no chat template.
Result<std::vector<int32_t>> encode_conversation(const Engine& engine,
                                                 const nlohmann::ordered_json& conversation);

// A JSON array of messages, or an object as above. `name` is put before errors.
Result<nlohmann::ordered_json> parse_conversation(std::string_view text, std::string_view name);

// {"messages": [{system}?, {user}]} with the generation prompt asked for. Both must be UTF-8.
Result<nlohmann::ordered_json> make_conversation(const std::string& system,
                                                 const std::string& user);

// What a person typed goes into JSON, which is UTF-8 only. The error names `name` and the byte.
Status check_utf8(std::string_view text, std::string_view name);

// One JSON value, keys in their order; checked for size, depth and duplicate keys.
Result<nlohmann::ordered_json> parse_ordered_json(std::string_view text, std::string_view name);

// The whole of a file, or of `input_fd` when `path` is "-". At most 64 MiB.
Result<std::string> read_input(const std::string& path, int input_fd);

}  // namespace nereid::commands
