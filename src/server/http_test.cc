// HTTP itself: statuses, limits, keep-alive, pipelining, bodies, keys, origins, over the loopback.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "src/server/testing/test_server.h"

namespace nereid::server {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

TestServerOptions with_test_routes(ServerOptions options = {}) {
  return {.server = std::move(options), .routes = test_routes()};
}

// The status of the answer to these bytes; 0: none came. Says also that the connection ends after
// it, where it must.
int status_of(TestServer& server, std::string_view bytes, bool ends = true) {
  TestClient client = server.connect();
  client.send(bytes);
  const auto response = client.read_response();
  if (!response) return 0;
  if (ends) {
    EXPECT_TRUE(client.closed_by_server());
    EXPECT_EQ(response->header("connection"), "close");
  }
  const auto error = nlohmann::json::parse(response->body, nullptr, false);
  EXPECT_TRUE(response->status < 400 || error.contains("error")) << response->body;
  return response->status;
}

TEST(Http, KeepsConnectionsAlive) {
  TestServer server(with_test_routes());
  TestClient client = server.connect();
  for (int round = 0; round < 3; ++round) {
    const auto response = client.post("/echo", R"({"a":1})");
    ASSERT_TRUE(response);
    EXPECT_EQ(response->status, 200);
    EXPECT_EQ(response->body, R"({"a":1})");
    EXPECT_EQ(response->header("connection"), "");
  }
  EXPECT_EQ(server.server().num_connections(), 1);
  client.close();
  EXPECT_TRUE(server.wait_connections(0));
}

TEST(Http, ClosesWhenAskedTo) {
  TestServer server(with_test_routes());
  TestClient client = server.connect();
  EXPECT_EQ(client.get("/health", "Connection: close\r\n")->header("connection"), "close");
  EXPECT_TRUE(client.closed_by_server());
  TestClient old = server.connect();
  old.send("GET /health HTTP/1.0\r\n\r\n");
  EXPECT_EQ(old.read_response()->status, 200);
  EXPECT_TRUE(old.closed_by_server());
  TestClient old_alive = server.connect();
  old_alive.send("GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(old_alive.read_response()->header("connection"), "keep-alive");
  EXPECT_EQ(old_alive.get("/health")->status, 200);
}

TEST(Http, AnswersPipelinedRequestsInOrder) {
  TestServer server(with_test_routes());
  TestClient client = server.connect();
  std::string requests;
  for (int index = 0; index < 50; ++index) requests += post_request("/echo", std::to_string(index));
  requests += get_request("/health");
  client.send(requests);
  client.shutdown_send();  // what was sent before is answered all the same
  for (int index = 0; index < 50; ++index) {
    const auto response = client.read_response();
    ASSERT_TRUE(response) << index;
    EXPECT_EQ(response->body, std::to_string(index));
  }
  EXPECT_EQ(client.read_response()->status, 200);
  EXPECT_TRUE(client.closed_by_server());
}

TEST(Http, TakesRequestsByteByByte) {
  TestServer server(with_test_routes());
  TestClient client = server.connect();
  for (const char byte : post_request("/echo", R"({"slowly":true})")) {
    client.send(std::string_view(&byte, 1));
  }
  EXPECT_EQ(client.read_response()->body, R"({"slowly":true})");
}

TEST(Http, TakesChunkedBodies) {
  TestServer server(with_test_routes());
  TestClient client = server.connect();
  const std::string head =
      "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json; charset=utf-8\r\n"
      "Transfer-Encoding: chunked\r\n\r\n";
  client.send(head + "3\r\n[1,\r\n");
  client.send("2;extension=1\r\n2]\r\n0\r\nTrailer: x\r\n\r\n");
  EXPECT_EQ(client.read_response()->body, "[1,2]");
  client.send(head + "0\r\n\r\n");
  EXPECT_EQ(client.read_response()->body, "");
  EXPECT_EQ(status_of(server, head + "zz\r\n"), 400);
}

TEST(Http, AnswersHeadWithoutBody) {
  TestServer server(with_test_routes());
  TestClient client = server.connect();
  client.send("HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const auto head = client.read_response(/*to_head=*/true);
  const auto get = client.get("/health");
  EXPECT_EQ(head->status, 200);
  EXPECT_EQ(head->header("content-length"), get->header("content-length"));
  client.send("HEAD /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(client.read_response(/*to_head=*/true)->status, 404);
  EXPECT_EQ(client.get("/health")->status, 200);
}

TEST(Http, KnowsPathsAndMethods) {
  TestServer server(with_test_routes());
  TestClient client = server.connect();
  EXPECT_EQ(client.get("/nowhere")->status, 404);
  EXPECT_EQ(client.get("/health/")->status, 404);
  EXPECT_EQ(client.get("/health?x=1")->status, 200);
  const auto wrong = client.get("/echo");
  EXPECT_EQ(wrong->status, 405);
  EXPECT_EQ(wrong->header("allow"), "POST");
  EXPECT_EQ(client.post("/health", "{}")->header("allow"), "GET, HEAD");
  TestClient other = server.connect();
  other.send("BREW /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(other.read_response()->status, 405);
  other.send("GET http://localhost/health HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(other.read_response()->status, 200);
}

TEST(Http, RefusesWhatIsNotHttp) {
  TestServer server(with_test_routes());
  EXPECT_EQ(status_of(server, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS\r\n\r\n"), 400);
  EXPECT_EQ(status_of(server, std::string(100, '\0') + "\r\n\r\n"), 400);
  EXPECT_EQ(status_of(server, "GET\r\n\r\n"), 400);
  EXPECT_EQ(status_of(server, "GET /health HTTP/2.0\r\nHost: localhost\r\n\r\n"), 505);
  EXPECT_EQ(status_of(server, "GET /health HTTP/1.1\r\n\r\n"), 400);  // no Host
  EXPECT_EQ(status_of(server, "GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400);
  EXPECT_EQ(status_of(server, "GET health HTTP/1.1\r\nHost: localhost\r\n\r\n"), 400);
  EXPECT_EQ(status_of(server, "GET /health HTTP/1.1\r\nHost : test\r\n\r\n"), 400);
  EXPECT_EQ(status_of(server, "GET /health HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n"), 400);
  EXPECT_EQ(
      status_of(server, "GET /health HTTP/1.1\r\nHost: te" + std::string(1, '\0') + "\r\n\r\n"),
      400);
}

TEST(Http, RefusesAmbiguousBodies) {
  TestServer server(with_test_routes());
  const std::string head =
      "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
  EXPECT_EQ(status_of(server, head + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}"),
            400);
  EXPECT_EQ(status_of(server, head + "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}"),
            400);
  EXPECT_EQ(status_of(server, head + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"), 400);
  EXPECT_EQ(status_of(server, head + "Content-Length: -2\r\n\r\n{}"), 400);
  EXPECT_EQ(status_of(server, head + "Content-Length: 99999999999999999999\r\n\r\n{}"), 400);
  EXPECT_EQ(status_of(server, head + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), 501);
  EXPECT_EQ(status_of(server, head + "Transfer-Encoding: gzip\r\n\r\n"), 501);
}

TEST(Http, NeedsJsonBodies) {
  TestServer server(with_test_routes());
  TestClient client = server.connect();
  client.send("POST /echo HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(client.read_response()->status, 411);
  EXPECT_EQ(
      status_of(server, "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"),
      415);
  EXPECT_EQ(
      status_of(server,
                "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Type: "
                "text/plain\r\n\r\n{}"),
      415);
  EXPECT_EQ(client.post("/echo", "{}", "Content-Encoding: gzip\r\n")->status, 415);
}

TEST(Http, LimitsSizes) {
  TestServer server(
      with_test_routes({.max_body_bytes = 100, .max_header_bytes = 2000, .max_target_bytes = 300}));
  EXPECT_EQ(status_of(server, post_request("/echo", std::string(101, ' '))), 413);
  EXPECT_EQ(status_of(server,
                      "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                      "Transfer-Encoding: chunked\r\n\r\n65\r\n" +
                          std::string(101, ' ') + "\r\n0\r\n\r\n"),
            413);
  EXPECT_EQ(status_of(server, get_request("/health", "X: " + std::string(3000, 'x') + "\r\n")),
            431);
  std::string many;
  for (int index = 0; index < 500; ++index) many += "X: y\r\n";
  EXPECT_EQ(status_of(server, get_request("/health", many)), 431);
  EXPECT_EQ(status_of(server, get_request("/" + std::string(400, 'x'))), 414);
  EXPECT_EQ(status_of(server, get_request("/" + std::string(200'000, 'x'))), 414);
  EXPECT_EQ(server.connect().post("/echo", std::string(100, ' '))->status, 200);
}

TEST(Http, LimitsBodiesOfAllTogether) {
  TestServer server(with_test_routes({.max_body_bytes = 1000, .max_pending_body_bytes = 1500}));
  TestClient first = server.connect();
  const std::string request = post_request("/echo", std::string(1000, ' '));
  first.send(std::string_view(request).substr(0, request.size() - 1));
  TestClient probe = server.connect();
  probe.get("/health");  // by now the first one's head has been read
  TestClient second = server.connect();
  const auto refused = second.post("/echo", std::string(1000, ' '));
  EXPECT_EQ(refused->status, 503);
  EXPECT_EQ(refused->header("retry-after"), "1");
  first.send(" ");
  EXPECT_EQ(first.read_response()->status, 200);
  EXPECT_EQ(server.connect().post("/echo", std::string(1000, ' '))->status, 200);
}

TEST(Http, LimitsConnections) {
  TestServer server(with_test_routes({.max_connections = 2}));
  TestClient first = server.connect(), second = server.connect();
  EXPECT_EQ(first.get("/health")->status, 200);
  EXPECT_EQ(second.get("/health")->status, 200);
  TestClient third = server.connect();
  EXPECT_EQ(third.read_response()->status, 503);
  EXPECT_TRUE(third.closed_by_server());
  first.close();
  EXPECT_TRUE(server.wait_connections(1));
  EXPECT_EQ(server.connect().get("/health")->status, 200);
}

TEST(Http, SaysContinueOnlyToWhatItWillRead) {
  TestServer server(with_test_routes({.max_body_bytes = 100}));
  TestClient client = server.connect();
  const std::string head =
      "Host: localhost\r\nContent-Type: application/json\r\nExpect: "
      "100-continue\r\nContent-Length: ";
  client.send("POST /echo HTTP/1.1\r\n" + head + "2\r\n\r\n");
  EXPECT_EQ(client.read_response()->status, 100);
  client.send("{}");
  EXPECT_EQ(client.read_response()->status, 200);
  EXPECT_EQ(status_of(server, "POST /echo HTTP/1.1\r\n" + head + "200\r\n\r\n"), 413);
  EXPECT_EQ(status_of(server, "POST /nowhere HTTP/1.1\r\n" + head + "2\r\n\r\n"), 404);
  EXPECT_EQ(status_of(server, get_request("/health", "Expect: miracles\r\n")), 417);
}

TEST(Http, EndsSlowAndIdleConnections) {
  TestServer server(
      with_test_routes({.read_timeout = milliseconds(100), .idle_timeout = milliseconds(150)}));
  TestClient idle = server.connect();
  TestClient slow_head = server.connect(), slow_body = server.connect();
  slow_head.send("GET /health HTTP/1.1\r\n");
  slow_body.send(
      "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
      "Content-Length: 100\r\n\r\n");
  for (int drop = 0; drop < 10; ++drop) {  // a byte now and then does not help
    slow_head.send("X: y\r\n");
    slow_body.send(" ");
    std::this_thread::sleep_for(milliseconds(20));
  }
  EXPECT_EQ(slow_head.read_response()->status, 408);
  EXPECT_EQ(slow_body.read_response()->status, 408);
  EXPECT_EQ(idle.read_to_end(), "");
  TestClient used = server.connect();
  EXPECT_EQ(used.get("/health")->status, 200);
  EXPECT_EQ(used.read_to_end(), "");
}

TEST(Http, SurvivesHandlersThatFail) {
  TestServer server(with_test_routes());
  TestClient client = server.connect();
  for (const char* path : {"/nothing", "/throws"}) {
    const auto response = client.get(path);
    EXPECT_EQ(response->status, 500) << path;
    EXPECT_THAT(response->body, HasSubstr("server_error"));
  }
  const auto broken = client.get("/broken-off");
  EXPECT_THAT(broken->body, HasSubstr("data: first\n\n<broken off>"));
}

TEST(Http, ChecksKeys) {
  TestServer server(with_test_routes({.api_keys = {"first", "second"}}));
  TestClient client = server.connect();
  for (const char* path : {"/v1/models", "/metrics", "/version", "/openapi.json", "/nowhere"}) {
    const auto response = client.get(path);
    EXPECT_EQ(response->status, 401) << path;
    EXPECT_EQ(response->header("www-authenticate"), "Bearer");
    EXPECT_THAT(response->body, HasSubstr("invalid_api_key"));
  }
  for (const char* path : {"/", "/health", "/ready"}) EXPECT_EQ(client.get(path)->status, 200);
  for (const char* good : {"Bearer first", "bearer second", "Bearer  first "}) {
    EXPECT_EQ(client.get("/v1/models", fmt::format("Authorization: {}\r\n", good))->status, 200);
  }
  for (const char* bad : {"first", "Basic first", "Bearer firs", "Bearer first2", "Bearer", ""}) {
    EXPECT_EQ(client.get("/v1/models", fmt::format("Authorization: {}\r\n", bad))->status, 401);
  }
  EXPECT_EQ(server.connect().post("/echo", "{}")->status, 401);
}

TEST(Http, AllowsOriginsOnlyWhenAsked) {
  const std::string from = "Origin: https://a.example\r\n";
  const std::string preflight =
      "OPTIONS /v1/models HTTP/1.1\r\nHost: localhost\r\nAccess-Control-Request-Method: POST\r\n" +
      from + "\r\n";
  TestServer closed(with_test_routes());
  EXPECT_EQ(closed.connect().get("/health", from)->header("access-control-allow-origin"), "");
  EXPECT_EQ(status_of(closed, preflight, /*ends=*/false), 403);

  TestServer open(with_test_routes({.api_keys = {"key"}, .cors_origins = {"https://a.example"}}));
  TestClient client = open.connect();
  client.send(preflight);
  const auto allowed = client.read_response();
  EXPECT_EQ(allowed->status, 204);
  EXPECT_EQ(allowed->header("access-control-allow-origin"), "https://a.example");
  EXPECT_THAT(allowed->header("access-control-allow-headers"), HasSubstr("Authorization"));
  const auto refused = client.get("/v1/models", from);  // errors can be read there too
  EXPECT_EQ(refused->status, 401);
  EXPECT_EQ(refused->header("access-control-allow-origin"), "https://a.example");
  const auto other = client.get("/health", "Origin: https://b.example\r\n");
  EXPECT_EQ(other->header("access-control-allow-origin"), "");
  EXPECT_EQ(other->header("vary"), "Origin");
}

TEST(Http, NamesRequestsAndGuardsAnswers) {
  TestServer server(with_test_routes());
  TestClient client = server.connect();
  EXPECT_EQ(client.get("/health", "X-Request-Id: mine-1\r\n")->header("x-request-id"), "mine-1");
  for (const std::string& odd : {std::string("a b"), std::string(200, 'x'), std::string()}) {
    const auto response = client.get("/health", "X-Request-Id: " + odd + "\r\n");
    EXPECT_THAT(response->header("x-request-id"), testing::StartsWith("req-"));
    EXPECT_EQ(response->header("x-request-id").size(), 36u);
  }
  const auto response = client.get("/health");
  EXPECT_EQ(response->header("x-content-type-options"), "nosniff");
  EXPECT_EQ(response->header("cache-control"), "no-store");
  EXPECT_THAT(response->header("content-security-policy"), HasSubstr("default-src 'none'"));
  EXPECT_THAT(response->header("date"), testing::EndsWith(" GMT"));
}

}  // namespace
}  // namespace nereid::server
