// See text_stream.h.
#include "src/server/openai/text_stream.h"

#include <algorithm>

namespace nereid::openai {

size_t StopFinder::longest_beginning() const {
  size_t longest = 0;
  for (const std::string& stop : stops_) {
    const size_t most = std::min(held_.size(), stop.size() - 1);
    for (size_t length = most; length > longest; --length) {
      if (std::string_view(held_).ends_with(std::string_view(stop).substr(0, length))) {
        longest = length;
      }
    }
  }
  return longest;
}

bool StopFinder::push(std::string_view text, std::string& out) {
  if (stops_.empty()) {
    out += text;
    return false;
  }
  // held_: what was held back, then the new text.
  held_ += text;
  size_t first = std::string::npos;
  for (const std::string& stop : stops_) first = std::min(first, held_.find(stop));
  if (first != std::string::npos) {
    out.append(held_, 0, first);
    held_.clear();
    return true;
  }
  const size_t shown = held_.size() - longest_beginning();
  out.append(held_, 0, shown);
  held_.erase(0, shown);
  return false;
}

void StopFinder::finish(std::string& out) {
  out += held_;
  held_.clear();
}

bool TextStream::push(int32_t id, std::string& out) {
  ++num_tokens_;
  // Ids come from the model and are in the vocabulary; one that the tokenizer does not know (the
  // logits have padding) has no text.
  last_text_ = decoder_.push(id).value_or("");
  for (const auto& [shown_id, shown_text] : options_.shown) {
    if (shown_id == id) last_text_ += shown_text;
  }
  decoded_bytes_ += last_text_.size();
  const size_t before = out.size();
  const bool stopped = finder_.push(last_text_, out);
  shown_bytes_ += out.size() - before;
  return stopped;
}

void TextStream::finish(std::string& out) {
  const std::string rest = decoder_.finish();
  decoded_bytes_ += rest.size();
  const size_t before = out.size();
  if (!finder_.push(rest, out)) finder_.finish(out);
  shown_bytes_ += out.size() - before;
}

}  // namespace nereid::openai
