// Rendered prompts against those of jinja2 as transformers sets it up
// (tools/golden/text_goldens.py), and templates that mean harm.
#include "src/text/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "src/text/testdata.h"

// Threads that had to be given up keep what they held: not a leak that grows.
extern "C" const char* __lsan_default_suppressions() {
  return "leak:sandbox..Metered";
}

namespace nereid::text {
namespace {

using json = nlohmann::ordered_json;  // objects keep their order: templates show it
using ::testing::HasSubstr;

TEST(ChatTemplate, GoldenPrompts) {
  const json golden = read_json_testdata("templates.json");
  ASSERT_EQ(golden["templates"].size(), 4u);
  int prompts = 0, refusals = 0;
  for (const json& entry : golden["templates"]) {
    const std::string file = entry["file"];
    const auto chat_template = ChatTemplate::parse(
        read_testdata(file), {.bos_token = golden["bos"],
                              .eos_token = golden["eos"],
                              .now_unix_s = golden["now_unix_s"].get<int64_t>()});
    ASSERT_TRUE(chat_template) << file << ": " << chat_template.error().message;
    for (const json& golden_case : entry["cases"]) {
      json input = golden["options"][golden_case["options"].get<size_t>()];
      input["messages"] = golden["conversations"][golden_case["conversation"].get<size_t>()];
      const auto prompt = (*chat_template)->render(input.dump());
      SCOPED_TRACE(file + " " + input.dump());
      if (golden_case["output"].is_null()) {
        EXPECT_FALSE(prompt);
        ++refusals;
      } else {
        ASSERT_TRUE(prompt) << prompt.error().message;
        EXPECT_EQ(*prompt, golden_case["output"].get<std::string>());
        ++prompts;
      }
    }
  }
  EXPECT_GE(prompts, 150);
  EXPECT_GE(refusals, 10);
}

// Keys keep the order of the request: models were trained on it.
TEST(ChatTemplate, ToolsKeepTheirOrder) {
  const auto chat_template = ChatTemplate::parse("{{ tools | tojson }}", {}).value();
  EXPECT_EQ(chat_template->render(R"({"tools": [{"z": 1, "a": {"y": 1.50, "b": "<'>"}}]})").value(),
            R"([{"z": 1, "a": {"y": 1.5, "b": "<'>"}}])");
}

TEST(ChatTemplate, Errors) {
  const auto broken = ChatTemplate::parse("line one\n{% if x %}\n{{ 1 +", {});
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().message.find("line 3: syntax error"), 0u) << broken.error().message;
  const auto raising =
      ChatTemplate::parse("a\n{{ raise_exception('roles must alternate') }}", {}).value();
  EXPECT_EQ(raising->render("{}").error().message, "chat template: line 2: roles must alternate");
  EXPECT_FALSE(raising->render("not json"));
  EXPECT_FALSE(raising->render("[1]"));
  EXPECT_FALSE(ChatTemplate::parse("\xff", {}));
  EXPECT_FALSE(ChatTemplate::parse(std::string(2 << 20, 'x'), {}));
  for (const char* unsafe : {"{% include '/etc/passwd' %}", "{{ ''.__class__.__mro__ }}{{ x.y.z }}",
                             "{% import 'os' as os %}", "{{ cycler.__init__.__globals__.os }}"}) {
    const auto parsed = ChatTemplate::parse(unsafe, {});
    if (parsed) EXPECT_FALSE((*parsed)->render("{}")) << unsafe;
  }
}

std::string repeated(std::string_view text, int count) {
  std::string result;
  for (int i = 0; i < count; ++i) result += text;
  return result;
}

// Prefixes that leave in ns.x a list whose text would be 2^40 long, or that is nested very deeply.
constexpr std::string_view kShared =
    "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(40) %}{% set ns.x = [ns.x, ns.x] %}"
    "{% set ns.y = [ns.y, ns.y] %}{% endfor %}";
constexpr std::string_view kDeep =
    "{% set ns = namespace(x=[1]) %}{% for i in range(30000) %}{% set ns.x = [ns.x] %}{% endfor %}";
constexpr std::string_view kLong = "{% set a = 'a' * 5000000 %}{% set b = 'a' * 5000000 %}";

std::vector<std::string> hostile_templates() {
  std::vector<std::string> sources = {
      "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
      "{% for i in range(10**9) %}x{% endfor %}",
      "{{ range(10**9) | list | length }}",
      "{{ 'a' * 10**10 }}",
      "{{ ([0] * 10**9) | length }}",
      std::string(
          "{% set ns = namespace(s='a') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}") +
          "{% endfor %}{{ ns.s | length }}",
      std::string(
          "{% set ns = namespace(s='a') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}") +
          "{% endfor %}{{ ns.s | length }}",
      std::string(
          "{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}") +
          "{% endfor %}{% for i in ns.s %}{% endfor %}",
      "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(0) }}",
      std::string("{% macro f(x) %}{{ g(x) }}{{ g(x) }}{% endmacro %}") +
          "{% macro g(x) %}{% if x > 0 %}{{ f(x - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
      "{% for x in [1, 1] recursive %}{{ loop([1, 1]) }}{% endfor %}",
      "{% set a = 'a' * 10000000 %}{{ a.replace('a', a) | length }}",
      "{% set a = 'a' * 10000000 %}{{ ([1] * 100000) | join(a) | length }}",
      "{{ '%1000000000d' | format(1) }}",
      "{{ '{:>1000000000}'.format('a') | length }}",
      "{{ 'a\nb' | indent(10**9) }}",
      "{{ [1] | batch(10**9, 0) | list | length }}",
      "{{ strftime_now('%1000000000d') }}",
      "{{ 9 ** 99999 }}",
      "{% set ns = namespace(x=1) %}{% set ns.x = ns %}{{ ns }}",
      "{% set ns = namespace(x=1) %}{% set ns.x = [ns] %}{{ ns.x | string }}",
      "{% set ns = namespace(x=1) %}{% set ns.x = [ns] %}{{ ns.x | tojson }}",
      "{{ " + repeated("(", 100'000) + "1" + repeated(")", 100'000) + " }}",
      "{{ " + repeated("[", 100'000) + repeated("]", 100'000) + " }}",
      repeated("{% if 1 %}", 40'000) + repeated("{% endif %}", 40'000),
      "{{ 1" + repeated("~1", 200'000) + repeated(" }}", 1),
  };
  for (const char* use : {"{{ ns.x }}", "{{ (ns.x ~ '') | length }}", "{{ ns.x == ns.y }}",
                          "{{ [ns.x, ns.y] | sort | length }}", "{{ {ns.x: 1} | length }}",
                          "{{ ns.x | tojson | length }}"}) {
    sources.push_back(std::string(kShared) + use);
  }
  for (const char* use : {"{{ ns.x | tojson }}", "{{ ns.x | pprint | length }}"}) {
    sources.push_back(std::string(kDeep) + use);
  }
  for (const char* use : {"{% if a == b %}{% endif %}", "{% set c = a[4999999] %}",
                          "{% set c = a.find('b') %}", "{% set c = a | upper %}"}) {
    sources.push_back(std::string(kLong) + "{% for i in range(99999) %}" + use + "{% endfor %}");
  }
  return sources;
}

TEST(HostileTemplates, EndWithAnErrorSoon) {
  for (const std::string& source : hostile_templates()) {
    SCOPED_TRACE(source.substr(0, 200));
    const auto start = std::chrono::steady_clock::now();
    const auto parsed = ChatTemplate::parse(source, {});
    if (parsed) {
      const auto prompt = (*parsed)->render(R"({"messages": [{"role": "user", "content": "x"}]})");
      EXPECT_FALSE(prompt) << prompt->size();
    }
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(15));
  }
}

// Work that had to be given up leaves a parked thread: not without end.
TEST(HostileTemplates, RefusedForGoodAfterAFew) {
  const auto parsed = ChatTemplate::parse(std::string(kShared) + "{{ ns.x == ns.y }}", {}).value();
  for (int attempt = 0; attempt < 3; ++attempt) EXPECT_FALSE(parsed->render("{}"));
  EXPECT_THAT(parsed->render("{}").error().message, HasSubstr("refused"));
}

// Deep nesting by itself is no crime: it is dropped, compared and printed without a crash.
TEST(HostileTemplates, DeepValuesAreSafe) {
  for (const char* use : {"ok", "{{ ns.x | string | length }}", "{{ ns.x == [ns.x] }}"}) {
    const auto parsed = ChatTemplate::parse(std::string(kDeep) + use, {}).value();
    const auto prompt = parsed->render("{}");
    EXPECT_TRUE(prompt) << prompt.error().message;
  }
}

}  // namespace
}  // namespace nereid::text
