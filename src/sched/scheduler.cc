// The scheduler: bookkeeping of sequences, and one step at a time.
#include "src/sched/scheduler.h"

#include <algorithm>

#include "src/base/check.h"

namespace nereid {

void StepBatch::clear() {
  slices.clear();
  admitted.clear();
  num_tokens = 0;
}

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(options), pool_(options.num_pages) {
  NEREID_CHECK(options.page_size > 0 && options.max_sequences > 0, "page size {}, {} sequences",
               options.page_size, options.max_sequences);
  NEREID_CHECK(options.max_step_tokens >= options.max_sequences &&
                   options.max_logit_rows >= options.max_sequences,
               "{} sequences in {} rows, {} logit rows", options.max_sequences,
               options.max_step_tokens, options.max_logit_rows);
  for (int32_t slot = options.max_sequences; slot-- > 0;) free_slots_.push_back(slot);
}

SequenceState& Scheduler::at(SequenceId id) {
  NEREID_CHECK(id < sequences_.size() && sequences_[id].live, "no sequence {}", id);
  return sequences_[id];
}

const SequenceState& Scheduler::state(SequenceId id) const {
  NEREID_CHECK(id < sequences_.size() && sequences_[id].live, "no sequence {}", id);
  return sequences_[id];
}

int32_t Scheduler::pages_for(int32_t tokens) const {
  return (tokens + options_.page_size - 1) / options_.page_size;
}

void Scheduler::insert_in_line(std::vector<SequenceId>& line, SequenceId id) {
  const auto place = std::ranges::lower_bound(
      line, sequences_[id].order, {}, [this](SequenceId other) { return sequences_[other].order; });
  line.insert(place, id);
}

SequenceId Scheduler::add(SequenceParams params) {
  NEREID_CHECK(!params.prompt.empty(), "an empty prompt");
  const auto size = static_cast<int32_t>(params.prompt.size());
  NEREID_CHECK(pages_for(size + 1) <= pool_.num_pages(), "{} tokens for {} pages", size,
               pool_.num_pages());
  if (unused_.empty()) {
    unused_.push_back(static_cast<SequenceId>(sequences_.size()));
    sequences_.emplace_back();
  }
  const SequenceId id = unused_.back();
  unused_.pop_back();
  sequences_[id] = {.id = id,
                    .order = params.order,
                    .live = true,
                    .all_logits = params.all_logits,
                    .prompt_size = size,
                    .salt = params.salt,
                    .after = params.after,
                    .tokens = std::move(params.prompt)};
  insert_in_line(waiting_, id);
  return id;
}

void Scheduler::remove(SequenceId id) {
  SequenceState& sequence = at(id);
  if (sequence.running) {
    pool_.release_all(sequence.pages);
    free_slots_.push_back(sequence.slot);
  }
  std::erase(sequence.running ? running_ : waiting_, id);
  for (const SequenceId other : waiting_) {
    if (sequences_[other].after == id) sequences_[other].after.reset();
  }
  std::erase_if(batch_.slices, [id](const StepSlice& slice) { return slice.sequence == id; });
  sequence.live = false;
  unused_.push_back(id);
}

void Scheduler::append(SequenceId id, int32_t token) {
  SequenceState& sequence = at(id);
  NEREID_CHECK(sequence.pending() == 0, "{} pending tokens", sequence.pending());
  sequence.tokens.push_back(token);
}

// --- a step
// -----------------------------------------------------------------------------------------

const StepBatch& Scheduler::schedule() {
  batch_.clear();
  logit_rows_left_ = options_.max_logit_rows;
  preempted_ = false;
  schedule_decodes();
  for (const SequenceId id : running_) {
    if (!sequences_[id].decodes()) schedule_chunk(sequences_[id]);
  }
  if (!preempted_) admit_waiting();
  return batch_;
}

void Scheduler::add_slice(SequenceState& sequence, int32_t count) {
  const bool sample = count == sequence.pending();
  batch_.slices.push_back({.sequence = sequence.id,
                           .first = sequence.computed,
                           .count = count,
                           .decode = sequence.decodes(),
                           .sample = sample});
  batch_.num_tokens += count;
  logit_rows_left_ -= sequence.all_logits && sequence.computed < sequence.prompt_size
                          ? count
                          : static_cast<int32_t>(sample);
}

void Scheduler::schedule_decodes() {
  for (size_t place = 0; place < running_.size(); ++place) {
    SequenceState& sequence = sequences_[running_[place]];
    if (!sequence.decodes()) continue;
    const auto needed = static_cast<size_t>(pages_for(sequence.size()));
    while (sequence.running && sequence.pages.size() < needed) {
      if (const auto page = pool_.allocate()) {
        sequence.pages.push_back(*page);
      } else {
        preempt(sequences_[running_.back()]);  // perhaps this one
      }
    }
    if (sequence.running) add_slice(sequence, 1);
  }
}

void Scheduler::schedule_chunk(SequenceState& sequence) {
  int32_t count = std::min(sequence.pending(), options_.max_step_tokens - batch_.num_tokens);
  if (sequence.all_logits) count = std::min(count, logit_rows_left_);
  if (count == sequence.pending() && logit_rows_left_ == 0) --count;
  if (count > 0) add_slice(sequence, count);
}

// Waits for the pages of another sequence's prompt.
bool Scheduler::is_blocked(const SequenceState& sequence) const {
  if (!sequence.after) return false;
  const SequenceState& leader = state(*sequence.after);
  return leader.computed < leader.prompt_size && leader.size() == leader.prompt_size;
}

void Scheduler::admit_waiting() {
  size_t place = 0;
  while (place < waiting_.size() && !free_slots_.empty() &&
         batch_.num_tokens < options_.max_step_tokens && logit_rows_left_ > 0) {
    SequenceState& sequence = sequences_[waiting_[place]];
    if (is_blocked(sequence)) {
      ++place;
      continue;
    }
    if (!admit(sequence)) return;  // those behind it wait as well
    waiting_.erase(waiting_.begin() + static_cast<ptrdiff_t>(place));
    insert_in_line(running_, sequence.id);
    schedule_chunk(sequence);
  }
}

// Takes a slot and pages for all tokens; false, and nothing taken, if there are not enough.
bool Scheduler::admit(SequenceState& sequence) {
  // The newest token is always computed, for its logits.
  const int32_t most = sequence.all_logits ? 0 : (sequence.size() - 1) / options_.page_size;
  while (static_cast<int32_t>(sequence.pages.size()) < most) {
    const auto page = pool_.find(page_key(sequence, static_cast<int32_t>(sequence.pages.size())));
    if (!page) break;
    sequence.pages.push_back(*page);
  }
  const auto found = static_cast<int32_t>(sequence.pages.size());
  const int32_t missing = pages_for(sequence.size()) - found;
  // A page for each running sequence stays free, or the next steps would preempt again.
  if (missing + num_running() > pool_.num_available() || !pool_.allocate(missing, sequence.pages)) {
    pool_.release_all(sequence.pages);
    return false;
  }
  sequence.computed = found * options_.page_size;
  sequence.num_published = found;
  sequence.running = true;
  sequence.after.reset();
  sequence.slot = free_slots_.back();
  free_slots_.pop_back();
  counters_.prefix_queries += static_cast<uint64_t>(sequence.size());
  counters_.prefix_hits += static_cast<uint64_t>(sequence.computed);
  if (sequence.cached_tokens < 0) sequence.cached_tokens = sequence.computed;
  batch_.admitted.push_back(sequence.id);
  return true;
}

void Scheduler::preempt(SequenceState& sequence) {
  pool_.release_all(sequence.pages);
  free_slots_.push_back(sequence.slot);
  sequence.running = false;
  sequence.slot = -1;
  sequence.computed = 0;
  ++sequence.preemptions;
  ++counters_.preemptions;
  preempted_ = true;
  std::erase(running_, sequence.id);
  insert_in_line(waiting_, sequence.id);
}

// --- pages
// ------------------------------------------------------------------------------------------

const ContentKey& Scheduler::page_key(SequenceState& sequence, int32_t page) {
  const auto page_size = static_cast<size_t>(options_.page_size);
  while (sequence.keys.size() <= static_cast<size_t>(page)) {
    const ContentKey parent =
        sequence.keys.empty() ? root_key(sequence.salt) : sequence.keys.back();
    sequence.keys.push_back(child_key(
        parent, std::span(sequence.tokens).subspan(sequence.keys.size() * page_size, page_size)));
  }
  return sequence.keys[static_cast<size_t>(page)];
}

void Scheduler::publish_pages(SequenceState& sequence) {
  for (; sequence.num_published < sequence.computed / options_.page_size;
       ++sequence.num_published) {
    const PageId page = sequence.pages[static_cast<size_t>(sequence.num_published)];
    pool_.publish(page, page_key(sequence, sequence.num_published));
  }
}

void Scheduler::commit() {
  for (const StepSlice& slice : batch_.slices) {
    SequenceState& sequence = at(slice.sequence);
    sequence.computed += slice.count;
    publish_pages(sequence);
  }
  batch_.slices.clear();
}

// --- checks
// -----------------------------------------------------------------------------------------

void Scheduler::check_integrity() const {
  std::vector<PageId> held;
  std::vector<bool> slots(static_cast<size_t>(options_.max_sequences), false);
  size_t live = 0;
  for (const SequenceState& sequence : sequences_) {
    if (!sequence.live) continue;
    ++live;
    const bool waits = std::ranges::count(waiting_, sequence.id) == 1;
    const bool runs = std::ranges::count(running_, sequence.id) == 1;
    NEREID_CHECK(waits != runs && runs == sequence.running, "sequence {} waits {} runs {}",
                 sequence.id, waits, runs);
    NEREID_CHECK(sequence.computed >= 0 && sequence.computed <= sequence.size(), "{} of {} tokens",
                 sequence.computed, sequence.size());
    held.insert(held.end(), sequence.pages.begin(), sequence.pages.end());
    if (!runs) {
      NEREID_CHECK(sequence.pages.empty() && sequence.computed == 0, "sequence {} waits with pages",
                   sequence.id);
      continue;
    }
    NEREID_CHECK(static_cast<int32_t>(sequence.pages.size()) >= pages_for(sequence.computed),
                 "{} pages for {} tokens", sequence.pages.size(), sequence.computed);
    NEREID_CHECK(!slots[static_cast<size_t>(sequence.slot)], "slot {} twice", sequence.slot);
    slots[static_cast<size_t>(sequence.slot)] = true;
  }
  NEREID_CHECK(live == running_.size() + waiting_.size(), "{} sequences, {} run, {} wait", live,
               running_.size(), waiting_.size());
  NEREID_CHECK(running_.size() + free_slots_.size() == slots.size(), "{} run, {} of {} slots free",
               running_.size(), free_slots_.size(), slots.size());
  const auto order = [this](SequenceId id) { return sequences_[id].order; };
  NEREID_CHECK(
      std::ranges::is_sorted(running_, {}, order) && std::ranges::is_sorted(waiting_, {}, order),
      "out of line");
  pool_.check_integrity(held);
}

}  // namespace nereid
