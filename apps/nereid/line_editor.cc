// See line_editor.h.
#include "apps/nereid/line_editor.h"

#include <histedit.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <cwchar>

#include "src/base/paths.h"

namespace nereid::commands {
namespace {

constexpr int kHistoryLines = 1000;

// Until `fd` can be read or Ctrl-C came. SIGINT is blocked but for the wait itself, so that no
// moment loses it. False: Ctrl-C, and it is taken.
bool wait_readable(int fd, Interrupt& interrupt) {
  sigset_t only_interrupt, before;
  sigemptyset(&only_interrupt);
  sigaddset(&only_interrupt, SIGINT);
  pthread_sigmask(SIG_BLOCK, &only_interrupt, &before);
  pollfd waited = {.fd = fd, .events = POLLIN, .revents = 0};
  int ready = 0;
  do {
    if (interrupt.received()) break;
    ready = ppoll(&waited, 1, nullptr, &before);
  } while (ready < 0 && errno == EINTR);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return !interrupt.take();
}

}  // namespace

struct LineEditor::Terminal {
  Interrupt& interrupt;
  EditLine* editor = nullptr;
  History* history = nullptr;
  HistEvent event = {};
  std::string prompt, history_file;
  bool interrupted = false;  // the read that ran last ended by Ctrl-C

  static Terminal& of(EditLine* editor) {
    void* data = nullptr;
    el_get(editor, EL_CLIENTDATA, &data);
    return *static_cast<Terminal*>(data);
  }

  static char* prompt_of(EditLine* editor) { return of(editor).prompt.data(); }

  // Ctrl-C comes as a key where the terminal lets the editor have it, else as a signal.
  static unsigned char on_interrupt_key(EditLine* editor, int) {
    of(editor).interrupted = true;
    return CC_EOF;
  }

  // The editor's source of characters: 1 for one in `*character`, 0 for the end (or Ctrl-C).
  static int read_character(EditLine* editor, wchar_t* character) {
    Terminal& terminal = of(editor);
    std::mbstate_t state = {};
    while (true) {
      if (!wait_readable(STDIN_FILENO, terminal.interrupt)) {
        terminal.interrupted = true;
        return 0;
      }
      char byte = 0;
      if (::read(STDIN_FILENO, &byte, 1) != 1) return 0;
      const size_t used = std::mbrtowc(character, &byte, 1, &state);
      if (used == size_t(-1)) state = {};  // not UTF-8: left out
      if (used <= 1) return 1;
    }
  }

  Terminal(Interrupt& interrupt_flag, std::string prompt_text, std::string history_path)
      : interrupt(interrupt_flag),
        prompt(std::move(prompt_text)),
        history_file(std::move(history_path)) {
    std::setlocale(LC_CTYPE, "");
    if (MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");
    history = history_init();
    history_w(H_SETSIZE, kHistoryLines);
    ::history(history, &event, H_SETUNIQUE, 1);
    editor = el_init("nereid", stdin, stdout, stderr);
    el_set(editor, EL_CLIENTDATA, this);
    el_set(editor, EL_PROMPT, &prompt_of);
    el_set(editor, EL_GETCFN, &read_character);
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

LineEditor::LineEditor(int input_fd, Interrupt& interrupt, std::string prompt,
                       std::string history_file)
    : input_fd_(input_fd),
      interrupt_(interrupt),
      interactive_(input_fd == 0 && isatty(0) == 1 && isatty(1) == 1) {
  if (interactive_) {
    terminal_ = std::make_unique<Terminal>(interrupt, std::move(prompt), std::move(history_file));
  }
}

LineEditor::~LineEditor() = default;

LineEditor::Event LineEditor::read(std::string& line) {
  line.clear();
  if (!interactive_) return read_pipe(line);
  int count = 0;
  terminal_->interrupted = false;
  // Before the prompt shows: what is typed from then on are keys. The terminal itself would make an
  // end of line of Ctrl-D, which is lost when the editor takes over.
  el_set(terminal_->editor, EL_PREP_TERM, 1);
  const char* text = el_gets(terminal_->editor, &count);
  if (terminal_->interrupted) {
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
    if (!wait_readable(input_fd_, interrupt_)) return Event::kInterrupt;
    char buffer[4096];
    const ssize_t count = ::read(input_fd_, buffer, sizeof buffer);
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
