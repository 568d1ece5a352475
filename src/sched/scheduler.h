// Which sequences the next step works on, and which pages they hold: continuous batching with
// chunked prefill, a prefix cache, and preemption by recomputation. Pure host code over integers.
//
// Order: every sequence has a place in line (`order`). A step takes, in this order and under a
// token budget, one row of every running sequence that decodes, chunks of those still in prefill,
// and, in line, waiting ones for which there are slots and pages. When a running sequence needs a
// page and there is none, the last in line of the running ones gives up its pages and waits again.
// So the first in line always advances, and whoever waits becomes first: nothing starves.
//
// Continuous batching: Orca (OSDI 2022). Paged cache, preemption: vLLM (SOSP 2023). Chunked
// prefill: Sarathi-Serve (OSDI 2024).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/kv/page_pool.h"
#include "src/sched/sequence_state.h"

namespace nereid {

struct SchedulerOptions {
  int32_t num_pages = 0, page_size = 0;
  int32_t max_sequences = 0;    // that run at once
  int32_t max_step_tokens = 0;  // at least max_sequences
  int32_t max_logit_rows = 0;   // of a step; at least max_sequences
};

// The part of one sequence that a step computes: tokens [first, first + count).
struct StepSlice {
  SequenceId sequence = 0;
  int32_t first = 0, count = 0;
  bool decode = false;  // one token that was drawn, as against a chunk of given ones
  bool sample = false;  // the slice ends with the newest token: draw the next one
};

struct StepBatch {
  std::vector<StepSlice> slices;
  std::vector<SequenceId> admitted;  // began to run in this step, perhaps again
  int32_t num_tokens = 0;
  bool empty() const { return slices.empty(); }
  void clear();
};

struct SchedulerCounters {
  uint64_t prefix_queries = 0, prefix_hits = 0;  // tokens asked for and found in the prefix cache
  uint64_t preemptions = 0;
};

class Scheduler {
 public:
  explicit Scheduler(const SchedulerOptions& options);

  // The sequence waits from now on. Its tokens, outputs to come included, must fit the pool.
  SequenceId add(SequenceParams params);
  // Gives up everything the sequence holds; its id may be used again.
  void remove(SequenceId id);

  // The next step. Nothing to do: an empty batch. The result stays valid until the next call.
  const StepBatch& schedule();
  // The last batch was computed: its pages may be shared from now on.
  void commit();
  // The token drawn after a slice with `sample`.
  void append(SequenceId id, int32_t token);

  const SequenceState& state(SequenceId id) const;
  int32_t num_running() const { return static_cast<int32_t>(running_.size()); }
  int32_t num_waiting() const { return static_cast<int32_t>(waiting_.size()); }
  const PagePool& pages() const { return pool_; }
  const SchedulerCounters& counters() const { return counters_; }
  const SchedulerOptions& options() const { return options_; }

  // CHECKs everything that must hold between two calls.
  void check_integrity() const;

 private:
  SequenceState& at(SequenceId id);
  int32_t pages_for(int32_t tokens) const;
  const ContentKey& page_key(SequenceState& sequence, int32_t page);
  bool is_blocked(const SequenceState& sequence) const;
  void add_slice(SequenceState& sequence, int32_t count);
  void schedule_decodes();
  void schedule_chunk(SequenceState& sequence);
  void admit_waiting();
  bool admit(SequenceState& sequence);
  void preempt(SequenceState& sequence);
  void publish_pages(SequenceState& sequence);
  void insert_in_line(std::vector<SequenceId>& line, SequenceId id);

  SchedulerOptions options_;
  PagePool pool_;
  std::vector<SequenceState> sequences_;       // by id
  std::vector<SequenceId> unused_;             // ids
  std::vector<SequenceId> running_, waiting_;  // each in line
  std::vector<int32_t> free_slots_;            // a stack
  StepBatch batch_;
  int32_t logit_rows_left_ = 0;
  bool preempted_ = false;  // in this step
  SchedulerCounters counters_;
};

}  // namespace nereid
