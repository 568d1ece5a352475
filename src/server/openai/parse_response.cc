// The body of /v1/responses: the same conversation as chat, in other words. Nothing is stored, so
// that whatever refers to a stored response is refused by name.
#include <array>

#include "src/base/json.h"
#include "src/server/openai/generation.h"
#include "src/server/openai/messages.h"
#include "src/server/openai/parse.h"
#include "src/server/openai/tools.h"

namespace nereid::openai {
namespace {

constexpr std::string_view kRead[] = {"model",
                                      "temperature",
                                      "top_p",
                                      "top_k",
                                      "min_p",
                                      "seed",
                                      "repetition_penalty",
                                      "stream",
                                      "input",
                                      "instructions",
                                      "tools",
                                      "max_output_tokens",
                                      "text",
                                      "tool_choice",
                                      "parallel_tool_calls",
                                      "metadata",
                                      "user"};

constexpr KnownField kOtherResponseFields[] = {
    {"safety_identifier", Unread::kAccepted},
    {"prompt_cache_key", Unread::kAccepted},
    {"store", Unread::kOnlyDefault, "false"},
    {"background", Unread::kOnlyDefault, "false"},
    {"service_tier", Unread::kOnlyDefault, "\"auto\"|\"default\""},
    {"truncation", Unread::kOnlyDefault, "\"disabled\""},
    {"include", Unread::kOnlyDefault, "[]"},
    {"top_logprobs", Unread::kOnlyDefault, "0"},
    {"stream_options", Unread::kOnlyDefault, "{\"include_obfuscation\":false}"},
    {"previous_response_id"},
    {"conversation"},
    {"prompt"},
    {"reasoning"},
    {"max_tool_calls"},
    {"context_management"},
    {"prompt_cache_retention"},
};

constexpr std::string_view kInputPart[] = {"input_text", "output_text", "text", "refusal"};

// {"type": "message"?, "role", "content"}
void read_message_item(Fields& item, Json& out) {
  static constexpr std::array<std::string_view, 4> kRoles = {"system", "developer", "user",
                                                             "assistant"};
  static constexpr std::string_view kNames[] = {"type", "role", "content"};
  static constexpr KnownField kGivenBack[] = {
      {"id", Unread::kAccepted}, {"status", Unread::kAccepted}, {"phase", Unread::kAccepted}};
  item.check_known(kNames, kGivenBack);
  item.required_string("role");
  const auto role = item.choice("role", kRoles);
  const auto content = read_content(item, "content", kInputPart);
  if (!content) {
    item.fail("content", "missing_required_parameter",
              "missing, expected a string or an array of text parts");
  }
  if (item.ok() && role && content) {
    out.push_back({{"role", *role == "developer" ? "system" : *role}, {"content", *content}});
  }
}

// {"type": "function_call", "call_id", "name", "arguments"}: joins the turn of the assistant.
void read_call_item(Fields& item, const ApiModel& model, Json& out) {
  static constexpr std::string_view kNames[] = {"type", "call_id", "name", "arguments"};
  static constexpr KnownField kGivenBack[] = {{"id", Unread::kAccepted},
                                              {"status", Unread::kAccepted}};
  item.check_known(kNames, kGivenBack);
  const std::string& id = item.required_string("call_id");
  const std::string& name = item.required_string("name");
  Json arguments = read_arguments(item, "arguments", model);
  if (!item.ok()) return;
  if (out.empty() || out.back()["role"] != "assistant") {
    out.push_back({{"role", "assistant"}, {"content", ""}});
  }
  out.back()["tool_calls"].push_back(
      {{"id", id},
       {"type", "function"},
       {"function", {{"name", name}, {"arguments", std::move(arguments)}}}});
}

// {"type": "function_call_output", "call_id", "output"}
void read_output_item(Fields& item, Json& out) {
  static constexpr std::string_view kNames[] = {"type", "call_id", "output"};
  static constexpr KnownField kGivenBack[] = {{"id", Unread::kAccepted},
                                              {"status", Unread::kAccepted}};
  item.check_known(kNames, kGivenBack);
  const std::string& id = item.required_string("call_id");
  const auto output = read_content(item, "output", kInputPart);
  if (!output) {
    item.fail("output", "missing_required_parameter",
              "missing, expected a string or an array of text parts");
  }
  if (item.ok() && output) {
    out.push_back({{"role", "tool"}, {"tool_call_id", id}, {"content", *output}});
  }
}

void read_item(Fields& item, const ApiModel& model, Json& out) {
  static constexpr std::array<std::string_view, 3> kTypes = {"message", "function_call",
                                                             "function_call_output"};
  const auto type = item.choice("type", kTypes);
  if (!item.ok()) return;
  if (!type || *type == "message") {
    read_message_item(item, out);
  } else if (*type == "function_call") {
    read_call_item(item, model, out);
  } else {
    read_output_item(item, out);
  }
}

void read_input(Fields& body, const ApiModel& model, Json& out) {
  if (const std::string* instructions = body.string("instructions")) {
    out.push_back({{"role", "system"}, {"content", *instructions}});
  }
  const Json* input = body.find("input");
  if (!input) {
    body.fail("input", "missing_required_parameter",
              "missing, expected a string or an array of items");
    return;
  }
  if (input->is_string()) {
    out.push_back({{"role", "user"}, {"content", *input}});
    return;
  }
  if (!input->is_array() || input->empty()) {
    body.expect("input", *input, "a string or an array of items that is not empty");
    return;
  }
  if (!body.array("input", static_cast<size_t>(model.limits.max_messages))) return;
  for (size_t index = 0; index < input->size() && body.ok(); ++index) {
    const Json& entry = (*input)[index];
    const std::string path = fmt::format("input[{}]", index);
    if (!entry.is_object()) {
      body.fail(path, "invalid_type", "found {}, expected an object", describe(entry));
      return;
    }
    Fields item(entry, path + ".", body.failure());
    read_item(item, model, out);
  }
}

void read_text(Fields& body, const ApiModel& model, GenerationRequest& out) {
  static constexpr std::string_view kNames[] = {"format"};
  static constexpr KnownField kText[] = {{"verbosity", Unread::kOnlyDefault, "\"medium\""}};
  const Json* text = body.object("text");
  if (!text) return;
  Fields fields(*text, "text.", body.failure());
  fields.check_known(kNames, kText);
  const Json* format = fields.object("format");
  if (!format) return;
  read_format(*format, "text.format", true, model, body.failure(), out.constraint);
  if (out.constraint && body.ok() &&
      out.constraint->source.size() > static_cast<size_t>(model.limits.max_schema_bytes)) {
    body.fail(invalid(out.constraint->param, "invalid_value", "found {} bytes, expected at most {}",
                      out.constraint->source.size(), model.limits.max_schema_bytes));
  }
}

// What the response object says again.
Json echo(const Json& body, const ResponsesRequest& request) {
  const GenerationRequest& generation = request.chat.generation;
  const auto given = [&](const char* name, Json otherwise) {
    const auto at = body.find(name);
    return at == body.end() || at->is_null() ? std::move(otherwise) : Json(*at);
  };
  const bool has_tools = !request.chat.tools.tools.empty();
  return {{"instructions", given("instructions", nullptr)},
          {"max_output_tokens", given("max_output_tokens", nullptr)},
          {"metadata", given("metadata", Json::object())},
          {"parallel_tool_calls", request.chat.tools.parallel},
          {"previous_response_id", nullptr},
          {"reasoning", {{"effort", nullptr}, {"summary", nullptr}}},
          {"service_tier", "default"},
          {"store", false},
          {"temperature", generation.sampling.temperature},
          {"text", given("text", {{"format", {{"type", "text"}}}})},
          {"tool_choice", given("tool_choice", has_tools ? "auto" : "none")},
          {"tools", given("tools", Json::array())},
          {"top_p", generation.sampling.top_p},
          {"truncation", "disabled"},
          {"user", given("user", nullptr)}};
}

void check_response_combination(Fields& body, const ChatRequest& chat) {
  if (chat.generation.constraint && chat.tools.choice != ToolChoice::kNone &&
      chat.tools.choice != ToolChoice::kAuto) {
    body.fail("text.format", "invalid_value",
              "cannot be combined with a tool_choice that demands a call");
  }
}

}  // namespace

ApiResult<ResponsesRequest> parse_response(std::string_view text, const ApiModel& model) {
  API_TRY(const Json document, parse_body(text, {.max_nesting = model.limits.max_nesting}));
  std::optional<ApiError> failure;
  Fields body(document, "", failure);
  body.check_known(kRead, kOtherResponseFields);
  ResponsesRequest out;
  GenerationRequest& generation = out.chat.generation;
  read_generation(body, model, generation);
  read_input(body, model, out.chat.messages);
  if (const auto most = body.integer("max_output_tokens", 1, model.max_context)) {
    generation.max_tokens = static_cast<int32_t>(*most);
  }
  read_text(body, model, generation);
  read_flat_tools(body, model, out.chat.tools);
  check_response_combination(body, out.chat);
  body.object("metadata");
  body.string("user");
  if (failure) return std::unexpected(std::move(*failure));
  out.echoed = echo(document, out);
  return out;
}

}  // namespace nereid::openai
