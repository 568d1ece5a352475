// nereid run: one prompt or conversation in, the reply out.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "apps/nereid/command.h"
#include "apps/nereid/interrupt.h"
#include "apps/nereid/options.h"
#include "apps/nereid/prompt.h"
#include "apps/nereid/reply.h"

namespace nereid::commands {
namespace {

using Json = nlohmann::ordered_json;

struct RunOptions {
  ModelOptions model;
  SamplingOptions sampling;
  std::string prompt, system, messages_file;
  bool raw = false, json = false, timings = false;
};

constexpr const char* kRunFooter = R"(
The prompt goes through the model's chat template when it has one; --raw gives it as it is.
Without sampling flags, and when the model says nothing itself, the most likely token is taken
each time, so that a prompt always gives the same reply. Ctrl-C stops a reply.

Examples:
  nereid run "Why is the sky blue?"
  nereid run -m model.gguf --raw "Once upon a time" -n 64 --temperature 0.8 --seed 7
  nereid run --messages conversation.json --json
  echo "Summarise: ..." | nereid run -

A conversation file is a JSON array of {"role": "user", "content": "..."} or an object with
"messages" (and "tools" or other variables of the template).
--json prints {"model", "prompt_token_ids", "token_ids", "text", "stop", "timings"}.)";

Result<std::vector<int32_t>> prompt_ids(const Engine& engine, const RunOptions& options,
                                        const Environment& environment) {
  if (!options.messages_file.empty()) {
    NEREID_TRY(const std::string text, read_input(options.messages_file, environment.input_fd));
    NEREID_TRY(Json conversation, parse_conversation(text, options.messages_file));
    if (!conversation.contains("add_generation_prompt")) {
      conversation["add_generation_prompt"] = true;
    }
    return encode_conversation(engine, conversation);
  }
  std::string prompt = options.prompt;
  if (prompt == "-") {
    NEREID_TRY(prompt, read_input("-", environment.input_fd));
  }
  bool as_it_is = options.raw;
  if (!as_it_is) {
    NEREID_TRY(const auto chat_template, engine.chat_template());
    as_it_is = chat_template == nullptr;
  }
  if (as_it_is) {
    if (!options.system.empty()) return error("--system needs a chat template");
    return encode_text(engine, prompt);
  }
  NEREID_TRY(const Json conversation, make_conversation(options.system, prompt));
  return encode_conversation(engine, conversation);
}

std::string reply_as_json(const Engine& engine, const std::vector<int32_t>& ids,
                          const Reply& reply) {
  const Json timings = {
      {"load_seconds", engine.load_seconds()},
      {"prefill_seconds", reply.result.prefill_seconds},
      {"decode_seconds", reply.result.decode_seconds},
      {"prefill_tokens_per_second", prefill_rate(ids.size(), reply.result)},
      {"decode_tokens_per_second", decode_rate(reply.result)},
  };
  const Json object = {
      {"model", engine.config().name},        {"prompt_token_ids", ids},
      {"token_ids", reply.result.token_ids},  {"text", reply.text},
      {"stop", stop_name(reply.result.stop)}, {"timings", timings},
  };
  return object.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<int> run(const RunOptions& options, Environment& environment, Engine& engine) {
  ReplyParams params;
  NEREID_TRY(params.prompt_ids, prompt_ids(engine, options, environment));
  params.stream = options.json ? nullptr : &environment.out;
  const Interrupt interrupt;
  NEREID_TRY(const Reply reply, generate_reply(engine, options.sampling, params, interrupt));
  if (options.json) {
    environment.out.line(reply_as_json(engine, params.prompt_ids, reply));
  } else if (!reply.text.ends_with('\n')) {
    environment.out.write("\n");
  }
  if (options.timings) {
    const std::string timings = describe_timings(params.prompt_ids.size(), reply.result);
    std::fprintf(stderr, "load %.2f s, %s\n", engine.load_seconds(), timings.c_str());
  }
  const bool stopped_by_person = interrupt.received() && environment.out.ok();
  return stopped_by_person ? kExitInterrupted : 0;
}

}  // namespace

void add_run(CLI::App& app, Environment& environment) {
  const auto options = std::make_shared<RunOptions>();
  CLI::App* command = app.add_subcommand("run", "Reply to one prompt");
  CLI::Option* prompt =
      command->add_option("PROMPT", options->prompt, "The prompt; '-' reads standard input");
  CLI::Option* messages =
      command->add_option("--messages", options->messages_file,
                          "JSON file with a conversation; '-' reads standard input");
  CLI::Option* raw =
      command->add_flag("--raw", options->raw, "No chat template: the model continues the prompt");
  command->add_option("--system", options->system, "System message before the prompt");
  command->add_flag("--json", options->json, "Print one JSON object instead of text");
  command->add_flag("--timings", options->timings, "Print speeds to standard error");
  add_model_options(*command, options->model);
  add_sampling_options(*command, options->sampling);
  messages->excludes(prompt)->excludes(raw);
  command->footer(kRunFooter);
  command->callback([options, prompt, messages, &environment] {
    if (prompt->count() == 0 && messages->count() == 0) {
      throw CLI::ValidationError("run", "a PROMPT or --messages FILE is required");
    }
    environment.action = [options, &environment] {
      return with_engine(environment, options->model, {},
                         [&](Engine& engine) { return run(*options, environment, engine); });
    };
  });
}

}  // namespace nereid::commands
