// Streams: clients that go, read slowly or come in numbers; and how the server ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "src/server/context.h"
#include "src/server/testing/test_server.h"

namespace nereid::server {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using testing::HasSubstr;

TestServerOptions slow_engine(microseconds step, ServerOptions options = {}) {
  return {.server = std::move(options), .engine = {.step = step}, .routes = test_routes()};
}

std::string events_of(std::string_view letters, size_t count) {
  std::string events;
  for (size_t at = 0; at < count; ++at) {
    events += fmt::format("data: {}\n\n", letters[at % letters.size()]);
  }
  return events;
}

TEST(Stream, SendsEventsAsTheyCome) {
  TestServer server(slow_engine(milliseconds(1)));
  TestClient client = server.connect();
  client.send(post_request("/generate", "abc"));
  EXPECT_THAT(client.read_until("data: b\n\n"), HasSubstr("text/event-stream"));
  EXPECT_TRUE(server.engine().wait_submitted(1, milliseconds(0)));
  EXPECT_FALSE(server.engine().wait_done(1, milliseconds(0)));  // more is to come
  client.read_until("0\r\n\r\n");
  const auto again = client.post("/generate", "xy");  // the connection goes on
  EXPECT_EQ(again->body, events_of("xy", 200));
}

TEST(Stream, GoesWithoutChunksToOldClients) {
  TestServer server(slow_engine(microseconds(0)));
  TestClient client = server.connect();
  client.send(
      "POST /generate HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\na");
  const auto response = client.read_response();
  EXPECT_EQ(response->header("transfer-encoding"), "");
  EXPECT_EQ(response->body, events_of("a", 200));
}

TEST(Stream, CancelsWhenTheClientGoes) {
  TestServer server(slow_engine(milliseconds(20)));
  for (const bool reset : {false, true}) {
    TestClient client = server.connect();
    client.send(post_request("/generate", "abc"));
    client.read_until("data: a\n\n");
    const auto left = Clock::now();
    if (reset) {
      client.reset();
    } else {
      client.close();
    }
    EXPECT_TRUE(server.engine().wait_cancelled(reset ? 2 : 1, milliseconds(2000)));
    EXPECT_LT(Clock::now() - left, milliseconds(500));  // 200 steps would take 4 s
  }
  EXPECT_TRUE(server.wait_connections(0));
}

TEST(Stream, CancelsWhatStillWaits) {
  TestServerOptions options = slow_engine(milliseconds(20));
  options.engine.serving.max_sequences = 1;
  TestServer server(options);
  TestClient running = server.connect(), waiting = server.connect();
  running.send(post_request("/generate", "abc"));
  running.read_until("data: a\n\n");
  waiting.send(post_request("/generate", "abc"));
  ASSERT_TRUE(server.engine().wait_submitted(2, milliseconds(2000)));
  waiting.close();  // nothing was written to it yet
  EXPECT_TRUE(server.engine().wait_cancelled(1, milliseconds(1000)));
  EXPECT_THAT(running.read_until("data: c\n\n"), HasSubstr("data: c"));
}

TEST(Stream, SlowReadersDelayNobody) {
  TestServer server(slow_engine(microseconds(0), {.write_timeout = milliseconds(60'000)}));
  TestClient slow = server.connect({.receive_buffer = 4096});
  slow.send(get_request("/flood"));
  slow.read_until("data: ");
  TestClient other = server.connect();
  for (int round = 0; round < 20; ++round) ASSERT_EQ(other.post("/echo", "{}")->status, 200);
  EXPECT_EQ(server.server().num_connections(), 2);  // the slow one waits all the time
}

TEST(Stream, SlowReadersAreCut) {
  TestServer server(slow_engine(microseconds(0), {.write_timeout = milliseconds(300)}));
  TestClient slow = server.connect({.receive_buffer = 4096});
  slow.send(get_request("/flood"));
  slow.read_until("data: ");
  EXPECT_TRUE(server.wait_connections(0));
}

TEST(Stream, ServesTwoHundredAtOnce) {
  for (const int threads : {1, 3}) {
    TestServerOptions options = slow_engine(microseconds(100), {.http_threads = threads});
    options.engine.serving.max_sequences = 256;
    TestServer server(options);
    std::vector<TestClient> clients;
    for (int index = 0; index < 200; ++index) clients.push_back(server.connect());
    for (TestClient& client : clients) client.send(post_request("/generate", "abcd"));
    for (TestClient& client : clients) {
      const auto response = client.read_response();
      ASSERT_TRUE(response);
      ASSERT_EQ(response->body, events_of("abcd", 200));
    }
    EXPECT_EQ(server.server().num_connections(), 200);
    clients.clear();
    EXPECT_TRUE(server.wait_connections(0));
  }
}

TEST(Stream, SurvivesClientsThatComeAndGo) {
  TestServerOptions options = slow_engine(microseconds(500), {.http_threads = 2});
  TestServer server(options);
  for (int index = 0; index < 100; ++index) {
    TestClient client = server.connect();
    client.send(post_request("/generate", "abcd"));
    if (index % 3 == 1) client.read_until("\r\n\r\n");
    if (index % 2 == 0) client.reset();
  }
  EXPECT_TRUE(server.wait_connections(0));
  EXPECT_TRUE(server.engine().wait_done(server.engine().submitted().size(), milliseconds(3000)));
  EXPECT_EQ(server.engine().stats().running, 0);
  EXPECT_EQ(server.engine().stats().waiting, 0);
}

TEST(Shutdown, DrainsWhatRuns) {
  TestServer server(slow_engine(milliseconds(1)));
  TestClient idle = server.connect();
  EXPECT_EQ(idle.get("/ready")->status, 200);
  TestClient client = server.connect();
  client.send(post_request("/generate", "abc"));
  client.read_until("data: a\n\n");
  server.server().begin_drain();
  EXPECT_EQ(idle.get("/ready")->status, 503);
  EXPECT_TRUE(idle.closed_by_server());
  EXPECT_FALSE(server.connect().get("/health"));  // nobody listens any more
  EXPECT_TRUE(server.engine().drain(Clock::now() + milliseconds(3000)));
  EXPECT_TRUE(server.server().wait_idle(Clock::now() + milliseconds(1000)));
  EXPECT_THAT(client.read_to_end(), testing::EndsWith("0\r\n\r\n"));
  server.server().stop();
}

TEST(Shutdown, CutsWhatDoesNotEnd) {
  TestServer server(slow_engine(milliseconds(50)));
  TestClient client = server.connect(), half = server.connect();
  client.send(post_request("/generate", "abc"));
  client.read_until("data: a\n\n");
  half.send("GET /health HT");
  server.server().begin_drain();
  EXPECT_FALSE(server.engine().drain(Clock::now() + milliseconds(20)));
  EXPECT_TRUE(server.server().wait_idle(Clock::now() + milliseconds(1000)));
  const auto start = Clock::now();
  server.server().stop();
  EXPECT_LT(Clock::now() - start, milliseconds(1000));
}

TEST(Shutdown, StopsInTheMiddleOfEverything) {
  TestServer server(slow_engine(milliseconds(5)));
  TestClient client = server.connect(), flooded = server.connect({.receive_buffer = 4096});
  client.send(post_request("/generate", "abc"));
  flooded.send(get_request("/flood"));
  client.read_until("data: a\n\n");
  const auto start = Clock::now();
  server.server().stop();
  EXPECT_LT(Clock::now() - start, milliseconds(1000));
  EXPECT_TRUE(server.engine().wait_cancelled(1, milliseconds(1000)));
}

TEST(Start, SaysWhyItCannot) {
  TestServer first;
  FakeServingEngine engine;
  ServerSetup setup{.options = {.host = "127.0.0.1", .port = first.port()}, .model_name = "fake"};
  EXPECT_THAT(Server::start(engine, setup).error().message, HasSubstr("cannot listen"));
  setup.options = {.host = "no.such.host.invalid"};
  EXPECT_THAT(Server::start(engine, setup).error().message, HasSubstr("no.such.host"));
}

}  // namespace
}  // namespace nereid::server
