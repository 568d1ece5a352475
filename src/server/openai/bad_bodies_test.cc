// Bodies that must be refused, as a table: the status, the parameter that is named, the message.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/server/openai/parse.h"
#include "src/server/openai/testing_model.h"

namespace nereid::openai {
namespace {

using ::testing::HasSubstr;

struct BadBody {
  std::string body;
  std::string param;
  std::string message;  // part of it
  int status = 400;
};

template <typename Parse>
void expect_refused(Parse parse, std::initializer_list<BadBody> table) {
  for (const BadBody& bad : table) {
    const auto result = parse(bad.body, test_model());
    ASSERT_FALSE(result.has_value()) << bad.body.substr(0, 300);
    const ApiError& error = result.error();
    EXPECT_EQ(error.status, bad.status) << bad.body.substr(0, 300);
    EXPECT_EQ(error.param, bad.param) << error.message;
    EXPECT_THAT(error.message, HasSubstr(bad.message)) << bad.body.substr(0, 300);
    EXPECT_NE(error.code, "") << error.message;
    EXPECT_TRUE(Json::accept(error_body(error)));
  }
}

std::string completion_with(const std::string& rest) {
  return R"({"model":"m","prompt":"hi",)" + rest + "}";
}
std::string chat_with(const std::string& rest) {
  return R"({"model":"m","messages":[{"role":"user","content":"hi"}],)" + rest + "}";
}
std::string response_with(const std::string& rest) {
  return R"({"model":"m","input":"hi",)" + rest + "}";
}
std::string repeated(const std::string& text, size_t count) {
  std::string out;
  for (size_t index = 0; index < count; ++index) out += text;
  return out;
}

TEST(BadBody, NotJson) {
  expect_refused(
      parse_completion,
      {{"", "", "the body is empty"},
       {"{", "", "not valid JSON at byte"},
       {"[]", "", "found an array, expected an object"},
       {"null", "", "found null, expected an object"},
       {R"({"model":"m","model":"m"})", "", "key 'model' occurs twice"},
       {R"({"model":"m","prompt":"\ud800"})", "", "not valid JSON at byte"},
       {R"({"model":"m","prompt":"\udc00\ud800"})", "", "not valid JSON at byte"},
       {"{\"model\":\"m\",\"prompt\":\"\xff\"}", "", "not valid JSON at byte"},
       {"{\"model\":\"m\",\"prompt\":\"\xc0\x80\"}", "", "not valid JSON at byte"},
       {R"({"model":"m","prompt":"x","temperature":NaN})", "", "not valid JSON at byte"},
       {R"({"model":"m","prompt":"x","temperature":Infinity})", "", "not valid JSON at byte"},
       {R"({"model":"m","prompt":"x","temperature":1e999})", "", "a number is out of range"},
       {R"({"model":"m","prompt":"x"} {})", "", "not valid JSON at byte"},
       {std::string(R"({"model":)") + std::string(1 << 20, '[') + "}", "",
        "nesting of more than 64"},
       {std::string(R"({"model":)") + repeated(R"({"a":)", 60000), "", "nesting of more than 64"}});
}

TEST(BadBody, TooManyMembers) {
  std::string members;
  for (int index = 0; index < 100000; ++index) members += fmt::format("\"k{}\":1,", index);
  expect_refused(parse_completion, {{"{" + members + R"("model":"m"})", "", "100001 members"}});
}

TEST(BadBody, TooManyValues) {
  expect_refused(parse_completion, {{R"({"prompt":[)" + repeated("[],", 1 << 20) + "[]]}", "",
                                     "values, expected at most 1048576"}});
}

TEST(BadBody, Model) {
  expect_refused(
      parse_completion,
      {{R"({"prompt":"x"})", "model", "missing"},
       {R"({"prompt":"x","model":null})", "model", "missing"},
       {R"({"prompt":"x","model":7})", "model", "found 7, expected a string"},
       {R"({"prompt":"x","model":"../other"})", "model", "'../other' does not exist", 404},
       {R"({"prompt":"x","model":""})", "model", "does not exist", 404}});
}

TEST(BadBody, SharedParameters) {
  const std::initializer_list<std::pair<std::string, BadBody>> table = {
      {"temperature", {R"("temperature":-0.1)", "temperature", "found -0.1, expected a number"}},
      {"temperature", {R"("temperature":2.5)", "temperature", "from 0 to 2"}},
      {"temperature", {R"("temperature":"1")", "temperature", "found '1'"}},
      {"temperature", {R"("temperature":true)", "temperature", "found true"}},
      {"top_p", {R"("top_p":0)", "top_p", "above 0, at most 1"}},
      {"top_p", {R"("top_p":1.01)", "top_p", "found 1.01"}},
      {"min_p", {R"("min_p":-1)", "min_p", "from 0 to 1"}},
      {"top_k", {R"("top_k":-2)", "top_k", "found -2"}},
      {"top_k", {R"("top_k":2.5)", "top_k", "whole number"}},
      {"top_k", {R"("top_k":263)", "top_k", "from -1 to 262"}},
      {"repetition_penalty", {R"("repetition_penalty":0)", "repetition_penalty", "above 0"}},
      {"seed", {R"("seed":1e30)", "seed", "whole number"}},
      {"seed", {R"("seed":18446744073709551615)", "seed", "whole number"}},
  };
  for (const auto& [name, bad] : table) {
    expect_refused(parse_completion, {{completion_with(bad.body), bad.param, bad.message}});
    expect_refused(parse_chat, {{chat_with(bad.body), bad.param, bad.message}});
    expect_refused(parse_response, {{response_with(bad.body), bad.param, bad.message}});
  }
}

TEST(BadBody, Generation) {
  std::string biases = R"("0":1)";
  for (int id = 1; id <= 100; ++id) biases += fmt::format(",\"{}\":1", id);
  const std::initializer_list<BadBody> table = {
      {R"("presence_penalty":2.1)", "presence_penalty", "from -2 to 2"},
      {R"("frequency_penalty":-3)", "frequency_penalty", "found -3"},
      {R"("n":0)", "n", "found 0, expected a whole number from 1 to 8"},
      {R"("n":-1)", "n", "found -1"},
      {R"("n":1000000000000)", "n", "found 1000000000000"},
      {R"("n":1.5)", "n", "found 1.5"},
      {R"("n":"2")", "n", "found '2'"},
      {R"("min_tokens":-1)", "min_tokens", "found -1"},
      {R"("max_tokens":-5)", "max_tokens", "found -5"},
      {R"("max_tokens":100000000)", "max_tokens", "expected a whole number from 1 to 1000"},
      {R"("ignore_eos":1)", "ignore_eos", "expected true or false"},
      {R"("stream":"yes")", "stream", "expected true or false"},
      {R"("stream_options":{"include_usage":true})", "stream_options", "only allowed with"},
      {R"("stream":true,"stream_options":{"what":1})", "stream_options.what", "unknown"},
      {R"("stream":true,"stream_options":7)", "stream_options", "expected an object"},
      {R"("priority":99999999999)", "priority", "found 99999999999"},
      {R"("stop":5)", "stop", "found 5"},
      {R"("stop":[""])", "stop", "0 bytes"},
      {R"("stop":["a","b","c","d","e"])", "stop", "found 5 strings, expected at most 4"},
      {R"("stop":["a",null])", "stop", "found null"},
      {R"("stop":")" + std::string(2000, 'x') + "\"", "stop", "found a string of 2000 bytes"},
      {R"("stop_token_ids":[262])", "stop_token_ids", "found 262 at position 0"},
      {R"("stop_token_ids":[-1])", "stop_token_ids", "found -1"},
      {R"("stop_token_ids":[1,2,3,4,5])", "stop_token_ids", "at most 4"},
      {R"("stop_token_ids":7)", "stop_token_ids", "expected an array"},
      {R"("logit_bias":{"262":1})", "logit_bias", "found token id '262'"},
      {R"("logit_bias":{"-1":1})", "logit_bias", "found token id '-1'"},
      {R"("logit_bias":{"01":1})", "logit_bias", "found token id '01'"},
      {R"("logit_bias":{"x":1})", "logit_bias", "found token id 'x'"},
      {R"("logit_bias":{"1":101})", "logit_bias", "found 101 for token 1"},
      {R"("logit_bias":{"1":"2"})", "logit_bias", "found '2' for token 1"},
      {R"("logit_bias":[1])", "logit_bias", "expected an object"},
      {R"("logit_bias":{)" + biases + "}", "logit_bias", "found 101 entries, expected at most 100"},
      {R"("what_is_this":1)", "what_is_this", "unknown parameter"},
      {R"("suffix":"x")", "suffix", "not supported"},
      {R"("store":true)", "store", "expected false"},
  };
  for (const BadBody& bad : table) {
    expect_refused(parse_completion, {{completion_with(bad.body), bad.param, bad.message}});
    expect_refused(parse_chat, {{chat_with(bad.body), bad.param, bad.message}});
  }
}

TEST(BadBody, Constraints) {
  const std::string deep = R"("guided_json":)" + std::string(60000, '[');
  const std::string deep_text = R"("guided_json":")" + std::string(60000, '[') + "\"";
  const std::initializer_list<BadBody> table = {
      {R"("response_format":"json")", "response_format", "expected an object"},
      {R"("response_format":{})", "response_format.type", "missing"},
      {R"("response_format":{"type":"xml"})", "response_format.type", "expected one of text"},
      {R"("response_format":{"type":"json_object","x":1})", "response_format.x", "unknown"},
      {R"("response_format":{"type":"json_schema"})", "response_format.json_schema", "missing"},
      {R"("response_format":{"type":"json_schema","json_schema":{"schema":{}}})",
       "response_format.json_schema.name", "missing"},
      {R"("response_format":{"type":"json_schema","json_schema":{"name":"x"}})",
       "response_format.json_schema.schema", "missing"},
      {R"("response_format":{"type":"json_schema","json_schema":{"name":"x","schema":[]}})",
       "response_format.json_schema.schema", "expected an object"},
      {R"("guided_regex":"")", "guided_regex", "empty string"},
      {R"("guided_regex":1)", "guided_regex", "expected a string"},
      {R"("guided_choice":[])", "guided_choice", "at least one"},
      {R"("guided_choice":["a",1])", "guided_choice", "found 1"},
      {R"("guided_json":"{")", "guided_json", "not valid JSON"},
      {R"("guided_json":"[]")", "guided_json", "a JSON schema"},
      {R"("guided_json":{},"guided_regex":"a")", "guided_regex", "combined with guided_json"},
      {R"("structured_outputs":{})", "structured_outputs", "found 0 of json"},
      {R"("structured_outputs":{"regex":"a","json":{}})", "structured_outputs", "found 2 of"},
      {R"("structured_outputs":{"lark":"a"})", "structured_outputs.lark", "unknown"},
      {R"("guided_regex":")" + std::string(5000, 'a') + "\"", "guided_regex",
       "found 5000 bytes, expected at most 4096"},
      {deep, "", "nesting of more than 64"},
      {deep_text, "guided_json", "nesting of more than 64"},
  };
  for (const BadBody& bad : table) {
    expect_refused(parse_completion, {{completion_with(bad.body), bad.param, bad.message}});
    expect_refused(parse_chat, {{chat_with(bad.body), bad.param, bad.message}});
  }
}

TEST(BadBody, Completion) {
  expect_refused(
      parse_completion,
      {{R"({"model":"m"})", "prompt", "missing"},
       {R"({"model":"m","prompt":7})", "prompt", "found 7"},
       {R"({"model":"m","prompt":[]})", "prompt", "an array"},
       {R"({"model":"m","prompt":[[]]})", "prompt", "empty prompt"},
       {R"({"model":"m","prompt":[-1]})", "prompt", "found -1 at position 0"},
       {R"({"model":"m","prompt":[1,262]})", "prompt", "found 262 at position 1"},
       {R"({"model":"m","prompt":[1,1.5]})", "prompt", "found 1.5"},
       {R"({"model":"m","prompt":[1,"a"]})", "prompt", "found 'a'"},
       {R"({"model":"m","prompt":["a",1]})", "prompt", "found 1"},
       {R"({"model":"m","prompt":["a",["b"]]})", "prompt", "found 'b'"},
       {R"({"model":"m","prompt":{"a":1}})", "prompt", "an object"},
       {R"({"model":"m","prompt":["a","b","c","d","e"]})", "prompt", "at most 4"},
       {R"({"model":"m","prompt":[)" + repeated("1,", 1000) + "1]}", "prompt", "context is 1000"},
       {R"({"model":"m","prompt":["a","b"],"n":5})", "n", "at most 8 in all"},
       {completion_with(R"("logprobs":-1)"), "logprobs", "found -1"},
       {completion_with(R"("logprobs":6)"), "logprobs", "from 0 to 5"},
       {completion_with(R"("logprobs":true)"), "logprobs", "found true"},
       {completion_with(R"("best_of":20)"), "best_of", "found 20, expected the same as n (1)"},
       {completion_with(R"("best_of":0)"), "best_of", "found 0"},
       {completion_with(R"("max_tokens":0)"), "max_tokens", "found 0"},
       {completion_with(R"("echo":"yes")"), "echo", "expected true or false"},
       {completion_with(R"("messages":[])"), "messages", "unknown parameter"}});
}

TEST(BadBody, Messages) {
  const auto messages = [](const std::string& list) {
    return R"({"model":"m","messages":)" + list + "}";
  };
  const auto call = [&](const std::string& inside) {
    return messages(R"([{"role":"assistant","tool_calls":[{)" + inside + "}]}]");
  };
  expect_refused(
      parse_chat,
      {{R"({"model":"m"})", "messages", "missing"},
       {messages("[]"), "messages", "empty array"},
       {messages("\"hi\""), "messages", "found 'hi', expected an array"},
       {messages("[7]"), "messages[0]", "found 7"},
       {messages("[{}]"), "messages[0].role", "missing"},
       {messages(R"([{"role":"robot","content":"x"}])"), "messages[0].role", "found 'robot'"},
       {messages(R"([{"role":"function","content":"x"}])"), "messages[0].role", "'function'"},
       {messages(R"([{"role":"user"}])"), "messages[0].content", "missing"},
       {messages(R"([{"role":"user","content":null}])"), "messages[0].content", "missing"},
       {messages(R"([{"role":"user","content":5}])"), "messages[0].content", "found 5"},
       {messages(R"([{"role":"user","content":[]}])"), "messages[0].content", "an array"},
       {messages(R"([{"role":"user","content":"x","tool_calls":[]}])"), "messages[0].tool_calls",
        "unknown parameter"},
       {messages(
            R"([{"role":"user","content":[{"type":"image_url","image_url":{"url":"file:///etc/passwd"}}]}])"),
        "messages[0].content[0].type", "found 'image_url', expected one of text"},
       {messages(R"([{"role":"user","content":[{"type":"input_audio","input_audio":{}}]}])"),
        "messages[0].content[0].type", "found 'input_audio'"},
       {messages(R"([{"role":"user","content":[{"type":"video_url"}]}])"),
        "messages[0].content[0].type", "found 'video_url'"},
       {messages(R"([{"role":"user","content":[{"type":"text"}]}])"), "messages[0].content[0].text",
        "missing"},
       {messages(R"([{"role":"user","content":["x"]}])"), "messages[0].content[0]", "found 'x'"},
       {messages(R"([{"role":"tool","content":"x"}])"), "messages[0].tool_call_id", "missing"},
       {call(R"("id":"a","type":"x","function":{})"), "messages[0].tool_calls[0].type", "'x'"},
       {call(R"("type":"function","function":{})"), "messages[0].tool_calls[0].id", "missing"},
       {call(R"("id":"a","function":{"name":"f","arguments":"{"})"),
        "messages[0].tool_calls[0].function.arguments", "not valid JSON"},
       {call(R"("id":"a","function":{"name":"f","arguments":"[1]"})"),
        "messages[0].tool_calls[0].function.arguments", "the JSON text of an object"},
       {call(R"("id":"a","function":{"name":"f","arguments":")" + std::string(60000, '[') + "\"}"),
        "messages[0].tool_calls[0].function.arguments", "nesting of more than 64"},
       {messages("[" + repeated(R"({"role":"user","content":"x"},)", 32) +
                 R"({"role":"user","content":"x"}])"),
        "messages", "found 33 entries, expected at most 32"},
       {chat_with(R"("prompt":"x")"), "prompt", "unknown parameter"},
       {chat_with(R"("logprobs":5)"), "logprobs", "expected true or false"},
       {chat_with(R"("top_logprobs":2)"), "top_logprobs", "only allowed with"},
       {chat_with(R"("logprobs":true,"top_logprobs":21)"), "top_logprobs", "from 0 to 5"},
       {chat_with(R"("max_tokens":0)"), "max_tokens", "found 0"},
       {chat_with(R"("max_tokens":5,"max_completion_tokens":6)"), "max_tokens",
        "found 5, but max_completion_tokens is 6"},
       {chat_with(R"("chat_template_kwargs":{"messages":[]})"), "chat_template_kwargs.messages",
        "parameter of its own"},
       {chat_with(R"("chat_template_kwargs":[])"), "chat_template_kwargs", "expected an object"},
       {chat_with(R"("chat_template":"{% for x in range(1e9) %}{% endfor %}")"), "chat_template",
        "not supported"},
       {chat_with(R"("functions":[])"), "functions", "not supported"},
       {chat_with(R"("modalities":["text","audio"])"), "modalities", "nothing else is supported"},
       {chat_with(R"("service_tier":"flex")"), "service_tier", "nothing else is supported"}});
}

TEST(BadBody, Tools) {
  const auto tool = [](const std::string& function) {
    return chat_with(R"("tools":[{"type":"function","function":)" + function + "}]");
  };
  const std::string good = R"("tools":[{"type":"function","function":{"name":"f"}}],)";
  expect_refused(
      parse_chat,
      {{chat_with(R"("tools":{})"), "tools", "expected an array"},
       {chat_with(R"("tools":[1])"), "tools[0]", "found 1"},
       {chat_with(R"("tools":[{}])"), "tools[0].type", "missing"},
       {chat_with(R"("tools":[{"type":"web_search"}])"), "tools[0].type", "found 'web_search'"},
       {chat_with(R"("tools":[{"type":"function"}])"), "tools[0].function", "missing"},
       {chat_with(
            R"("tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"f"}}])"),
        "tools[1].function.name", "found 'f' twice"},
       {tool("{}"), "tools[0].function.name", "missing"},
       {tool(R"({"name":""})"), "tools[0].function.name", "found ''"},
       {tool(R"({"name":"a b"})"), "tools[0].function.name", "found 'a b'"},
       {tool(R"({"name":"f","parameters":"x"})"), "tools[0].function.parameters", "an object"},
       {tool(R"({"name":"f","code":"x"})"), "tools[0].function.code", "unknown"},
       {tool(R"({"name":"f","strict":1})"), "tools[0].function.strict", "true or false"},
       {chat_with(R"("tool_choice":"required")"), "tool_choice", "tools is empty"},
       {chat_with(good + R"("tool_choice":"any")"), "tool_choice", "found 'any'"},
       {chat_with(good + R"("tool_choice":7)"), "tool_choice", "found 7"},
       {chat_with(good + R"("tool_choice":{"type":"function","function":{"name":"g"}})"),
        "tool_choice", "found 'g'"},
       {chat_with(good + R"("tool_choice":{"type":"function"})"), "tool_choice.function",
        "missing"},
       {chat_with(good + R"("parallel_tool_calls":1)"), "parallel_tool_calls", "true or false"},
       {chat_with(good + R"("guided_regex":"a")"), "guided_regex", "cannot be combined with tools"},
       {chat_with(good + R"("tool_choice":"required","response_format":{"type":"json_object"})"),
        "response_format", "demands a call"}});
}

TEST(BadBody, Response) {
  const auto item = [](const std::string& inside) {
    return R"({"model":"m","input":[{)" + inside + "}]}";
  };
  expect_refused(
      parse_response,
      {{R"({"model":"m"})", "input", "missing"},
       {R"({"model":"m","input":[]})", "input", "not empty"},
       {R"({"model":"m","input":5})", "input", "found 5"},
       {R"({"model":"m","input":["x"]})", "input[0]", "found 'x'"},
       {item(R"("type":"item_reference","id":"x")"), "input[0].type", "found 'item_reference'"},
       {item(R"("role":"user")"), "input[0].content", "missing"},
       {item(R"("role":"tool","content":"x")"), "input[0].role", "found 'tool'"},
       {item(
            R"("role":"user","content":[{"type":"input_image","image_url":"http://169.254.169.254"}])"),
        "input[0].content[0].type", "found 'input_image'"},
       {item(R"("role":"user","content":[{"type":"input_file"}])"), "input[0].content[0].type",
        "found 'input_file'"},
       {item(R"("type":"function_call","name":"f","arguments":"{}")"), "input[0].call_id",
        "missing"},
       {item(R"("type":"function_call_output","call_id":"c")"), "input[0].output", "missing"},
       {response_with(R"("previous_response_id":"resp_1")"), "previous_response_id",
        "not supported"},
       {response_with(R"("conversation":"c")"), "conversation", "not supported"},
       {response_with(R"("store":true)"), "store", "found true, expected false"},
       {response_with(R"("background":true)"), "background", "expected false"},
       {response_with(R"("include":["reasoning.encrypted_content"])"), "include", "expected []"},
       {response_with(R"("truncation":"auto")"), "truncation", "\"disabled\""},
       {response_with(R"("reasoning":{"effort":"high"})"), "reasoning", "not supported"},
       {response_with(R"("max_output_tokens":0)"), "max_output_tokens", "found 0"},
       {response_with(R"("max_tokens":5)"), "max_tokens", "unknown parameter"},
       {response_with(R"("n":2)"), "n", "unknown parameter"},
       {response_with(R"("metadata":7)"), "metadata", "expected an object"},
       {response_with(R"("text":{"format":{"type":"json_schema","name":"x"}})"),
        "text.format.schema", "missing"},
       {response_with(R"("tools":[{"type":"file_search"}])"), "tools[0].type",
        "found 'file_search'"},
       {response_with(R"("tools":[{"type":"function"}])"), "tools[0].name", "missing"}});
}

}  // namespace
}  // namespace nereid::openai
