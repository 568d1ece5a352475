// A request inside the serving engine: its choices and what they have produced so far. Only the
// engine's thread touches it.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "src/engine/serving.h"
#include "src/sched/sequence_state.h"

namespace nereid {

struct ServingRequest;

struct Choice {
  ServingRequest* request = nullptr;
  int32_t index = 0;
  SequenceId sequence = 0;
  bool live = true;
  int32_t num_outputs = 0;
  SamplingParams sampling;  // the request's, with the choice's seed and the tokens banned now
  std::unique_ptr<text::Matcher> matcher;  // null: unconstrained
};

struct ServingRequest {
  RequestId id = 0;
  ServeRequest params;
  std::shared_ptr<RequestSink> sink;
  RequestUsage usage;
  std::vector<Choice> choices;  // never resized: sequences point at them
  int32_t unfinished = 0;
  bool queued = true;                      // none of its choices has run yet
  bool touched = false;                    // its sink was called in this delivery
  std::vector<OutputToken> prompt_tokens;  // with prompt_logprobs, until they are delivered
  bool prompt_delivered = false;
};

// What the engine was told about the model.
struct ModelLimits {
  int32_t vocab_size = 0;
  int32_t max_context = 0;  // tokens of a sequence, prompt and output
  std::vector<int32_t> eos_ids;
};

// The error of a request that can never run, or a request with max_tokens cut to the context.
std::expected<ServeRequest, SubmitError> check_request(ServeRequest request,
                                                       const ModelLimits& limits);

// The choices of a checked request, in their first state.
Status make_choices(ServingRequest& request, const ModelLimits& limits);

// Whether the token ends the choice instead of being part of its output.
bool is_stop(const Choice& choice, int32_t id, const ModelLimits& limits);

// The choice has got one more output token: lifts the ban of early stop tokens when it is time.
void count_output(Choice& choice);

}  // namespace nereid
