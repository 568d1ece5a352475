// The text side of the served model, as the OpenAI routes need it: prompts to ids, grammars, and
// how the model writes calls of tools. One per server; what takes long is made once, when first
// needed.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/server/openai/choice.h"
#include "src/server/openai/request.h"
#include "src/server/openai/token_bytes.h"
#include "src/server/openai/tool_format.h"

namespace nereid::openai {

// Functions may be called from any thread; those that say "slow" take milliseconds and more.
class ModelText {
 public:
  struct Source {
    ApiModel model;
    // Errors: what of the model's files could not be read; requests that need it get 500 with it.
    Result<std::shared_ptr<const text::Tokenizer>> tokenizer;
    Result<std::shared_ptr<const text::ChatTemplate>> chat_template;  // may be null
    std::string tool_format = "auto";  // see check_tool_format(); auto: what the template shows
  };
  explicit ModelText(Source source);
  // "auto" or the name of one of tool_formats().
  static Status check_tool_format(std::string_view name);

  const ApiModel& model() const { return source_.model; }
  ApiResult<std::shared_ptr<const text::Tokenizer>> tokenizer() const;
  const TokenBytes& token_bytes() const;  // there must be a tokenizer
  const ToolFormat& tool_format() const { return *tools_.format; }
  // Special tokens that are markers of calls: id and text.
  const std::vector<std::pair<int32_t, std::string>>& shown_tokens() const { return shown_; }

  // Slow. `max_tokens` is what the client asked for: together they must fit into the context.
  ApiResult<std::vector<int32_t>> encode_prompt(const Prompt& prompt,
                                                std::optional<int32_t> max_tokens) const;
  // Slow. The conversation through the chat template. `param` names it in errors.
  ApiResult<std::vector<int32_t>> encode_chat(const ChatRequest& request,
                                              std::string_view param) const;
  // Slow. Null when nothing constrains the output.
  ApiResult<std::shared_ptr<const text::Grammar>> compile(const GenerationRequest& request,
                                                          const ToolRequest* tools);

 private:
  ApiStatus check_length(size_t num_tokens, std::optional<int32_t> max_tokens,
                         std::string_view param) const;
  ApiResult<std::shared_ptr<const text::GrammarVocabulary>> grammar_vocabulary();
  bool is_special(std::string_view marker) const;

  Source source_;
  TemplateTools tools_;
  std::optional<TokenBytes> token_bytes_;
  std::vector<std::pair<int32_t, std::string>> shown_;
  std::mutex vocabulary_mutex_;
  std::shared_ptr<const text::GrammarVocabulary> vocabulary_;
};

// A conversation for a template that does not show tools: they are described in the system message
// in the way of Hermes, and calls in the conversation become text.
Json with_described_tools(const Json& messages, const std::vector<Tool>& tools,
                          const ToolFormat& format);

}  // namespace nereid::openai
