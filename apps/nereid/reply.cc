// See reply.h.
#include "apps/nereid/reply.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace nereid::commands {
namespace {

// Collects the text of a reply; the first decoding error stops the generation.
class TextCollector {
 public:
  TextCollector(const std::shared_ptr<const text::Tokenizer>& tokenizer, Output* stream,
                const Interrupt& interrupt)
      : decoder_(tokenizer, /*skip_special_tokens=*/true),
        num_tokens_(tokenizer->vocab_size()),
        stream_(stream),
        interrupt_(interrupt) {}

  void push(int32_t token_id) {
    // Models pad their embedding tables: such a row is a token without text.
    if (token_id >= num_tokens_) return;
    Result<std::string> piece = decoder_.push(token_id);
    if (!piece) {
      if (!failure_) failure_ = piece.error();
      interrupt_.request();
      return;
    }
    append(*piece);
  }

  Result<std::string> finish() {
    if (failure_) return std::unexpected(*failure_);
    append(decoder_.finish());
    return std::move(text_);
  }

 private:
  void append(const std::string& piece) {
    text_ += piece;
    if (stream_ == nullptr || piece.empty()) return;
    stream_->write(piece);
    if (!stream_->ok()) interrupt_.request();
  }

  text::StreamDecoder decoder_;
  int32_t num_tokens_;
  Output* stream_;
  const Interrupt& interrupt_;
  std::string text_;
  std::optional<Error> failure_;
};

double rate(size_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

}  // namespace

Result<Reply> generate_reply(Engine& engine, const SamplingOptions& options,
                             const ReplyParams& params, const Interrupt& interrupt) {
  NEREID_TRY(const auto tokenizer, engine.tokenizer());
  TextCollector collector(tokenizer, params.stream, interrupt);
  GenerateParams generate;
  generate.prompt_ids = params.prompt_ids;
  // The reply ends at the context limit; a prompt that alone is too long is the engine's error.
  const int64_t room = int64_t{engine.max_context()} - std::ssize(params.prompt_ids);
  generate.max_tokens =
      static_cast<int32_t>(std::clamp<int64_t>(options.max_tokens, 1, std::max<int64_t>(room, 1)));
  generate.ignore_eos = options.ignore_eos;
  NEREID_TRY(generate.sampling, sampling_params(options, engine.generation_defaults()));
  generate.cancel = &interrupt.flag();
  generate.on_token = [&](int32_t token_id) { collector.push(token_id); };
  Reply reply;
  NEREID_TRY(reply.result, engine.generate(generate));
  NEREID_TRY(reply.text, collector.finish());
  return reply;
}

const char* stop_name(GenerateResult::Stop stop) {
  switch (stop) {
    case GenerateResult::Stop::kEos:
      return "eos";
    case GenerateResult::Stop::kLength:
      return "length";
    case GenerateResult::Stop::kCancelled:
      return "cancelled";
  }
  return "unknown";
}

double decode_rate(const GenerateResult& result) {
  return result.token_ids.empty() ? 0 : rate(result.token_ids.size() - 1, result.decode_seconds);
}

double prefill_rate(size_t prompt_tokens, const GenerateResult& result) {
  return rate(prompt_tokens, result.prefill_seconds);
}

std::string describe_timings(size_t prompt_tokens, const GenerateResult& result) {
  return fmt::format("{} prompt tokens in {:.2f} s ({:.1f}/s), {} tokens in {:.2f} s ({:.1f}/s)",
                     prompt_tokens, result.prefill_seconds, prefill_rate(prompt_tokens, result),
                     result.token_ids.size(), result.decode_seconds, decode_rate(result));
}

}  // namespace nereid::commands
