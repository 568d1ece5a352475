// Constrained decoding over the C ABI; the work is done in rust/nereid_text.
#include "src/text/grammar.h"

#include "src/text/ffi.h"

namespace nereid::text {
namespace {

std::string_view name_of(GrammarKind kind) {
  switch (kind) {
    case GrammarKind::kJsonObject:
      return "JSON object";
    case GrammarKind::kJsonSchema:
      return "JSON schema";
    case GrammarKind::kRegex:
      return "regular expression";
    case GrammarKind::kLark:
      return "Lark grammar";
    case GrammarKind::kChoice:
      return "list of choices";
  }
  return "grammar";
}

NereidGrammarVocabulary* vocabulary_of(void* handle) {
  return static_cast<NereidGrammarVocabulary*>(handle);
}

NereidGrammar* grammar_of(void* handle) {
  return static_cast<NereidGrammar*>(handle);
}

NereidMatcher* matcher_of(void* handle) {
  return static_cast<NereidMatcher*>(handle);
}

}  // namespace

Result<std::shared_ptr<const GrammarVocabulary>> GrammarVocabulary::create(
    const std::shared_ptr<const Tokenizer>& tokenizer, std::span<const int32_t> eos_ids,
    int32_t vocab_size) {
  NereidGrammarVocabulary* handle = nullptr;
  NereidBuffer message;
  if (nereid_grammar_vocabulary_new(static_cast<NereidTokenizer*>(tokenizer->handle_),
                                    eos_ids.data(), eos_ids.size(), vocab_size, &handle,
                                    &message) != 0) {
    return with_context(Error{take(message)}, "vocabulary for grammars");
  }
  return std::shared_ptr<const GrammarVocabulary>(new GrammarVocabulary(handle));
}

GrammarVocabulary::~GrammarVocabulary() {
  nereid_grammar_vocabulary_free(vocabulary_of(handle_));
}

Result<std::shared_ptr<const Grammar>> Grammar::compile(
    const std::shared_ptr<const GrammarVocabulary>& vocabulary, GrammarKind kind,
    std::string_view source, const GrammarLimits& limits) {
  NereidGrammar* handle = nullptr;
  NereidBuffer message;
  if (nereid_grammar_compile(vocabulary_of(vocabulary->handle_), static_cast<int32_t>(kind),
                             slice(source), limits.max_source_bytes,
                             static_cast<size_t>(limits.max_nesting), &handle, &message) != 0) {
    return with_context(Error{take(message)}, name_of(kind));
  }
  return std::shared_ptr<const Grammar>(new Grammar(handle));
}

Grammar::~Grammar() {
  nereid_grammar_free(grammar_of(handle_));
}

Result<std::unique_ptr<Matcher>> Grammar::start() const {
  NereidMatcher* handle = nullptr;
  NereidBuffer message;
  if (nereid_matcher_new(grammar_of(handle_), &handle, &message) != 0) return take_error(message);
  return std::unique_ptr<Matcher>(new Matcher(handle));
}

Matcher::~Matcher() {
  nereid_matcher_free(matcher_of(handle_));
}

Status Matcher::allowed(std::span<uint32_t> mask) {
  NereidBuffer message;
  if (nereid_matcher_allowed(matcher_of(handle_), mask.data(), mask.size(), &message) != 0) {
    return take_error(message);
  }
  return {};
}

Status Matcher::accept(int32_t id) {
  NereidBuffer message;
  if (nereid_matcher_accept(matcher_of(handle_), id, &message) != 0) return take_error(message);
  return {};
}

bool Matcher::is_complete() const {
  return nereid_matcher_is_complete(matcher_of(handle_));
}

}  // namespace nereid::text
