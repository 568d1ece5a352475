// Flags of `nereid serve`, and what they become for the engine and the server.
#pragma once

#include <string>
#include <vector>

#include "apps/nereid/options.h"
#include "src/base/log.h"
#include "src/engine/serving.h"
#include "src/server/options.h"

namespace nereid::commands {

struct ServeOptions {
  ModelOptions model;
  std::string served_model_name;  // empty: the model file's name
  ServingOptions serving;
  bool no_prefix_cache = false;
  server::ServerOptions server;
  double read_timeout = 30, write_timeout = 30, idle_timeout = 75;  // seconds
  double drain_timeout = 30;
  std::vector<std::string> api_key_files;
  bool no_chat_page = false;
  std::string log_format = "text", log_level;  // empty: NEREID_LOG, else info
  std::string config_file;
};

// Adds the flags; they also come from NEREID_... and the configuration file.
void add_serve_options(CLI::App& command, ServeOptions& options);

// With keys read from their files, and what of the flags contradicts itself refused.
Result<server::ServerOptions> server_options(const ServeOptions& options);
ServingOptions serving_options(const ServeOptions& options);
// "models/SmolLM2.Q4_1.gguf" -> "SmolLM2.Q4_1"
std::string served_name(const ServeOptions& options, const std::string& model_path);
void set_up_log(const ServeOptions& options);

}  // namespace nereid::commands
