// The model that tests of this folder's parsers speak to: 262 tokens, small limits.
#pragma once

#include "src/server/openai/request.h"

namespace nereid::openai {

inline const ApiModel& test_model() {
  static const ApiModel kModel{.name = "m",
                               .vocab_size = 262,
                               .max_context = 1000,
                               .defaults = {.eos_ids = {257}, .temperature = 0.5f},
                               .limits = {.max_choices = 8,
                                          .max_prompts = 4,
                                          .max_logprobs = 5,
                                          .max_stop = 4,
                                          .max_stop_bytes = 1024,
                                          .max_logit_bias = 100,
                                          .max_messages = 32,
                                          .max_tools = 8,
                                          .max_schema_bytes = 4096}};
  return kModel;
}

}  // namespace nereid::openai
