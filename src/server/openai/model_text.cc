// See model_text.h.
#include "src/server/openai/model_text.h"

#include "src/base/check.h"
#include "src/server/openai/tools.h"

namespace nereid::openai {
namespace {

TemplateTools tools_of(const ModelText::Source& source) {
  TemplateTools tools{.format = find_tool_format("hermes")};
  if (source.chat_template && *source.chat_template) tools = probe_template(**source.chat_template);
  if (source.tool_format != "auto") tools.format = find_tool_format(source.tool_format);
  return tools;
}

// A grammar built from tools names the parameter that holds them.
ApiError grammar_error(const Error& error, std::string_view param) {
  return invalid(param, "invalid_value", "{}", error.message);
}

}  // namespace

Status ModelText::check_tool_format(std::string_view name) {
  if (name == "auto" || find_tool_format(name)) return {};
  std::string names = "auto";
  for (const ToolFormat& format : tool_formats()) names += fmt::format(", {}", format.name);
  return error("tool parser: found '{}', expected one of {}", name, names);
}

ModelText::ModelText(Source source) : source_(std::move(source)), tools_(tools_of(source_)) {
  NEREID_CHECK(tools_.format, "tool parser {}: not checked", source_.tool_format);
  if (!source_.tokenizer) return;
  const auto& tokenizer = *source_.tokenizer;
  token_bytes_.emplace(tokenizer);
  const ToolFormat& format = *tools_.format;
  for (const std::string_view marker :
       {format.begin, format.end, format.id_marker, format.arguments_marker}) {
    if (is_special(marker)) shown_.emplace_back(tokenizer->token_to_id(marker), marker);
  }
}

bool ModelText::is_special(std::string_view marker) const {
  if (!source_.tokenizer || marker.empty()) return false;
  const int32_t id = (*source_.tokenizer)->token_to_id(marker);
  return id >= 0 && (*source_.tokenizer)->is_special(id);
}

ApiResult<std::shared_ptr<const text::Tokenizer>> ModelText::tokenizer() const {
  if (!source_.tokenizer) {
    return std::unexpected(
        server_error("The model has no tokenizer: " + source_.tokenizer.error().message));
  }
  return *source_.tokenizer;
}

const TokenBytes& ModelText::token_bytes() const {
  NEREID_CHECK(token_bytes_, "there is no tokenizer");
  return *token_bytes_;
}

ApiStatus ModelText::check_length(size_t num_tokens, std::optional<int32_t> max_tokens,
                                  std::string_view param) const {
  const auto context = static_cast<size_t>(source_.model.max_context);
  if (num_tokens == 0) {
    return std::unexpected(
        invalid(param, "invalid_value", "found an empty prompt, expected at least one token"));
  }
  // At least one token must fit behind it, unless none is asked for.
  const auto room = static_cast<size_t>(max_tokens.value_or(1));
  if (num_tokens + room <= context) return {};
  const bool prompt_fits = num_tokens < context;
  return std::unexpected(invalid(prompt_fits ? "max_tokens" : param, "context_length_exceeded",
                                 "This model's maximum context length is {} tokens, but {} were "
                                 "requested ({} in the prompt, {} "
                                 "for the completion).",
                                 context, num_tokens + room, num_tokens, room));
}

ApiResult<std::vector<int32_t>> ModelText::encode_prompt(const Prompt& prompt,
                                                         std::optional<int32_t> max_tokens) const {
  std::vector<int32_t> ids;
  if (const auto* given = std::get_if<std::vector<int32_t>>(&prompt)) {
    ids = *given;
  } else {
    API_TRY(const auto tokenizer, this->tokenizer());
    auto encoded = tokenizer->encode(std::get<std::string>(prompt), {});
    if (!encoded) {
      return std::unexpected(invalid("prompt", "invalid_value", "{}", encoded.error().message));
    }
    ids = std::move(*encoded);
  }
  API_RETURN_IF_ERROR(check_length(ids.size(), max_tokens, "prompt"));
  return ids;
}

ApiResult<std::vector<int32_t>> ModelText::encode_chat(const ChatRequest& request,
                                                       std::string_view param) const {
  API_TRY(const auto tokenizer, this->tokenizer());
  if (!source_.chat_template) {
    return std::unexpected(server_error("The model's chat template cannot be read: " +
                                        source_.chat_template.error().message));
  }
  if (!*source_.chat_template) {
    return std::unexpected(
        invalid(param, "unsupported_value", "the model has no chat template: use /v1/completions"));
  }
  Json input = request.template_variables;
  const bool tools = request.tools.choice != ToolChoice::kNone;
  input["messages"] =
      tools && !tools_.shows_tools
          ? with_described_tools(request.messages, request.tools.tools, *tools_.format)
          : request.messages;
  if (tools && tools_.shows_tools) {
    for (const Tool& tool : request.tools.tools) input["tools"].push_back(tool.definition);
  }
  input["add_generation_prompt"] = request.add_generation_prompt;
  const auto prompt = (*source_.chat_template)->render(dump(input));
  if (!prompt) {
    return std::unexpected(invalid(param, "invalid_value", "{}", prompt.error().message));
  }
  // The template writes the special tokens itself.
  auto ids = tokenizer->encode(*prompt, {.add_special_tokens = false});
  if (!ids) return std::unexpected(invalid(param, "invalid_value", "{}", ids.error().message));
  API_RETURN_IF_ERROR(check_length(ids->size(), request.generation.max_tokens, param));
  return std::move(*ids);
}

ApiResult<std::shared_ptr<const text::GrammarVocabulary>> ModelText::grammar_vocabulary() {
  API_TRY(const auto tokenizer, this->tokenizer());
  const std::lock_guard lock(vocabulary_mutex_);
  if (!vocabulary_) {
    auto made = text::GrammarVocabulary::create(tokenizer, source_.model.defaults.eos_ids,
                                                source_.model.vocab_size);
    if (!made) {
      return std::unexpected(
          server_error("The model cannot be constrained: " + made.error().message));
    }
    vocabulary_ = std::move(*made);
  }
  return vocabulary_;
}

ApiResult<std::shared_ptr<const text::Grammar>> ModelText::compile(const GenerationRequest& request,
                                                                   const ToolRequest* tools) {
  std::optional<Constraint> constraint = request.constraint;
  const bool demanded =
      tools && (tools->choice == ToolChoice::kRequired || tools->choice == ToolChoice::kNamed);
  const bool either = tools && tools->choice == ToolChoice::kAuto && constraint;
  if (demanded || either) {
    const std::string param = demanded ? "tools" : constraint->param;
    std::string source = tool_call_grammar(
        *tools, *tools_.format, [this](std::string_view marker) { return is_special(marker); },
        constraint);
    constraint = {.kind = text::GrammarKind::kLark, .source = std::move(source), .param = param};
  }
  if (!constraint) return nullptr;
  const auto most = static_cast<size_t>(source_.model.limits.max_schema_bytes);
  if (constraint->source.size() > most) {
    return std::unexpected(invalid(constraint->param, "invalid_value",
                                   "found a grammar of {} bytes, expected at most {}",
                                   constraint->source.size(), most));
  }
  API_TRY(const auto vocabulary, grammar_vocabulary());
  auto grammar = text::Grammar::compile(
      vocabulary, constraint->kind, constraint->source,
      {.max_source_bytes = most, .max_nesting = source_.model.limits.max_nesting});
  if (!grammar) return std::unexpected(grammar_error(grammar.error(), constraint->param));
  return std::move(*grammar);
}

}  // namespace nereid::openai
