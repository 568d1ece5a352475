// Log-probabilities as JSON, in the two shapes of OpenAI's API. Part of output.h.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include "src/server/openai/json_text.h"

#include "src/server/openai/output.h"

namespace nereid::openai {
namespace {

// {"token", "logprob", "bytes" up to where "top_logprobs" may follow
void append_entry(std::string& out, const std::string& bytes, float logprob) {
  out += R"({"token":)";
  append_json_string(out, token_name(bytes));
  out += R"(,"logprob":)";
  append_json_number(out, logprob);
  out += R"(,"bytes":[)";
  for (size_t index = 0; index < bytes.size(); ++index) {
    if (index > 0) out += ',';
    append_json_int(out, static_cast<unsigned char>(bytes[index]));
  }
  out += ']';
}

}  // namespace

void append_chat_logprob(std::string& out, const TokenBytes& bytes, const OutputToken& token) {
  append_entry(out, bytes.of(token.id), token.logprob);
  out += R"(,"top_logprobs":[)";
  for (size_t index = 0; index < token.top.size(); ++index) {
    if (index > 0) out += ',';
    append_entry(out, bytes.of(token.top[index].first), token.top[index].second);
    out += '}';
  }
  out += "]}";
}

void CompletionLogprobs::add(const OutputToken& token, size_t offset) {
  if (!tokens_.empty()) {
    for (std::string* list : {&tokens_, &logprobs_, &top_, &offsets_}) *list += ',';
  }
  append_json_string(tokens_, token_name(bytes_->of(token.id)));
  append_json_number(logprobs_, token.logprob);
  append_json_int(offsets_, static_cast<int64_t>(offset));
  // The first token of a prompt follows nothing: no value, and no others.
  if (std::isnan(token.logprob)) {
    top_ += "null";
    return;
  }
  top_ += '{';
  std::vector<std::string> named;  // tokens that cannot be told apart by name count once
  for (const auto& [id, logprob] : token.top) {
    std::string name = token_name(bytes_->of(id));
    if (std::ranges::find(named, name) != named.end()) continue;
    if (!named.empty()) top_ += ',';
    append_json_string(top_, name);
    top_ += ':';
    append_json_number(top_, logprob);
    named.push_back(std::move(name));
  }
  top_ += '}';
}

std::string CompletionLogprobs::json() const {
  if (tokens_.empty()) return {};
  return fmt::format(
      R"({{"tokens":[{}],"token_logprobs":[{}],"top_logprobs":[{}],"text_offset":[{}]}})", tokens_,
      logprobs_, top_, offsets_);
}

void CompletionLogprobs::clear() {
  for (std::string* list : {&tokens_, &logprobs_, &top_, &offsets_}) list->clear();
}

}  // namespace nereid::openai
