// The server on the fake engine as a program of its own, for tests that need a process: a browser,
// a load generator. It echoes each prompt and ends when its standard input does.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "src/base/log.h"
#include "src/server/server.h"
#include "src/server/testing/fake_serving_engine.h"

int main(int argc, char** argv) {
  nereid::server::FakeServingOptions engine_options;
  nereid::server::ServerSetup setup{.model_name = "fake", .version = "0.0.0"};
  setup.options.port = 0;
  engine_options.max_context = 100'000;
  int64_t step_us = 0;
  CLI::App app("Nereid's HTTP server on an engine without a model");
  app.add_option("--port", setup.options.port);
  app.add_option("--step-us", step_us, "Time of a step");
  app.add_option("--max-sequences", engine_options.serving.max_sequences);
  app.add_option("--max-context", engine_options.max_context);
  app.add_option("--api-key", setup.options.api_keys);
  app.add_option("--http-threads", setup.options.http_threads);
  CLI11_PARSE(app, argc, argv);
  engine_options.step = std::chrono::microseconds(step_us);

  nereid::server::FakeServingEngine engine(engine_options);
  const auto server = nereid::server::Server::start(engine, setup);
  if (!server) {
    fmt::print(stderr, "{}\n", server.error().message);
    return 1;
  }
  fmt::print("listening on {}\n", (*server)->url());
  std::fflush(stdout);
  char byte = 0;
  while (read(0, &byte, 1) > 0) {
  }
  return 0;
}
