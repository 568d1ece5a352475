// From sequences to the integers of one step: rows, positions, cache slots, tiles, page table. Pure
// host code; the result goes to the device in one copy.
#pragma once

#include <compare>
#include <cstdint>
#include <span>
#include <vector>

#include "src/nn/step.h"
#include "src/tensor/tensor.h"

namespace nereid {

// Which rows of a slice have their logits computed.
enum class LogitRows : uint8_t {
  kNone,
  kLast,          // of the last token, to draw what follows
  kAll,           // of every token
  kLastThenRest,  // of every token, the last one among those to draw from
};

// The part of one sequence that a step computes.
struct SequenceSlice {
  std::span<const int32_t> tokens;  // at least one
  int32_t first_position = 0;       // of tokens[0]; earlier positions are in the cache
  std::span<const int32_t> pages;   // of the sequence, enough for first_position + tokens.size()
  LogitRows logits = LogitRows::kLast;
  // One token that the model has drawn. Attention of such rows is split differently, so whether a
  // row is one must depend on its sequence alone.
  bool decode = false;
};

// Up to so many decode slices, so many programs share the pages of each.
struct SplitRule {
  int32_t max_slices = 0;
  int32_t splits = 1;
};

// Query tokens of a tile, and how many programs share the heads of a group for it.
struct PrefillTile {
  int32_t tokens = 0;
  int32_t programs = 1;
};

struct StepLimits {
  int32_t page_size = 0;
  int32_t max_rows = 0;                    // tokens of a step
  int32_t max_sequences = 0;               // slices of a step
  int32_t max_pages = 0;                   // pages of a sequence
  std::vector<PrefillTile> prefill_tiles;  // a step takes the one of fewest programs, or the last
  std::vector<SplitRule> decode_splits;    // ascending; the last one holds for all counts
  int32_t split_pages = 1;                 // of a split, about

  // Decode slices times splits, at most.
  int64_t max_split_rows() const;
};

class StepPlan {
 public:
  explicit StepPlan(const StepLimits& limits);

  // Decode slices are laid out first; the others follow in order. Logits come in two parts: a row
  // for each slice with kLast or kLastThenRest, in the order of order(); then, slice by slice, the
  // rows of those with kAll and all but the last of those with kLastThenRest.
  void build(std::span<const SequenceSlice> slices);

  // Decode slices are split in so many from now on; 0: as the limits say.
  void force_splits(int32_t splits) { forced_splits_ = splits; }
  // Prefill tiles have so many tokens from now on; 0: as the limits say.
  void force_prefill_tile(int32_t tokens) { forced_tile_ = tokens; }

  int32_t rows() const { return rows_; }
  int32_t logit_rows() const { return logit_rows_; }
  int32_t draw_rows() const { return draw_rows_; }  // of the first part
  bool all_decode() const;                          // one token of each slice, and no more
  // Slice index of the k-th laid-out slice.
  std::span<const int32_t> order() const { return order_; }

  // The integers, and the views of them once they lie at `base`.
  std::span<const int32_t> words() const { return words_; }
  nn::StepInputs inputs(DevicePtr base) const;

  // Bytes of the largest plan under `limits`.
  static uint64_t max_bytes(const StepLimits& limits);

 private:
  struct Section {
    int64_t offset = 0, count = 0;  // in words
  };
  struct Group {
    Section tile_seq, tile_first;
    int32_t tile_tokens = 0, num_splits = 1, first_row = 0, rows = 0;
  };

  struct Tile {
    int32_t keys = 0, sequence = 0, first = 0;  // positions before the first token
    auto operator<=>(const Tile&) const = default;
  };

  Section append(std::span<const int32_t> values);
  void add_slice(const SequenceSlice& slice);
  void add_group(bool decode);
  void append_tiles(Group& group);
  bool is_wanted(const Tile& tile, int32_t tokens) const;
  int32_t splits_of(int32_t slices) const;
  int32_t prefill_tile() const;

  StepLimits limits_;
  std::vector<int32_t> words_, order_;
  std::vector<int32_t> tokens_, positions_, slots_, logit_index_, rest_index_;
  std::vector<int32_t> seq_start_, seq_queries_, seq_context_, page_table_;
  std::vector<bool> seq_decode_, wanted_;  // by sequence; by row: its logits are
  std::vector<Tile> tiles_;
  std::vector<int32_t> tile_seq_, tile_first_;
  Section tokens_at_, positions_at_, slots_at_, logits_at_, start_at_, queries_at_, context_at_,
      pages_at_;
  std::vector<Group> groups_, wanted_groups_;
  int32_t rows_ = 0, logit_rows_ = 0, draw_rows_ = 0, forced_splits_ = 0, forced_tile_ = 0;
};

}  // namespace nereid
