// nereid chat: a conversation on the terminal. Keeps the whole conversation and gives it to the
// model through its chat template at each turn.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "apps/nereid/command.h"
#include "apps/nereid/interrupt.h"
#include "apps/nereid/line_editor.h"
#include "apps/nereid/options.h"
#include "apps/nereid/prompt.h"
#include "apps/nereid/reply.h"

namespace nereid::commands {
namespace {

using Json = nlohmann::ordered_json;

struct ChatOptions {
  ModelOptions model;
  SamplingOptions sampling;
  std::string system;
  bool timings = false;
};

constexpr const char* kChatFooter = R"(
While it writes, Ctrl-C stops the reply; at the prompt, Ctrl-C clears the line and Ctrl-D leaves.
A line that ends in '\' continues on the next one. Arrow keys and Ctrl-R search earlier lines.
  /reset        forget the conversation
  /system TEXT  set the system message and forget the conversation
  /help, /exit
Without a terminal, each line of standard input is one message. A line that cannot be answered is an
error on standard error and left out; the exit code is then 1.)";

class Chat {
 public:
  Chat(Engine& engine, const ChatOptions& options, Output& out, Interrupt& interrupt)
      : engine_(engine),
        options_(options),
        out_(out),
        interrupt_(interrupt),
        system_(options.system) {
    reset();
  }

  void reset() {
    messages_ = Json::array();
    if (!system_.empty()) messages_.push_back({{"role", "system"}, {"content", system_}});
  }

  // Runs "/..." lines. False: leave.
  bool command(const std::string& line) {
    if (line == "/exit" || line == "/quit") return false;
    if (line == "/reset") {
      reset();
    } else if (line.starts_with("/system ")) {
      if (const Status valid = check_utf8(line.substr(8), "system message"); !valid) {
        out_.line(valid.error().message);
        return true;
      }
      system_ = line.substr(8);
      reset();
    } else if (line == "/help") {
      out_.line(kChatFooter + 1);
    } else {
      out_.line("unknown command '" + line + "', see /help");
    }
    return true;
  }

  // One turn. A failure leaves the conversation as it was before.
  Status turn(const std::string& text) {
    NEREID_RETURN_IF_ERROR(check_utf8(text, "message"));
    messages_.push_back({{"role", "user"}, {"content", text}});
    Result<Reply> reply = answer();
    if (!reply) {
      messages_.erase(messages_.size() - 1);
      return std::unexpected(reply.error());
    }
    messages_.push_back({{"role", "assistant"}, {"content", reply->text}});
    return {};
  }

 private:
  Result<Reply> answer() {
    const Json conversation = {{"messages", messages_}, {"add_generation_prompt", true}};
    ReplyParams params;
    NEREID_TRY(params.prompt_ids, encode_conversation(engine_, conversation));
    params.stream = &out_;
    Result<Reply> generated = generate_reply(engine_, options_.sampling, params, interrupt_);
    interrupt_.take();
    NEREID_TRY(Reply reply, std::move(generated));
    out_.write("\n");
    if (options_.timings) {
      const auto timings = describe_timings(params.prompt_ids.size(), reply.result);
      std::fprintf(stderr, "%s\n", timings.c_str());
    }
    return reply;
  }

  Engine& engine_;
  const ChatOptions& options_;
  Output& out_;
  Interrupt& interrupt_;
  std::string system_;
  Json messages_;
};

// Reads one message; lines that end in a backslash go on.
LineEditor::Event read_message(LineEditor& editor, std::string& message) {
  message.clear();
  std::string line;
  while (true) {
    const LineEditor::Event event = editor.read(line);
    if (event != LineEditor::Event::kLine) return event;
    const bool continues = line.ends_with('\\');
    if (continues) line.back() = '\n';
    message += line;
    if (!continues) return event;
  }
}

Result<int> chat(const ChatOptions& options, Environment& environment, Engine& engine) {
  NEREID_RETURN_IF_ERROR(engine.tokenizer());
  NEREID_TRY(const auto chat_template, engine.chat_template());
  if (!chat_template) {
    return error("the model has no chat template: use 'nereid run' with a plain prompt");
  }
  Interrupt interrupt;
  LineEditor editor(environment.input_fd, interrupt, "> ", chat_history_file());
  Chat chat(engine, options, environment.out, interrupt);
  std::string message;
  int exit_code = 0;
  while (environment.out.ok()) {
    const LineEditor::Event event = read_message(editor, message);
    if (event == LineEditor::Event::kEnd) break;
    if (event == LineEditor::Event::kInterrupt && !editor.is_interactive()) {
      exit_code = kExitInterrupted;
      break;
    }
    if (event == LineEditor::Event::kInterrupt || message.empty()) continue;
    if (message.starts_with('/')) {
      if (!chat.command(message)) break;
      continue;
    }
    if (const Status status = chat.turn(message); !status) {
      std::fprintf(stderr, "nereid: error: %s\n", status.error().message.c_str());
      // Without a terminal the other lines are still answered: one that cannot be (text that is not
      // UTF-8, too many tokens) is left out of the conversation and makes the end a failure.
      if (!editor.is_interactive()) exit_code = kExitFailure;
    }
  }
  if (editor.is_interactive()) environment.out.write("\n");
  return exit_code;
}

}  // namespace

void add_chat(CLI::App& app, Environment& environment) {
  const auto options = std::make_shared<ChatOptions>();
  CLI::App* command = app.add_subcommand("chat", "Talk with a model on the terminal");
  command->add_option("--system", options->system, "System message at the start");
  command->add_flag("--timings", options->timings, "Print speeds after each reply");
  add_model_options(*command, options->model);
  add_sampling_options(*command, options->sampling);
  command->footer(kChatFooter);
  command->callback([options, &environment] {
    environment.action = [options, &environment]() -> Result<int> {
      NEREID_RETURN_IF_ERROR(check_utf8(options->system, "system message"));
      return with_engine(environment, options->model, {},
                         [&](Engine& engine) { return chat(*options, environment, engine); });
    };
  });
}

}  // namespace nereid::commands
