// Lays out the integers of a step.
#include "src/engine/step_plan.h"

#include <algorithm>
#include <limits>

#include "src/base/check.h"

namespace nereid {

namespace {

constexpr int64_t kAlignWords = 16;  // sections start at 64-byte borders: kernels assume 16
constexpr int kNumSections = 14;

int64_t aligned(int64_t words) {
  return (words + kAlignWords - 1) / kAlignWords * kAlignWords;
}

}  // namespace

int64_t StepLimits::max_split_rows() const {
  int64_t most = 0;
  for (const SplitRule& rule : decode_splits) {
    if (rule.splits == 1) continue;
    most = std::max(most, int64_t{std::min(rule.max_slices, max_sequences)} * rule.splits);
  }
  return most;
}

StepPlan::StepPlan(const StepLimits& limits) : limits_(limits) {
  words_.reserve(max_bytes(limits) / sizeof(int32_t));
}

uint64_t StepPlan::max_bytes(const StepLimits& limits) {
  const int64_t rows = limits.max_rows, sequences = limits.max_sequences;
  const int64_t words = 4 * rows + 3 * sequences + sequences * limits.max_pages +
                        6 * (rows + sequences) + kNumSections * kAlignWords;
  return static_cast<uint64_t>(words) * sizeof(int32_t);
}

StepPlan::Section StepPlan::append(std::span<const int32_t> values) {
  const Section section{static_cast<int64_t>(words_.size()), static_cast<int64_t>(values.size())};
  words_.insert(words_.end(), values.begin(), values.end());
  words_.resize(static_cast<size_t>(aligned(static_cast<int64_t>(words_.size()))), 0);
  return section;
}

void StepPlan::add_slice(const SequenceSlice& slice) {
  const auto count = static_cast<int32_t>(slice.tokens.size());
  const int32_t context = slice.first_position + count;
  const int32_t page_size = limits_.page_size;
  NEREID_CHECK(!slice.decode || count == 1, "{} tokens of a decode slice", count);
  NEREID_CHECK(count > 0 && rows_ + count <= limits_.max_rows, "{} rows after {} of {}", count,
               rows_, limits_.max_rows);
  const auto pages_needed = static_cast<size_t>((context + page_size - 1) / page_size);
  NEREID_CHECK(
      slice.pages.size() >= pages_needed && pages_needed <= static_cast<size_t>(limits_.max_pages),
      "{} pages for {} positions, limit {}", slice.pages.size(), context, limits_.max_pages);

  seq_start_.push_back(rows_);
  seq_queries_.push_back(count);
  seq_context_.push_back(context);
  seq_decode_.push_back(slice.decode);
  page_table_.insert(page_table_.end(), slice.pages.begin(),
                     slice.pages.begin() + static_cast<ptrdiff_t>(pages_needed));
  page_table_.resize(seq_start_.size() * static_cast<size_t>(limits_.max_pages), 0);
  for (int32_t token = 0; token < count; ++token) {
    const int32_t position = slice.first_position + token;
    tokens_.push_back(slice.tokens[static_cast<size_t>(token)]);
    positions_.push_back(position);
    slots_.push_back(slice.pages[static_cast<size_t>(position / page_size)] * page_size +
                     position % page_size);
    const bool last = token + 1 == count;
    if (slice.logits == LogitRows::kAll || (slice.logits == LogitRows::kLastThenRest && !last)) {
      rest_index_.push_back(rows_ + token);
    } else if (slice.logits != LogitRows::kNone && last) {
      logit_index_.push_back(rows_ + token);
    }
  }
  rows_ += count;
}

void StepPlan::add_group(bool decode) {
  Group group;
  group.tile_tokens = decode ? 1 : prefill_tile();
  tiles_.clear();
  for (size_t sequence = 0; sequence < seq_start_.size(); ++sequence) {
    if (seq_decode_[sequence] != decode) continue;
    if (tiles_.empty()) group.first_row = seq_start_[sequence];
    group.rows += seq_queries_[sequence];
    for (int32_t first = 0; first < seq_queries_[sequence]; first += group.tile_tokens) {
      tiles_.push_back({.keys = seq_context_[sequence] - seq_queries_[sequence] + first,
                        .sequence = static_cast<int32_t>(sequence),
                        .first = first});
    }
  }
  if (tiles_.empty()) return;
  // Those that see the most keys last: kernels that deal tiles out themselves begin there.
  if (!decode) std::ranges::sort(tiles_);
  if (decode) group.num_splits = splits_of(group.rows);
  append_tiles(group);
  groups_.push_back(group);
  if (!decode) {
    std::erase_if(tiles_, [&](const Tile& tile) { return !is_wanted(tile, group.tile_tokens); });
    append_tiles(group);
  }
  if (!tiles_.empty()) wanted_groups_.push_back(group);
}

void StepPlan::append_tiles(Group& group) {
  tile_seq_.clear();
  tile_first_.clear();
  for (const Tile& tile : tiles_) {
    tile_seq_.push_back(tile.sequence);
    tile_first_.push_back(tile.first);
  }
  group.tile_seq = append(tile_seq_);
  group.tile_first = append(tile_first_);
}

// Whether the logits of a row of the tile are.
bool StepPlan::is_wanted(const Tile& tile, int32_t tokens) const {
  const auto sequence = static_cast<size_t>(tile.sequence);
  const auto begin = wanted_.begin() + seq_start_[sequence] + tile.first;
  const auto end = begin + std::min(tokens, seq_queries_[sequence] - tile.first);
  return std::find(begin, end, true) != end;
}

int32_t StepPlan::splits_of(int32_t slices) const {
  if (forced_splits_ > 0) return forced_splits_;
  const auto rule = std::ranges::find_if(
      limits_.decode_splits, [&](const SplitRule& entry) { return slices <= entry.max_slices; });
  NEREID_CHECK(rule != limits_.decode_splits.end(), "no rule for {} slices", slices);
  return rule->splits;
}

int32_t StepPlan::prefill_tile() const {
  if (forced_tile_ > 0) return forced_tile_;
  PrefillTile chosen;
  int64_t fewest = std::numeric_limits<int64_t>::max();
  for (const PrefillTile& tile : limits_.prefill_tiles) {
    int64_t programs = 0;
    for (size_t sequence = 0; sequence < seq_start_.size(); ++sequence) {
      if (seq_decode_[sequence]) continue;
      programs += (seq_queries_[sequence] + tile.tokens - 1) / tile.tokens * tile.programs;
    }
    if (programs > fewest) continue;
    fewest = programs;
    chosen = tile;
  }
  NEREID_CHECK(chosen.tokens > 0, "no tile for prefill");
  return chosen.tokens;
}

void StepPlan::build(std::span<const SequenceSlice> slices) {
  NEREID_CHECK(!slices.empty() && slices.size() <= static_cast<size_t>(limits_.max_sequences),
               "{} slices, limit {}", slices.size(), limits_.max_sequences);
  for (auto* list : {&words_, &order_, &tokens_, &positions_, &slots_, &logit_index_, &rest_index_,
                     &seq_start_, &seq_queries_, &seq_context_, &page_table_}) {
    list->clear();
  }
  seq_decode_.clear();
  groups_.clear();
  wanted_groups_.clear();
  rows_ = 0;
  for (const bool decode : {true, false}) {
    for (size_t index = 0; index < slices.size(); ++index) {
      if (slices[index].decode != decode) continue;
      order_.push_back(static_cast<int32_t>(index));
      add_slice(slices[index]);
    }
  }
  draw_rows_ = static_cast<int32_t>(logit_index_.size());
  logit_index_.insert(logit_index_.end(), rest_index_.begin(), rest_index_.end());
  logit_rows_ = static_cast<int32_t>(logit_index_.size());
  wanted_.assign(static_cast<size_t>(rows_), false);
  for (const int32_t row : logit_index_) wanted_[static_cast<size_t>(row)] = true;
  tokens_at_ = append(tokens_);
  positions_at_ = append(positions_);
  slots_at_ = append(slots_);
  logits_at_ = append(logit_index_);
  start_at_ = append(seq_start_);
  queries_at_ = append(seq_queries_);
  context_at_ = append(seq_context_);
  pages_at_ = append(page_table_);
  add_group(true);
  add_group(false);
  NEREID_CHECK(words_.size() * sizeof(int32_t) <= max_bytes(limits_), "{} words", words_.size());
}

bool StepPlan::all_decode() const {
  return std::ranges::find(seq_decode_, false) == seq_decode_.end();
}

nn::StepInputs StepPlan::inputs(DevicePtr base) const {
  const auto view = [&](const Section& section) {
    return Tensor(DType::kI32, {section.count},
                  base + static_cast<uint64_t>(section.offset) * sizeof(int32_t));
  };
  nn::StepInputs inputs;
  inputs.tokens = view(tokens_at_);
  inputs.positions = view(positions_at_);
  inputs.slots = view(slots_at_);
  inputs.logit_rows = view(logits_at_);
  inputs.seq_start = view(start_at_);
  inputs.seq_queries = view(queries_at_);
  inputs.seq_context = view(context_at_);
  inputs.page_table =
      Tensor(DType::kI32,
             {static_cast<int64_t>(seq_start_.size()), static_cast<int64_t>(limits_.max_pages)},
             view(pages_at_).ptr());
  inputs.decode_rows = std::ranges::count(seq_decode_, true);
  for (const auto& [groups, views] :
       {std::pair{&groups_, &inputs.groups}, std::pair{&wanted_groups_, &inputs.wanted_groups}}) {
    for (const Group& group : *groups) {
      views->push_back({.tile_seq = view(group.tile_seq),
                        .tile_first = view(group.tile_first),
                        .tile_tokens = group.tile_tokens,
                        .num_splits = group.num_splits,
                        .split_pages = limits_.split_pages,
                        .first_row = group.first_row,
                        .rows = group.rows});
    }
  }
  return inputs;
}

}  // namespace nereid
