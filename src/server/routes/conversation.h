// What chat and responses share: a conversation made ready for the engine.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "src/server/openai/model_text.h"
#include "src/server/routes/generation_job.h"

namespace nereid::server {

struct PreparedChat {
  std::vector<int32_t> prompt;
  std::shared_ptr<const text::Grammar> grammar;
};

// Slow: template, tokenizer and grammar. `param` names the conversation in errors.
inline openai::ApiResult<PreparedChat> prepare_chat(const openai::ChatRequest& request,
                                                    std::string_view param,
                                                    openai::ModelText& text) {
  PreparedChat out;
  API_TRY(out.prompt, text.encode_chat(request, param));
  API_TRY(out.grammar, text.compile(request.generation, &request.tools));
  return out;
}

// Worth another thread: grammars, variables that steer a template's loops, much text.
inline bool is_long_work(const openai::ChatRequest& request, size_t body_bytes) {
  return body_bytes > 2048 || request.generation.constraint || !request.tools.tools.empty() ||
         !request.template_variables.empty();
}

inline JobRequest job_request(const openai::ChatRequest& request, PreparedChat prepared) {
  JobRequest out{.generation = request.generation,
                 .grammar = std::move(prepared.grammar),
                 .tools = &request.tools};
  out.prompts.push_back(std::move(prepared.prompt));
  return out;
}

}  // namespace nereid::server
