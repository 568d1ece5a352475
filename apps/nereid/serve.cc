// nereid serve: the model behind an OpenAI-compatible HTTP server, until a signal ends it.
#include "apps/nereid/serve_options.h"

#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "apps/nereid/command.h"
#include "apps/nereid/progress.h"
#include "apps/nereid/settings.h"
#include "src/server/server.h"

namespace nereid::commands {
namespace {

// After the engine has ended all requests, how long their last words may take to be sent.
constexpr std::chrono::seconds kLastWrites{5};

constexpr const char* kServeFooter = R"(
Every flag also comes from the environment (--max-body-bytes: NEREID_MAX_BODY_BYTES) and from the file
of --config (max-body-bytes = 1048576). The command line wins over the environment, that over the file.

SIGTERM or Ctrl-C: no new connections, running requests end (--drain-timeout), exit code 0. A second
one exits at once. docs/serving.md has routes, limits, keys and metrics.

Examples:
  nereid serve model.gguf --port 8000
  nereid serve -m folder --host 0.0.0.0 --api-key-file keys.txt --tls-cert cert.pem --tls-key key.pem
  curl http://127.0.0.1:8000/v1/models)";

// The first signal returns from wait(); the next one ends the process.
class Signals {
 public:
  Signals() : signals_(io_, SIGINT, SIGTERM) {}
  ~Signals() {
    io_.stop();
    if (second_.joinable()) second_.join();
  }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  int wait() {
    int received = 0;
    signals_.async_wait([&](const boost::system::error_code&, int signal) { received = signal; });
    io_.run();
    io_.restart();
    signals_.async_wait([](const boost::system::error_code& failure, int signal) {
      if (!failure) std::_Exit(128 + signal);
    });
    second_ = std::thread([this] { io_.run(); });
    return received;
  }

 private:
  boost::asio::io_context io_;
  boost::asio::signal_set signals_;
  std::thread second_;
};

bool is_loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

Result<int> serve(const ServeOptions& options, Environment& environment) {
  set_up_log(options);
  NEREID_TRY(server::ServerOptions server_flags, server_options(options));
  NEREID_TRY(LoadOptions load, load_options(options.model, {}));
  if (server_flags.api_keys.empty() && !is_loopback(server_flags.host)) {
    log_warn("listening on {} without --api-key: everybody who reaches it may use the model",
             server_flags.host);
  }
  show_progress(load);
  NEREID_TRY(const auto engine, environment.start_serving(load, serving_options(options)));
  Signals signals;
  NEREID_TRY(const auto server,
             server::Server::start(*engine, {.options = std::move(server_flags),
                                             .model_name = served_name(options, load.model_path),
                                             .version = NEREID_VERSION}));
  environment.out.line("listening on " + server->url());
  const int signal = signals.wait();
  log_info("signal {}: no more requests; up to {:.0f} s for those that run", signal,
           options.drain_timeout);
  server->begin_drain();
  const auto limit = std::chrono::milliseconds(static_cast<int64_t>(options.drain_timeout * 1000));
  const bool all_ended = engine->drain(ServeClock::now() + limit);
  if (!all_ended) log_warn("some requests were cancelled");
  server->wait_idle(ServeClock::now() + kLastWrites);
  server->stop();
  log_info("stopped");
  NEREID_RETURN_IF_ERROR(engine->finish());
  return 0;
}

}  // namespace

void add_serve(CLI::App& app, Environment& environment) {
  const auto options = std::make_shared<ServeOptions>();
  CLI::App* command = app.add_subcommand("serve", "Serve the model over HTTP, as OpenAI's API");
  add_serve_options(*command, *options);
  command->footer(kServeFooter);
  // Right after this command's own flags, so that NEREID_PORT and the like bother no other command.
  command->parse_complete_callback([command, options, &environment] {
    if (!options->config_file.empty()) apply_config_file(*command, options->config_file);
    environment.action = [options, &environment] { return serve(*options, environment); };
  });
}

}  // namespace nereid::commands
