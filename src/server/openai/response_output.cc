// See response_output.h.
#include "src/server/openai/response_output.h"

#include "src/server/openai/ids.h"
#include "src/server/openai/json_text.h"

namespace nereid::openai {
namespace {

Json text_part(std::string_view text) {
  return {{"type", "output_text"},
          {"text", text},
          {"annotations", Json::array()},
          {"logprobs", Json::array()}};
}

}  // namespace

ResponseOutput::ResponseOutput(AnswerHead head, Json echoed, EmitEvent emit)
    : head_(std::move(head)), echoed_(std::move(echoed)), emit_(std::move(emit)) {}

Json ResponseOutput::item_json(const Item& item) const {
  const std::string_view status = !item.done                ? "in_progress"
                                  : status_ == "incomplete" ? "incomplete"
                                                            : "completed";
  if (item.is_call) {
    return {{"id", item.id},     {"type", "function_call"}, {"status", status},
            {"name", item.name}, {"call_id", item.call_id}, {"arguments", item.text}};
  }
  Json content = Json::array();
  if (item.done) content.push_back(text_part(item.text));
  return {{"id", item.id},
          {"type", "message"},
          {"status", status},
          {"role", "assistant"},
          {"content", std::move(content)}};
}

Json ResponseOutput::response_json(bool with_output) const {
  Json output = Json::array();
  if (with_output) {
    for (const Item& item : items_) output.push_back(item_json(item));
  }
  Json out = {{"id", head_.id},
              {"object", "response"},
              {"created_at", head_.created_unix_s},
              {"status", status_},
              {"background", false},
              {"error", error_},
              {"incomplete_details", incomplete_},
              {"model", head_.model},
              {"output", std::move(output)}};
  out.update(echoed_);
  out["usage"] = usage_;
  return out;
}

void ResponseOutput::emit(std::string_view name, const Json& data) {
  if (!emit_) return;
  Json event = {{"type", name}, {"sequence_number", sequence_++}};
  event.update(data);
  emit_(name, dump(event));
}

// The event of every step, without a document.
void ResponseOutput::emit_delta(std::string_view name, std::string_view text) {
  if (!emit_) return;
  delta_ = R"({"type":")";
  delta_ += name;
  delta_ += R"(","sequence_number":)";
  append_json_int(delta_, sequence_++);
  delta_ += R"(,"item_id":")";
  delta_ += items_.back().id;
  delta_ += R"(","output_index":)";
  append_json_int(delta_, static_cast<int64_t>(index()));
  if (!items_.back().is_call) delta_ += R"(,"content_index":0,"logprobs":[])";
  delta_ += R"(,"delta":)";
  append_json_string(delta_, text);
  delta_ += '}';
  emit_(name, delta_);
}

void ResponseOutput::start() {
  emit("response.created", {{"response", response_json(false)}});
  emit("response.in_progress", {{"response", response_json(false)}});
}

void ResponseOutput::open(Item item) {
  close();
  items_.push_back(std::move(item));
  emit("response.output_item.added",
       {{"output_index", index()}, {"item", item_json(items_.back())}});
  if (items_.back().is_call) return;
  emit("response.content_part.added", {{"item_id", items_.back().id},
                                       {"output_index", index()},
                                       {"content_index", 0},
                                       {"part", text_part("")}});
}

void ResponseOutput::close() {
  if (items_.empty() || items_.back().done) return;
  Item& item = items_.back();
  item.done = true;
  if (item.is_call) {
    emit("response.function_call_arguments.done", {{"item_id", item.id},
                                                   {"output_index", index()},
                                                   {"name", item.name},
                                                   {"arguments", item.text}});
  } else {
    const Json place = {{"item_id", item.id}, {"output_index", index()}, {"content_index", 0}};
    Json text_done = place, part_done = place;
    text_done.update(Json{{"text", item.text}, {"logprobs", Json::array()}});
    part_done["part"] = text_part(item.text);
    emit("response.output_text.done", text_done);
    emit("response.content_part.done", part_done);
  }
  emit("response.output_item.done", {{"output_index", index()}, {"item", item_json(item)}});
}

void ResponseOutput::add(const ChoiceDelta& delta) {
  const std::string& text = delta.text.content;
  if (!text.empty()) {
    if (items_.empty() || items_.back().is_call || items_.back().done) {
      open({.id = random_id("msg_")});
    }
    items_.back().text += text;
    emit_delta("response.output_text.delta", text);
  }
  for (const ToolDelta& call : delta.text.calls) {
    if (!call.name.empty()) {
      open({.is_call = true, .id = random_id("fc_"), .call_id = call.id, .name = call.name});
    }
    if (call.arguments.empty()) continue;
    items_.back().text += call.arguments;
    emit_delta("response.function_call_arguments.delta", call.arguments);
  }
}

void ResponseOutput::finish(std::string_view finish_reason, const Usage& usage) {
  const bool incomplete = finish_reason == "length";
  status_ = incomplete ? "incomplete" : "completed";
  if (incomplete) incomplete_ = {{"reason", "max_output_tokens"}};
  // An answer without a word still is a message.
  if (items_.empty()) open({.id = random_id("msg_")});
  close();
  usage_ = {{"input_tokens", usage.prompt_tokens},
            {"input_tokens_details", {{"cached_tokens", usage.cached_tokens}}},
            {"output_tokens", usage.completion_tokens},
            {"output_tokens_details", {{"reasoning_tokens", 0}}},
            {"total_tokens", usage.prompt_tokens + usage.completion_tokens}};
  emit(incomplete ? "response.incomplete" : "response.completed",
       {{"response", response_json(true)}});
}

void ResponseOutput::fail(std::string_view code, std::string_view message) {
  status_ = "failed";
  error_ = {{"code", code}, {"message", message}};
  close();
  emit("response.failed", {{"response", response_json(true)}});
}

std::string ResponseOutput::body() const {
  return dump(response_json(true));
}

}  // namespace nereid::openai
