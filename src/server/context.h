// What handlers share: the engine, the model's text side, options, metrics. One per server.
#pragma once

#include <atomic>
#include <boost/asio/thread_pool.hpp>
#include <cstdint>
#include <memory>
#include <string>

#include "src/base/result.h"
#include "src/engine/serving.h"
#include "src/server/openai/model_text.h"
#include "src/server/options.h"
#include "src/text/chat_template.h"
#include "src/text/grammar.h"
#include "src/text/tokenizer.h"

namespace nereid::server {

class Metrics;
class StepWakes;
struct ServerContext;

std::unique_ptr<openai::ModelText> make_model_text(const ServerContext& context);

// Everything is const or safe for use by many threads at once.
struct ServerContext {
  ServingEngine& engine;
  const ServerOptions options;
  const std::string model_name;  // what requests call the model, and what answers say
  const std::string version;
  const int64_t started_unix_s;
  // Errors say what of the model's files could not be read; the routes that need it answer with it.
  const Result<std::shared_ptr<const text::Tokenizer>> tokenizer;
  const Result<std::shared_ptr<const text::ChatTemplate>> chat_template;  // may be null
  Metrics& metrics;
  // For work that takes longer than a millisecond: large tokenisations, grammars. See offload.h.
  boost::asio::thread_pool& workers;
  StepWakes& step_wakes;  // for sinks, on the engine's thread
  // What the OpenAI routes make of the two above.
  const std::unique_ptr<openai::ModelText> text = make_model_text(*this);
  std::atomic<bool> draining = false;  // /ready says 503, answers close their connections
};

}  // namespace nereid::server
