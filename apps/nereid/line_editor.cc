// See line_editor.h.
#include "apps/nereid/line_editor.h"

#include <histedit.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <filesystem>

#include "src/base/paths.h"

namespace nereid::commands {
namespace {

constexpr int kHistoryLines = 1000;

// Ctrl-C while editing ends the read, and the flag tells it from Ctrl-D. It comes as a key where
// the terminal lets the editor have it, else as a signal.
volatile std::sig_atomic_t interrupted = 0;
unsigned char on_interrupt_key(EditLine*, int) {
  interrupted = 1;
  return CC_EOF;
}
void on_interrupt_signal(int) {
  interrupted = 1;
}

// While it lives, SIGINT sets the flag and ends a read.
class InterruptedReads {
 public:
  InterruptedReads() {
    struct sigaction action = {};
    action.sa_handler = on_interrupt_signal;  // no SA_RESTART: the read returns
    sigemptyset(&action.sa_mask);
    interrupted = 0;
    sigaction(SIGINT, &action, &previous_);
  }
  ~InterruptedReads() { sigaction(SIGINT, &previous_, nullptr); }
  InterruptedReads(const InterruptedReads&) = delete;
  InterruptedReads& operator=(const InterruptedReads&) = delete;

 private:
  struct sigaction previous_ = {};
};

}  // namespace

struct LineEditor::Terminal {
  EditLine* editor = nullptr;
  History* history = nullptr;
  HistEvent event = {};
  std::string prompt, history_file;

  static char* prompt_of(EditLine* editor) {
    void* data = nullptr;
    el_get(editor, EL_CLIENTDATA, &data);
    return static_cast<Terminal*>(data)->prompt.data();
  }

  Terminal(std::string prompt_text, std::string history_path)
      : prompt(std::move(prompt_text)), history_file(std::move(history_path)) {
    std::setlocale(LC_CTYPE, "");
    if (MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");
    history = history_init();
    history_w(H_SETSIZE, kHistoryLines);
    ::history(history, &event, H_SETUNIQUE, 1);
    editor = el_init("nereid", stdin, stdout, stderr);
    el_set(editor, EL_CLIENTDATA, this);
    el_set(editor, EL_PROMPT, &prompt_of);
    el_set(editor, EL_EDITOR, "emacs");
    el_set(editor, EL_HIST, ::history, history);
    el_set(editor, EL_ADDFN, "interrupt", "End the read as an interrupt", &on_interrupt_key);
    el_set(editor, EL_BIND, "^C", "interrupt", nullptr);
    el_set(editor, EL_BIND, "^R", "em-inc-search-prev", nullptr);
    el_set(editor, EL_SETTY, "-d", "intr=", nullptr);
    if (!history_file.empty()) history_w(H_LOAD, history_file.c_str());
  }

  ~Terminal() {
    el_end(editor);
    history_end(history);
  }

  template <typename... Args>
  void history_w(int operation, Args... args) {
    ::history(history, &event, operation, args...);
  }

  void remember(const std::string& line) {
    if (line.empty()) return;
    history_w(H_ENTER, line.c_str());
    if (history_file.empty()) return;
    history_w(H_SAVE, history_file.c_str());
    ::chmod(history_file.c_str(), 0600);
  }
};

LineEditor::LineEditor(int input_fd, std::string prompt, std::string history_file)
    : input_fd_(input_fd), interactive_(input_fd == 0 && isatty(0) == 1 && isatty(1) == 1) {
  if (interactive_) {
    terminal_ = std::make_unique<Terminal>(std::move(prompt), std::move(history_file));
  }
}

LineEditor::~LineEditor() = default;

LineEditor::Event LineEditor::read(std::string& line) {
  line.clear();
  if (!interactive_) return read_pipe(line);
  int count = 0;
  const InterruptedReads reads;
  // Before the prompt shows: from then on Ctrl-C is a key, which no moment can lose.
  el_set(terminal_->editor, EL_PREP_TERM, 1);
  const char* text = interrupted != 0 ? nullptr : el_gets(terminal_->editor, &count);
  if (interrupted != 0) {
    std::fputs("^C\n", stdout);
    std::fflush(stdout);
    el_reset(terminal_->editor);
    return Event::kInterrupt;
  }
  if (text == nullptr || count <= 0) return Event::kEnd;
  line.assign(text, static_cast<size_t>(count));
  while (line.ends_with('\n') || line.ends_with('\r')) line.pop_back();
  terminal_->remember(line);
  return Event::kLine;
}

LineEditor::Event LineEditor::read_pipe(std::string& line) {
  while (true) {
    const size_t newline = buffered_.find('\n');
    if (newline != std::string::npos || (at_end_ && !buffered_.empty())) {
      line = buffered_.substr(0, newline);
      buffered_.erase(0, newline == std::string::npos ? newline : newline + 1);
      if (line.ends_with('\r')) line.pop_back();
      return Event::kLine;
    }
    if (at_end_) return Event::kEnd;
    char buffer[4096];
    const ssize_t count = ::read(input_fd_, buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) return Event::kInterrupt;
    if (count <= 0) at_end_ = true;
    if (count > 0) buffered_.append(buffer, static_cast<size_t>(count));
  }
}

std::string chat_history_file() {
  const auto state = environment("XDG_STATE_HOME");
  const auto home = environment("HOME");
  if (!state && !home) return "";
  const std::string folder = (state ? *state : *home + "/.local/state") + "/nereid";
  if (!make_directories(folder)) return "";
  return folder + "/chat_history";
}

}  // namespace nereid::commands
