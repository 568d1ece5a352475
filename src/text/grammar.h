// Constrained decoding: which tokens may come next under a grammar. Wraps the `llguidance` library
// through the C ABI of rust/nereid_text.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"
#include "src/text/tokenizer.h"

namespace nereid::text {

enum class GrammarKind : uint8_t {
  kJsonObject,  // any JSON object; the source is ignored
  kJsonSchema,  // source: a JSON schema
  kRegex,       // source: a regular expression that matches the whole output
  kLark,        // source: a Lark (EBNF) grammar as llguidance defines it
  kChoice,      // source: a JSON array of strings, one of which is the output
};

struct GrammarLimits {
  size_t max_source_bytes = 64 * 1024;
  int max_nesting = 64;  // of a schema's JSON
};

// The vocabulary in the form that grammars need; made once per model (takes up to a second).
// Immutable, for use by many threads at once.
class GrammarVocabulary {
 public:
  static Result<std::shared_ptr<const GrammarVocabulary>> create(
      const std::shared_ptr<const Tokenizer>& tokenizer, std::span<const int32_t> eos_ids,
      int32_t vocab_size);  // of the logits; ids past the tokenizer's are never allowed
  ~GrammarVocabulary();
  GrammarVocabulary(const GrammarVocabulary&) = delete;
  GrammarVocabulary& operator=(const GrammarVocabulary&) = delete;

 private:
  friend class Grammar;
  explicit GrammarVocabulary(void* handle) : handle_(handle) {}
  void* handle_;
};

// The state of one output under a grammar. One thread at a time; matchers of one grammar wait for
// each other. It may outlive its grammar.
class Matcher {
 public:
  ~Matcher();
  Matcher(const Matcher&) = delete;
  Matcher& operator=(const Matcher&) = delete;
  // Sets bit i % 32 of mask[i / 32] for each token i that may come next, clears the others; mask
  // has ceil(vocab_size / 32) words. End-of-sequence ids are allowed where the output may end.
  // Special tokens are never allowed. Error: the grammar turned out to be too complex; the output
  // cannot go on.
  Status allowed(std::span<uint32_t> mask);
  // Takes the next token. Error: it is not allowed; the state is as before.
  Status accept(int32_t id);
  // Nothing but end of sequence can follow.
  bool is_complete() const;

 private:
  friend class Grammar;
  explicit Matcher(void* handle) : handle_(handle) {}
  void* handle_;
};

// A compiled grammar; immutable, for use by many threads at once.
class Grammar {
 public:
  // Errors say what in the source is wrong or over a limit. Compiling is bounded in time.
  static Result<std::shared_ptr<const Grammar>> compile(
      const std::shared_ptr<const GrammarVocabulary>& vocabulary, GrammarKind kind,
      std::string_view source, const GrammarLimits& limits = {});
  ~Grammar();
  Grammar(const Grammar&) = delete;
  Grammar& operator=(const Grammar&) = delete;
  Result<std::unique_ptr<Matcher>> start() const;

 private:
  explicit Grammar(void* handle) : handle_(handle) {}
  void* handle_;
};

}  // namespace nereid::text
