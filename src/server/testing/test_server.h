// A server on a free port of the loopback, with a fake engine behind it, for tests.
#pragma once

#include <memory>
#include <string>

#include "src/server/server.h"
#include "src/server/testing/fake_serving_engine.h"
#include "src/server/testing/test_client.h"

namespace nereid::server {

struct TestServerOptions {
  ServerOptions server = {};  // host and port are replaced
  FakeServingOptions engine = {};
  std::span<const Route> routes = server::routes();
};

class TestServer {
 public:
  explicit TestServer(TestServerOptions options = {});

  FakeServingEngine& engine() { return engine_; }
  Server& server() { return *server_; }
  uint16_t port() const { return server_->port(); }
  TestClient connect() const { return TestClient(port()); }
  TestClient connect(const TestClient::Options& options) const { return {port(), options}; }
  // Waits until so many connections are open; false: there never are.
  bool wait_connections(int32_t count);

 private:
  FakeServingEngine engine_;
  std::unique_ptr<Server> server_;
};

// Handlers that show the connection's side of things:
//   POST /echo       the body again
//   POST /generate   the body's bytes as a prompt, its tokens as events of one letter each, to 200
//                    tokens; the engine's request is cancelled when the client goes
//   GET  /flood      events of 16 KiB until the client goes
//   GET  /nothing    no answer;  GET /throws;  GET /broken-off: one event and no end
std::span<const Route> test_routes();

}  // namespace nereid::server
