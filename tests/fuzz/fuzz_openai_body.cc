// Bodies of the OpenAI routes, of any bytes; what is refused must name itself in valid JSON. And
// any text as what a model writes: the parsers of tool calls lose nothing and end.
#include <cstdint>
#include <string>
#include <string_view>

#include "src/base/check.h"
#include "src/server/openai/parse.h"
#include "src/server/openai/testing_model.h"
#include "src/server/openai/tool_parser.h"

namespace {

using namespace nereid::openai;

template <typename Request>
void check(const ApiResult<Request>& result) {
  if (result) return;
  const std::string body = error_body(result.error());
  NEREID_CHECK(Json::accept(body), "not JSON: {}", body);
  NEREID_CHECK(result.error().status >= 400 && result.error().status < 500, "status");
  NEREID_CHECK(!result.error().code.empty(), "no code");
}

void parse_calls(std::string_view text, const ToolFormat& format) {
  ToolParser whole({.format = &format, .names = {"f"}, .new_id = [] { return std::string("i"); }});
  ToolParser bytes({.format = &format, .names = {"f"}, .new_id = [] { return std::string("i"); }});
  ParsedText of_whole, of_bytes;
  whole.push(text, of_whole);
  whole.finish(of_whole);
  for (const char byte : text) bytes.push(std::string_view(&byte, 1), of_bytes);
  bytes.finish(of_bytes);
  // A stream shows a call when it begins, also one whose end turns out to be malformed.
  NEREID_CHECK(whole.num_calls() <= bytes.num_calls(), "{} calls, {} by bytes", whole.num_calls(),
               bytes.num_calls());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check(parse_completion(text, test_model()));
  check(parse_chat(text, test_model()));
  check(parse_response(text, test_model()));
  for (const ToolFormat& format : tool_formats()) parse_calls(text, format);
  return 0;
}
