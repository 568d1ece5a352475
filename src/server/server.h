// The listening server: accepts connections on its own threads, and comes to an orderly end.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "src/base/result.h"
#include "src/engine/serving.h"
#include "src/server/options.h"
#include "src/server/routes.h"

namespace nereid::server {

struct ServerSetup {
  ServerOptions options;
  std::string model_name;
  std::string version;
  std::span<const Route> routes = server::routes();  // outlives the server
};

// Functions may be called from any thread except the server's own.
class Server {
 public:
  // Listens when it returns; the engine must outlive the server. Errors: address, certificate.
  static Result<std::unique_ptr<Server>> start(ServingEngine& engine, const ServerSetup& setup);
  ~Server();  // stop()
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  uint16_t port() const;
  std::string url() const;  // "http://127.0.0.1:8000"
  int32_t num_connections() const;
  ServerContext& context();

  // No more connections; /ready says 503; each answer from now on closes its connection.
  void begin_drain();
  // Waits until no request is being answered. False: some still are at the deadline.
  bool wait_idle(ServeClock::time_point deadline);
  // Closes what is still open and ends the threads.
  void stop();

 private:
  struct State;
  explicit Server(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace nereid::server
