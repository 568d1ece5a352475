// nereid eval: log-probabilities of given texts, and perplexity; JSON out, for other programs.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "apps/nereid/command.h"
#include "apps/nereid/flag_checks.h"
#include "apps/nereid/options.h"
#include "apps/nereid/prompt.h"
#include "apps/nereid/score.h"

namespace nereid::commands {
namespace {

using Json = nlohmann::ordered_json;

struct EvalOptions {
  ModelOptions model;
  std::string input, perplexity_file;
  int32_t top_logprobs = 0;
  PerplexityOptions perplexity;
};

constexpr const char* kEvalFooter = R"(
--input takes JSON lines, each with one of
  {"prompt": "text"}      the text with the tokenizer's special tokens around it
  {"messages": [...]}     a conversation through the chat template ("add_generation_prompt": true
                          adds the start of a reply)
  {"token_ids": [1, 2]}   as they are
and optionally an "id" and "generated_from": N. Tokens from position N on are then computed one by
one, as generated ones are, which may round otherwise than a prompt. One JSON line comes out for each:
  {"id", "token_ids", "logprobs", "top_logprobs"}
logprobs[i] is the log-probability (natural) of token i after the tokens before it, null for the
first; top_logprobs[i] is a list of [id, log-probability] of the likeliest tokens after token i.

--perplexity scores a text file in windows and prints {"tokens", "scored_tokens", "window", "stride",
"mean_negative_logprob", "perplexity"}: every token but the first counts once.)";

std::string json_line(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Status eval_lines(Engine& engine, const EvalOptions& options, Environment& environment) {
  NEREID_TRY(const std::string text, read_input(options.input, environment.input_fd));
  size_t line_number = 0;
  for (size_t begin = 0; begin < text.size() && environment.out.ok();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line(text.data() + begin, end - begin);
    begin = end + 1;
    ++line_number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string place = fmt::format("{}:{}", options.input, line_number);
    NEREID_TRY(const Json request, parse_ordered_json(line, place));
    NEREID_TRY_CONTEXT(const Json answer, score_request(engine, request, options.top_logprobs),
                       place);
    environment.out.line(json_line(answer));
  }
  return {};
}

Status eval_perplexity(Engine& engine, const EvalOptions& options, Environment& environment) {
  NEREID_TRY(const std::string text, read_input(options.perplexity_file, environment.input_fd));
  NEREID_TRY_CONTEXT(const auto ids, encode_text(engine, text), options.perplexity_file);
  NEREID_TRY_CONTEXT(const Perplexity result, measure_perplexity(engine, ids, options.perplexity),
                     options.perplexity_file);
  environment.out.line(json_line({{"file", options.perplexity_file},
                                  {"tokens", result.tokens},
                                  {"scored_tokens", result.scored_tokens},
                                  {"window", result.window},
                                  {"stride", result.stride},
                                  {"mean_negative_logprob", result.mean_negative_logprob},
                                  {"perplexity", result.perplexity}}));
  return {};
}

Result<int> eval(const EvalOptions& options, Environment& environment) {
  return with_engine(environment, options.model, {}, [&](Engine& engine) -> Result<int> {
    NEREID_RETURN_IF_ERROR(options.input.empty() ? eval_perplexity(engine, options, environment)
                                                 : eval_lines(engine, options, environment));
    return 0;
  });
}

}  // namespace

void add_eval(CLI::App& app, Environment& environment) {
  const auto options = std::make_shared<EvalOptions>();
  CLI::App* command = app.add_subcommand("eval", "Log-probabilities and perplexity of given texts");
  CLI::Option* input =
      command->add_option("--input", options->input, "JSON lines to score; '-' is standard input");
  CLI::Option* perplexity =
      command->add_option("--perplexity", options->perplexity_file, "Text file to measure");
  command
      ->add_option("--top-logprobs", options->top_logprobs,
                   "The N likeliest tokens after each position, with --input")
      ->needs(input)
      ->check(whole_number(0, kMaxTopLogprobs))
      ->capture_default_str();
  command
      ->add_option("--window", options->perplexity.window,
                   "With --perplexity: tokens seen at once; 0 is the context limit, at most 2048")
      ->needs(perplexity)
      ->check(whole_number(0));
  command
      ->add_option("--stride", options->perplexity.stride,
                   "With --perplexity: tokens scored per further window; 0 is half a window")
      ->needs(perplexity)
      ->check(whole_number(0));
  add_model_options(*command, options->model);
  input->excludes(perplexity);
  command->footer(kEvalFooter);
  command->callback([options, input, perplexity, &environment] {
    if (input->count() == 0 && perplexity->count() == 0) {
      throw CLI::ValidationError("eval", "--input FILE or --perplexity FILE is required");
    }
    environment.action = [options, &environment] { return eval(*options, environment); };
  });
}

}  // namespace nereid::commands
