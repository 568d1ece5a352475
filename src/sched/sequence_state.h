// One output being generated, as the scheduler sees it: tokens, pages, how far it is. Integers
// only.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "src/kv/content_key.h"
#include "src/kv/page_pool.h"

namespace nereid {

using SequenceId = uint32_t;

struct SequenceParams {
  std::vector<int32_t> prompt;  // at least one token
  // Place in line: smaller goes first, no two alike. See Scheduler.
  int64_t order = 0;
  // Logits of every prompt position are wanted, so nothing is taken from the prefix cache.
  bool all_logits = false;
  // Sequences with different salts share no pages.
  uint64_t salt = 0;
  // Waits until this one has computed its prompt, to share the pages; gone counts as computed.
  std::optional<SequenceId> after;
};

// Tokens [0, computed) have their keys and values in the cache.
//
//   tokens | prompt ................ | output ..... |
//   pages  | page 0 | page 1 | ...              |      enough for all tokens while running
//   keys   | key 0  | key 1  | ...                     of full pages, as far as they were needed
struct SequenceState {
  SequenceId id = 0;
  int64_t order = 0;
  bool live = false, running = false, all_logits = false;
  int32_t prompt_size = 0, computed = 0;
  int32_t slot = -1;           // while running; below max_sequences, no two alike
  int32_t num_published = 0;   // pages offered to the prefix cache
  int32_t cached_tokens = -1;  // found in the prefix cache at the first admission; -1: not admitted
  int32_t preemptions = 0;
  uint64_t salt = 0;
  std::optional<SequenceId> after;
  std::vector<int32_t> tokens;
  std::vector<PageId> pages;
  std::vector<ContentKey> keys;

  int32_t size() const { return static_cast<int32_t>(tokens.size()); }
  int32_t pending() const { return size() - computed; }
  // Only its newest token, which was drawn, is to be computed.
  bool decodes() const { return pending() == 1 && size() > prompt_size; }
};

}  // namespace nereid
