// The answer of /v1/responses: its object, and the typed events of its stream. Both come from the
// same items, so that a stream says exactly what the whole answer would.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "src/server/openai/output.h"
#include "src/server/openai/request.h"

namespace nereid::openai {

class ResponseOutput {
 public:
  // Receives each event's name and data (JSON).
  using EmitEvent = std::function<void(std::string_view name, const std::string& data)>;

  // `echoed`: parameters that the object repeats. Without `emit`: a whole answer.
  ResponseOutput(AnswerHead head, Json echoed, EmitEvent emit);

  void start();                        // response.created, response.in_progress
  void add(const ChoiceDelta& delta);  // what came of the text and of calls
  // Ends what is open; response.completed or, after "length", response.incomplete.
  void finish(std::string_view finish_reason, const Usage& usage);
  void fail(std::string_view code, std::string_view message);  // response.failed

  std::string body() const;  // after finish()

 private:
  struct Item {
    bool is_call = false;
    std::string id;
    std::string text;           // of a message; of a call: its arguments
    std::string call_id, name;  // of a call
    bool done = false;
  };

  Json item_json(const Item& item) const;
  Json response_json(bool with_output) const;
  void emit(std::string_view name, const Json& data);
  void emit_delta(std::string_view name, std::string_view text);
  void open(Item item);
  void close();
  size_t index() const { return items_.size() - 1; }

  AnswerHead head_;
  Json echoed_;
  EmitEvent emit_;
  int64_t sequence_ = 0;
  std::vector<Item> items_;
  std::string status_ = "in_progress";
  Json usage_, error_, incomplete_;
  std::string delta_;  // one event's data
};

}  // namespace nereid::openai
