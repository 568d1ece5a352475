// One line at a time from a person (with editing and a history, by libedit) or from a pipe.
#pragma once

#include <memory>
#include <string>

#include "apps/nereid/interrupt.h"

namespace nereid::commands {

class LineEditor {
 public:
  enum class Event { kLine, kInterrupt, kEnd };

  // Ctrl-C, as a signal, is looked for in `interrupt` and taken from there.
  // On a terminal the prompt is shown and history is kept in `history_file` (empty: not kept).
  LineEditor(int input_fd, Interrupt& interrupt, std::string prompt, std::string history_file);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  // kLine: `line` holds it, without the newline. kInterrupt: Ctrl-C. kEnd: Ctrl-D or end of input.
  Event read(std::string& line);
  bool is_interactive() const { return interactive_; }

 private:
  struct Terminal;  // libedit's state
  Event read_pipe(std::string& line);

  int input_fd_;
  Interrupt& interrupt_;
  bool interactive_;
  std::string buffered_;  // read from the pipe, not yet returned
  bool at_end_ = false;
  std::unique_ptr<Terminal> terminal_;
};

// $XDG_STATE_HOME/nereid/chat_history, else ~/.local/state/...; empty when there is no home.
std::string chat_history_file();

}  // namespace nereid::commands
