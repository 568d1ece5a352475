/* C ABI of the Rust crate in this folder (src/abi.rs). C++ uses it through src/text/ only.
 *
 * Rules for every function:
 *   - slices and arrays are borrowed for the call; NULL is allowed where the size is 0;
 *   - int results are 0 for success and 1 for failure; on failure *error holds a one-line message and
 *     nothing else is written;
 *   - buffers and ids handed out are given back with nereid_buffer_free / nereid_ids_free;
 *   - tokenizers, templates, vocabularies and grammars may be used by many threads at once, streams,
 *     matchers and progress bars by one;
 *   - nothing unwinds out of the library. */
#ifndef NEREID_TEXT_H
#define NEREID_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  const uint8_t* data;
  size_t size;
} NereidSlice;

typedef struct {
  uint8_t* data;
  size_t size;
  size_t capacity;
} NereidBuffer;

typedef struct {
  int32_t* data;
  size_t size;
  size_t capacity;
} NereidIds;

typedef struct NereidTokenizer NereidTokenizer;
typedef struct NereidStream NereidStream;
typedef struct NereidTemplate NereidTemplate;
typedef struct NereidGrammarVocabulary NereidGrammarVocabulary;
typedef struct NereidGrammar NereidGrammar;
typedef struct NereidMatcher NereidMatcher;
typedef struct NereidProgress NereidProgress;

/* The keys tokenizer.ggml.* of a GGUF file. Ids are -1 when absent, so are the three flags. */
typedef struct {
  NereidSlice model;
  NereidSlice pre;
  const NereidSlice* tokens;
  size_t num_tokens;
  const float* scores;
  size_t num_scores;
  const int32_t* types;
  size_t num_types;
  const NereidSlice* merges;
  size_t num_merges;
  int32_t bos_id, eos_id, unk_id, pad_id;
  int32_t add_bos, add_eos, add_space_prefix;
} NereidGgufVocabulary;

void nereid_buffer_free(NereidBuffer buffer);
void nereid_ids_free(NereidIds ids);

int32_t nereid_tokenizer_from_json(NereidSlice json, NereidTokenizer** out, NereidBuffer* error);
int32_t nereid_tokenizer_from_gguf(const NereidGgufVocabulary* vocabulary, NereidTokenizer** out,
                                   NereidBuffer* error);
void nereid_tokenizer_free(NereidTokenizer* tokenizer);
int32_t nereid_tokenizer_encode(const NereidTokenizer* tokenizer, NereidSlice text,
                                bool add_special_tokens, bool parse_special_tokens, NereidIds* out,
                                NereidBuffer* error);
int32_t nereid_tokenizer_decode(const NereidTokenizer* tokenizer, const int32_t* ids, size_t num_ids,
                                bool skip_special_tokens, NereidBuffer* out, NereidBuffer* error);
int32_t nereid_tokenizer_vocab_size(const NereidTokenizer* tokenizer);
int32_t nereid_tokenizer_token_to_id(const NereidTokenizer* tokenizer, NereidSlice token);
NereidBuffer nereid_tokenizer_id_to_token(const NereidTokenizer* tokenizer, int32_t id);
bool nereid_tokenizer_is_special(const NereidTokenizer* tokenizer, int32_t id);

/* A stream keeps its tokenizer alive. */
NereidStream* nereid_stream_new(const NereidTokenizer* tokenizer, bool skip_special_tokens);
void nereid_stream_free(NereidStream* stream);
int32_t nereid_stream_push(NereidStream* stream, int32_t id, NereidBuffer* out,
                           NereidBuffer* error);
NereidBuffer nereid_stream_finish(NereidStream* stream);

/* now: seconds since 1970 for strftime_now, in UTC; NULL for the machine's local time. */
int32_t nereid_template_parse(NereidSlice source, NereidSlice bos_token, NereidSlice eos_token,
                              const int64_t* now, NereidTemplate** out, NereidBuffer* error);
void nereid_template_free(NereidTemplate* chat_template);
int32_t nereid_template_render(const NereidTemplate* chat_template, NereidSlice input_json,
                               NereidBuffer* out, NereidBuffer* error);

/* vocab_size: of the logits; ids past the tokenizer's are never allowed. */
int32_t nereid_grammar_vocabulary_new(const NereidTokenizer* tokenizer, const int32_t* eos_ids,
                                      size_t num_eos_ids, int32_t vocab_size,
                                      NereidGrammarVocabulary** out, NereidBuffer* error);
void nereid_grammar_vocabulary_free(NereidGrammarVocabulary* vocabulary);

/* kind: 0 any JSON object (the source is ignored), 1 JSON schema, 2 regular expression, 3 Lark,
 * 4 choice (JSON array of strings). A grammar keeps its vocabulary alive. */
int32_t nereid_grammar_compile(const NereidGrammarVocabulary* vocabulary, int32_t kind,
                               NereidSlice source, size_t max_bytes, size_t max_nesting,
                               NereidGrammar** out, NereidBuffer* error);
void nereid_grammar_free(NereidGrammar* grammar);

/* A matcher does not need its grammar to live. mask: ceil(vocab_size / 32) words, all written. */
int32_t nereid_matcher_new(const NereidGrammar* grammar, NereidMatcher** out, NereidBuffer* error);
void nereid_matcher_free(NereidMatcher* matcher);
int32_t nereid_matcher_allowed(NereidMatcher* matcher, uint32_t* mask, size_t num_words,
                               NereidBuffer* error);
int32_t nereid_matcher_accept(NereidMatcher* matcher, int32_t id, NereidBuffer* error);
bool nereid_matcher_is_complete(const NereidMatcher* matcher);

/* May return NULL, which the other three accept. total 0: not known. */
NereidProgress* nereid_progress_new(uint64_t total, NereidSlice message, bool bytes);
void nereid_progress_set(const NereidProgress* progress, uint64_t done);
void nereid_progress_finish(NereidProgress* progress, NereidSlice message);
void nereid_progress_free(NereidProgress* progress);

#ifdef __cplusplus
}
#endif

#endif
