// Requests that pages of other sites make a browser send, as a table: which are answered.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/server/testing/test_server.h"

namespace nereid::server {
namespace {

using testing::HasSubstr;

struct SiteCase {
  std::string headers;  // Host, and what else a browser says
  int status = 200;
  std::string message = {};  // part of it, of a refusal
};

std::string host(const std::string& name) {
  return "Host: " + name + "\r\n";
}

void expect_answers(const ServerOptions& options, std::initializer_list<SiteCase> table,
                    const std::string& path = "/v1/models") {
  TestServer server({.server = options});
  for (const SiteCase& expected : table) {
    TestClient client = server.connect();
    client.send("GET " + path + " HTTP/1.1\r\n" + expected.headers + "\r\n");
    const auto response = client.read_response();
    ASSERT_TRUE(response) << expected.headers;
    EXPECT_EQ(response->status, expected.status) << expected.headers;
    EXPECT_THAT(response->body, HasSubstr(expected.message)) << expected.headers;
  }
}

TEST(SiteGuard, ChecksHostOnLoopbackWithoutKey) {
  expect_answers({}, {{host("localhost")},
                      {host("LocalHost:8000")},
                      {host("127.0.0.1:1")},
                      {host("[::1]:8000")},
                      {host("evil.example"), 403, "--allowed-host evil.example"},
                      {host("evil.example:8000"), 403, "found 'evil.example', expected localhost"},
                      {host("localhost.evil.example"), 403, "host_not_allowed"},
                      {host("127.0.0.1.evil.example:80"), 403, "host_not_allowed"},
                      {host("localhost@evil.example"), 403, "host_not_allowed"},
                      {host("[::1].evil.example"), 403, "host_not_allowed"},
                      {host("192.168.1.5:8000"), 403, "host_not_allowed"}});
}

TEST(SiteGuard, ChecksTheTargetsNameToo) {
  expect_answers({}, {{host("localhost"), 403, "evil.example"}}, "http://evil.example/v1/models");
  expect_answers({}, {{host("evil.example")}}, "http://localhost:80/v1/models");
}

TEST(SiteGuard, TakesConfiguredNames) {
  expect_answers({.allowed_hosts = {"chat.example", "::2"}},
                 {{host("chat.example:443")},
                  {host("CHAT.example")},
                  {host("[::2]:80")},
                  {host("localhost")},
                  {host("other.example"), 403, "host_not_allowed"}});
  expect_answers({.allowed_hosts = {"*"}}, {{host("anything.example")}});
}

TEST(SiteGuard, LeavesHostAloneBehindAKey) {
  const std::string key = "Authorization: Bearer key\r\n";
  expect_answers({.api_keys = {"key"}},
                 {{host("evil.example") + key}, {host("evil.example"), 401, "invalid_api_key"}});
  expect_answers({.api_keys = {"key"}, .allowed_hosts = {"chat.example"}},
                 {{host("evil.example") + key, 403, "host_not_allowed"}});
}

TEST(SiteGuard, ChecksOriginWithoutKey) {
  const std::string here = host("localhost:8000");
  expect_answers(
      {}, {{here},
           {here + "Origin: http://localhost:8000\r\n"},
           {here + "Origin: https://LOCALHOST:8000\r\n"},  // TLS ends in front of the server
           {here + "Origin: https://chat.example\r\nSec-Fetch-Site: same-origin\r\n"},
           {here + "Origin: https://evil.example\r\n", 403, "--cors-origin https://evil.example"},
           {here + "Origin: http://localhost:3000\r\n", 403, "origin_not_allowed"},
           {here + "Origin: null\r\n", 403, "found 'null'"},
           {here + "Origin: https://evil.example\r\nSec-Fetch-Site: cross-site\r\n", 403,
            "expected none or this server's own"}});
  expect_answers({.cors_origins = {"https://chat.example"}},
                 {{here + "Origin: https://chat.example\r\n"},
                  {here + "Origin: https://evil.example\r\n", 403, "origin_not_allowed"}});
  expect_answers({.cors_origins = {"*"}}, {{here + "Origin: https://any.example\r\n"}});
  expect_answers({.api_keys = {"key"}},
                 {{here + "Origin: https://any.example\r\nAuthorization: Bearer key\r\n"}});
}

TEST(SiteGuard, NeverReachesTheEngine) {
  TestServer server;
  const std::string body = R"({"model":"fake","prompt":"hi"})";
  for (const std::string& odd :
       {host("evil.example"), host("localhost") + "Origin: http://e.example\r\n"}) {
    TestClient client = server.connect();
    client.send("POST /v1/completions HTTP/1.1\r\n" + odd +
                fmt::format("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{}",
                            body.size(), body));
    EXPECT_EQ(client.read_response()->status, 403) << odd;
  }
  EXPECT_TRUE(server.engine().submitted().empty());
}

}  // namespace
}  // namespace nereid::server
