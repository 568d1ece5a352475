// One generation with its text streamed as it comes: what `run` and `chat` share.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "apps/nereid/command.h"
#include "apps/nereid/interrupt.h"
#include "apps/nereid/options.h"
#include "src/base/result.h"
#include "src/engine/engine.h"

namespace nereid::commands {

struct ReplyParams {
  std::vector<int32_t> prompt_ids;
  Output* stream = nullptr;  // text goes here token by token; null: nowhere
};

struct Reply {
  GenerateResult result;
  std::string text;  // without special tokens
};

// Stops early when `interrupt` asks for it, and asks for it when nobody reads the stream any more.
Result<Reply> generate_reply(Engine& engine, const SamplingOptions& options,
                             const ReplyParams& params, const Interrupt& interrupt);

// "eos", "length", "cancelled"
const char* stop_name(GenerateResult::Stop stop);

// "33 prompt tokens in 0.10 s (330.0/s), 20 tokens in 0.20 s (95.0/s)"
std::string describe_timings(size_t prompt_tokens, const GenerateResult& result);

// Tokens generated after the first one per second of decoding (the first belongs to the prefill).
double decode_rate(const GenerateResult& result);
double prefill_rate(size_t prompt_tokens, const GenerateResult& result);

}  // namespace nereid::commands
