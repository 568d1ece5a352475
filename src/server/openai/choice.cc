// See choice.h.
#include "src/server/openai/choice.h"

#include "src/server/openai/json_text.h"

namespace nereid::openai {

void ChoiceDelta::clear() {
  text.content.clear();
  text.calls.clear();
  tokens.clear();
  finish_reason = {};
}

Choice::Choice(const ChoiceOptions& options)
    : stream_(options.tokenizer, options.text), logprobs_(options.logprobs) {
  if (options.tools) tools_.emplace(*options.tools);
}

void Choice::add_text(bool last) {
  if (tools_) {
    tools_->push(text_, delta_.text);
    if (last) tools_->finish(delta_.text);
  } else {
    delta_.text.content += text_;
  }
  text_.clear();
}

void Choice::release_tokens(bool all) {
  while (!pending_.empty() && (all || pending_.front().text_bytes < stream_.shown_bytes())) {
    delta_.tokens.push_back(std::move(pending_.front()));
    pending_.pop_front();
  }
}

bool Choice::push(OutputToken token) {
  if (finished_) return false;
  const int32_t id = token.id;
  if (logprobs_) {
    pending_.push_back({.token = std::move(token),
                        .text_bytes = stream_.decoded_bytes(),
                        .text_characters = characters_});
  }
  const bool stopped = stream_.push(id, text_);
  if (logprobs_) {
    characters_ += count_characters(stream_.last_text());
    release_tokens(false);
  }
  if (stopped) {
    finished_ = true;
    delta_.finish_reason = "stop";
    pending_.clear();
  }
  add_text(stopped);
  if (stopped && tools_ && tools_->num_calls() > 0) delta_.finish_reason = "tool_calls";
  return stopped;
}

void Choice::finish(FinishReason reason) {
  if (finished_) return;
  finished_ = true;
  stream_.finish(text_);
  release_tokens(true);
  add_text(true);
  if (reason == FinishReason::kLength) {
    delta_.finish_reason = "length";
  } else {
    const bool called = tools_ && tools_->num_calls() > 0;
    delta_.finish_reason = called ? "tool_calls" : "stop";
  }
}

}  // namespace nereid::openai
