// Whole answers. See output.h.
#include "src/server/openai/output.h"

#include "src/server/openai/json_text.h"

namespace nereid::openai {
namespace {

// {"id":...,"object":...,"created":...,"model":...
void append_head(std::string& out, const AnswerHead& head, std::string_view object) {
  out += R"({"id":)";
  append_json_string(out, head.id);
  out += R"(,"object":)";
  append_json_string(out, object);
  out += R"(,"created":)";
  append_json_int(out, head.created_unix_s);
  out += R"(,"model":)";
  append_json_string(out, head.model);
}

void append_json_or_null(std::string& out, std::string_view json) {
  out += json.empty() ? "null" : json;
}

// "message" of chat.
void append_message(std::string& out, const WholeChoice& choice) {
  out += R"({"role":"assistant","content":)";
  if (choice.text.empty() && !choice.calls.empty()) {
    out += "null";
  } else {
    append_json_string(out, choice.text);
  }
  out += R"(,"refusal":null)";
  if (!choice.calls.empty()) {
    out += R"(,"tool_calls":)";
    append_tool_calls(out, choice.calls, false);
  }
  out += '}';
}

template <typename AppendContent>
std::string whole_body(const AnswerHead& head, std::string_view object,
                       std::span<const WholeChoice> choices, const Usage& usage,
                       AppendContent append_content) {
  std::string out;
  append_head(out, head, object);
  out += R"(,"choices":[)";
  for (size_t index = 0; index < choices.size(); ++index) {
    out += index == 0 ? R"({"index":)" : R"(,{"index":)";
    append_json_int(out, static_cast<int64_t>(index));
    append_content(out, choices[index]);
    out += R"(,"logprobs":)";
    append_json_or_null(out, choices[index].logprobs);
    out += R"(,"finish_reason":)";
    append_json_string_or_null(out, choices[index].finish_reason);
    out += '}';
  }
  out += R"(],"usage":)";
  append_usage(out, usage);
  out += '}';
  return out;
}

}  // namespace

void append_usage(std::string& out, const Usage& usage) {
  out += R"({"prompt_tokens":)";
  append_json_int(out, usage.prompt_tokens);
  out += R"(,"completion_tokens":)";
  append_json_int(out, usage.completion_tokens);
  out += R"(,"total_tokens":)";
  append_json_int(out, usage.prompt_tokens + usage.completion_tokens);
  out += R"(,"prompt_tokens_details":{"cached_tokens":)";
  append_json_int(out, usage.cached_tokens);
  out += "}}";
}

void WholeChoice::add(ChoiceDelta& delta) {
  text += delta.text.content;
  for (ToolDelta& call : delta.text.calls) {
    if (!call.name.empty()) {
      calls.push_back(std::move(call));
    } else if (!calls.empty()) {
      calls.back().arguments += call.arguments;
    }
  }
  if (!delta.finish_reason.empty()) finish_reason = delta.finish_reason;
}

void append_tool_calls(std::string& out, std::span<const ToolDelta> calls, bool as_deltas) {
  out += '[';
  for (const ToolDelta& call : calls) {
    if (out.back() != '[') out += ',';
    out += '{';
    if (as_deltas) {
      out += R"("index":)";
      append_json_int(out, call.index);
      out += ',';
    }
    if (!call.id.empty()) {
      out += R"("id":)";
      append_json_string(out, call.id);
      out += R"(,"type":"function","function":{"name":)";
      append_json_string(out, call.name);
      out += ',';
    } else {
      out += R"("function":{)";
    }
    out += R"("arguments":)";
    append_json_string(out, call.arguments);
    out += "}}";
  }
  out += ']';
}

std::string completion_body(const AnswerHead& head, std::span<const WholeChoice> choices,
                            const Usage& usage) {
  return whole_body(head, "text_completion", choices, usage,
                    [](std::string& out, const WholeChoice& choice) {
                      out += R"(,"text":)";
                      append_json_string(out, choice.text);
                    });
}

std::string chat_body(const AnswerHead& head, std::span<const WholeChoice> choices,
                      const Usage& usage) {
  return whole_body(head, "chat.completion", choices, usage,
                    [](std::string& out, const WholeChoice& choice) {
                      out += R"(,"message":)";
                      append_message(out, choice);
                    });
}

ChunkWriter::ChunkWriter(Kind kind, const AnswerHead& head, bool include_usage)
    : kind_(kind), include_usage_(include_usage) {
  append_head(prefix_, head, kind == Kind::kChat ? "chat.completion.chunk" : "text_completion");
  prefix_ += R"(,"choices":[)";
}

void ChunkWriter::start(int32_t choice) {
  chunk_ = prefix_;
  chunk_ += R"({"index":)";
  append_json_int(chunk_, choice);
}

void ChunkWriter::end(std::string_view logprobs, std::string_view finish_reason) {
  chunk_ += R"(,"logprobs":)";
  append_json_or_null(chunk_, logprobs);
  chunk_ += R"(,"finish_reason":)";
  append_json_string_or_null(chunk_, finish_reason);
  chunk_ += include_usage_ ? R"(}],"usage":null})" : "}]}";
}

const std::string& ChunkWriter::role(int32_t choice) {
  start(choice);
  chunk_ += R"(,"delta":{"role":"assistant","content":""})";
  end({}, {});
  return chunk_;
}

const std::string& ChunkWriter::delta(int32_t choice, const ParsedText& text,
                                      std::string_view logprobs, std::string_view finish_reason) {
  start(choice);
  if (kind_ == Kind::kCompletion) {
    chunk_ += R"(,"text":)";
    append_json_string(chunk_, text.content);
  } else {
    chunk_ += R"(,"delta":{)";
    if (!text.content.empty() || (text.calls.empty() && finish_reason.empty())) {
      chunk_ += R"("content":)";
      append_json_string(chunk_, text.content);
      if (!text.calls.empty()) chunk_ += ',';
    }
    if (!text.calls.empty()) {
      chunk_ += R"("tool_calls":)";
      append_tool_calls(chunk_, text.calls, true);
    }
    chunk_ += '}';
  }
  end(logprobs, finish_reason);
  return chunk_;
}

const std::string& ChunkWriter::usage(const Usage& usage) {
  chunk_ = prefix_;
  chunk_ += R"(],"usage":)";
  append_usage(chunk_, usage);
  chunk_ += '}';
  return chunk_;
}

}  // namespace nereid::openai
