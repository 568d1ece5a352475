// The simple routes: models, tokens, metrics, the page, the description; and the table itself.
#include "src/server/routes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "src/server/context.h"
#include "src/server/metrics.h"
#include "src/server/testing/test_server.h"

namespace nereid::server {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

json answer(TestServer& server, const std::string& path, const json& body, int status = 200) {
  const auto response = server.connect().post(path, body.dump());
  EXPECT_EQ(response->status, status) << path << " " << body << " " << response->body;
  return json::parse(response->body);
}

TEST(Routes, HaveNoDuplicatesAndFewOpenOnes) {
  std::set<std::pair<std::string_view, std::string_view>> seen;
  std::set<std::string_view> open;
  for (const Route& route : routes()) {
    EXPECT_TRUE(seen.emplace(route.method, route.path).second) << route.path;
    if (!route.needs_key) open.insert(route.path);
  }
  EXPECT_EQ(open, (std::set<std::string_view>{"/", "/health", "/ready"}));
}

TEST(Routes, FindsLines) {
  const auto find = [](std::string_view method, std::string_view path) {
    return find_route(routes(), method, path);
  };
  EXPECT_EQ(find("GET", "/v1/models").route->path, "/v1/models");
  EXPECT_EQ(find("HEAD", "/v1/models").route->path, "/v1/models");
  EXPECT_EQ(find("GET", "/v1/models/org%2Fname").argument, "org/name");
  EXPECT_EQ(find("GET", "/v1/models/org/na%zzme%2").argument, "org/na%zzme%2");
  EXPECT_EQ(find("GET", "/v1/models/").route, nullptr);
  EXPECT_EQ(find("GET", "/v1/models/").allow, "");
  EXPECT_EQ(find("DELETE", "/v1/models/x").allow, "GET, HEAD");
}

TEST(Routes, AnswerAboutTheServer) {
  TestServer server;
  TestClient client = server.connect();
  EXPECT_EQ(json::parse(client.get("/health")->body), (json{{"status", "ok"}}));
  EXPECT_EQ(json::parse(client.get("/ready")->body), (json{{"status", "ready"}}));
  EXPECT_EQ(json::parse(client.get("/version")->body), (json{{"version", "1.2.3"}}));
  const json models = json::parse(client.get("/v1/models")->body);
  EXPECT_EQ(models["object"], "list");
  EXPECT_EQ(models["data"][0]["id"], "fake");
  EXPECT_EQ(models["data"][0]["max_model_len"], 256);
  EXPECT_EQ(json::parse(client.get("/v1/models/fake")->body), models["data"][0]);
  const auto missing = client.get("/v1/models/other%22");
  EXPECT_EQ(missing->status, 404);
  EXPECT_EQ(json::parse(missing->body)["error"]["code"], "model_not_found");
}

TEST(Routes, Tokenize) {
  TestServer server;
  const json prompt = answer(server, "/tokenize", {{"prompt", "ab"}, {"return_token_strs", true}});
  EXPECT_EQ(
      prompt,
      (json{
          {"count", 2}, {"max_model_len", 256}, {"tokens", {97, 98}}, {"token_strs", {"a", "b"}}}));
  const json chat =
      answer(server, "/tokenize",
             {{"model", "fake"}, {"messages", {{{"role", "user"}, {"content", "h"}}}}});
  EXPECT_EQ(chat["tokens"], (json{258, 104, 257, 259}));
  const json without = answer(
      server, "/tokenize",
      {{"messages", {{{"role", "user"}, {"content", "h"}}}}, {"add_generation_prompt", false}});
  EXPECT_EQ(without["tokens"], (json{258, 104, 257}));
  EXPECT_EQ(answer(server, "/tokenize", {{"prompt", ""}})["tokens"], json::array());
}

TEST(Routes, TokenizeNamesWhatIsWrong) {
  TestServer server;
  const std::pair<json, const char*> cases[] = {
      {json::object(), "prompt"},
      {{{"prompt", 1}}, "prompt"},
      {{{"prompt", "a"}, {"messages", json::array()}}, "messages"},
      {{{"messages", "a"}}, "messages"},
      {{{"prompt", "a"}, {"add_special_tokens", "yes"}}, "add_special_tokens"},
      {{{"prompt", "a"}, {"suprise", 1}}, "suprise"},
  };
  for (const auto& [body, param] : cases) {
    EXPECT_EQ(answer(server, "/tokenize", body, 400)["error"]["param"], param) << body;
  }
  EXPECT_EQ(answer(server, "/tokenize", {{"prompt", "a"}, {"model", "b"}}, 404)["error"]["param"],
            "model");
  for (const char* body : {"", "[]", "{", "{\"prompt\":\"\xff\"}", "nonsense"}) {
    EXPECT_EQ(server.connect().post("/tokenize", body)->status, 400) << body;
  }
}

TEST(Routes, Detokenize) {
  TestServer server;
  EXPECT_EQ(answer(server, "/detokenize", {{"tokens", {104, 105, 257}}})["prompt"], "hi</s>");
  EXPECT_EQ(answer(server, "/detokenize", {{"tokens", json::array()}})["prompt"], "");
  for (const json& tokens : {json(1), json{-1}, json{262}, json{1.5}, json{"a"}, json()}) {
    EXPECT_THAT(answer(server, "/detokenize", {{"tokens", tokens}}, 400)["error"]["param"].dump(),
                HasSubstr("tokens"));
  }
}

TEST(Routes, SayWhenTheModelHasNoText) {
  TestServer broken({.engine = {.broken_tokenizer = true, .broken_chat_template = true}});
  EXPECT_THAT(answer(broken, "/tokenize", {{"prompt", "a"}}, 501)["error"]["message"],
              "fake tokenizer: broken");
  answer(broken, "/detokenize", {{"tokens", {1}}}, 501);
  const json conversation = {{"messages", {{{"role", "user"}, {"content", "h"}}}}};
  answer(broken, "/tokenize", conversation, 400);
  TestServer plain({.engine = {.with_chat_template = false}});
  EXPECT_THAT(answer(plain, "/tokenize", conversation, 400)["error"]["message"].dump(),
              HasSubstr("no chat template"));
}

TEST(Routes, Metrics) {
  TestServer server({.engine = {.cached_tokens = 1}, .routes = test_routes()});
  TestClient client = server.connect();
  EXPECT_EQ(client.post("/generate", "abc")->status, 200);
  ASSERT_TRUE(server.engine().wait_done(1, std::chrono::milliseconds(2000)));
  const ServeClock::time_point start = ServeClock::now();
  const auto after = [&](int ms) { return start + std::chrono::milliseconds(ms); };
  Metrics& metrics = server.server().context().metrics;
  metrics.observe({.prompt_tokens = 3,
                   .output_tokens = 7,
                   .arrived = start,
                   .scheduled = after(700),
                   .first_token = after(900),
                   .finished = after(1400)});
  metrics.observe_inter_token(0.02);
  const auto response = client.get("/metrics");
  EXPECT_THAT(response->header("content-type"), HasSubstr("text/plain; version=0.0.4"));
  for (const char* line : {
           "# TYPE vllm:num_requests_running gauge",
           "vllm:num_requests_running{model_name=\"fake\"} 0",
           "vllm:num_requests_waiting{model_name=\"fake\"} 0",
           "vllm:kv_cache_usage_perc{model_name=\"fake\"} 0",
           "vllm:gpu_cache_usage_perc{model_name=\"fake\"} 0",
           "# TYPE vllm:prefix_cache_queries_total counter",
           "vllm:prefix_cache_queries_total{model_name=\"fake\"} 3",
           "vllm:prefix_cache_hits_total{model_name=\"fake\"} 1",
           "vllm:prompt_tokens_total{model_name=\"fake\"} 3",
           "vllm:generation_tokens_total{model_name=\"fake\"} 200",
           "vllm:num_preemptions_total{model_name=\"fake\"} 0",
           "vllm:request_success_total{model_name=\"fake\",finished_reason=\"length\"} 1",
           "vllm:request_success_total{model_name=\"fake\",finished_reason=\"stop\"} 0",
           "vllm:cache_config_info{model_name=\"fake\",block_size=\"16\",num_gpu_blocks=\"64\"} 1",
           "# TYPE vllm:iteration_tokens_total histogram",
           "vllm:iteration_tokens_total_bucket{model_name=\"fake\",le=\"+Inf\"} ",
           "vllm:time_to_first_token_seconds_bucket{model_name=\"fake\",le=\"0.75\"} 0",
           "vllm:time_to_first_token_seconds_bucket{model_name=\"fake\",le=\"1\"} 1",
           "vllm:e2e_request_latency_seconds_sum{model_name=\"fake\"} 1.4",
           "vllm:request_queue_time_seconds_sum{model_name=\"fake\"} 0.7",
           "vllm:request_prefill_time_seconds_sum{model_name=\"fake\"} 0.2",
           "vllm:request_decode_time_seconds_sum{model_name=\"fake\"} 0.5",
           "vllm:request_inference_time_seconds_sum{model_name=\"fake\"} 0.7",
           "vllm:inter_token_latency_seconds_count{model_name=\"fake\"} 1",
           "vllm:time_per_output_token_seconds_count{model_name=\"fake\"} 1",
           "vllm:request_generation_tokens_bucket{model_name=\"fake\",le=\"10\"} 1",
           "http_requests_total{method=\"POST\",path=\"/generate\",status=\"200\"} 1",
       }) {
    EXPECT_THAT(response->body, HasSubstr(line));
  }
}

TEST(Routes, PageRunsOnlyItsOwnScript) {
  TestServer server;
  const auto page = server.connect().get("/");
  EXPECT_THAT(page->header("content-type"), HasSubstr("text/html"));
  const std::string policy = page->header("content-security-policy");
  EXPECT_THAT(policy, HasSubstr("default-src 'none'"));
  EXPECT_THAT(policy, HasSubstr("script-src 'sha256-"));
  EXPECT_THAT(policy, Not(HasSubstr("unsafe")));
  for (const char* remote : {"http://", "https://", "src=", "innerHTML", "onclick", "style="}) {
    EXPECT_THAT(page->body, Not(HasSubstr(remote)));
  }
  TestServer without({.server = {.chat_page = false}});
  EXPECT_EQ(without.connect().get("/")->status, 404);
}

TEST(Routes, AreDescribed) {
  TestServer server;
  const json document = json::parse(server.connect().get("/openapi.json")->body);
  EXPECT_EQ(document["info"]["version"], "1.2.3");
  for (const Route& route : routes()) {
    if (route.path == "/") continue;  // for people
    const json::json_pointer place("/paths/" + [&] {
      std::string escaped;
      for (const char c : route.path) escaped += c == '/' ? "~1" : std::string(1, c);
      return escaped;
    }());
    ASSERT_TRUE(document.contains(place)) << route.path;
    EXPECT_TRUE(document[place].contains(route.method == "GET" ? "get" : "post")) << route.path;
  }
}

}  // namespace
}  // namespace nereid::server
