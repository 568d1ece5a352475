// See serve_options.h.
#include "apps/nereid/serve_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "apps/nereid/flag_checks.h"
#include "apps/nereid/settings.h"
#include "src/server/openai/tool_format.h"

namespace nereid::commands {
namespace {

// Longest time that any flag takes; also keeps deadlines far from the clock's limits.
constexpr double kMaxSeconds = 7 * 24 * 3600.0;
constexpr int64_t kMaxTokens = 1'000'000'000'000, kMaxBytes = kMaxTokens;

CLI::Option* add_seconds(CLI::App& command, const char* flag, double& seconds, const char* help) {
  return command.add_option(flag, seconds, help)
      ->check(number_in(0.01, kMaxSeconds))
      ->type_name("SECONDS")
      ->capture_default_str();
}

template <typename T>
CLI::Option* add_count(CLI::App& command, const char* flag, T& value, int64_t least, int64_t most,
                       const char* help) {
  return command.add_option(flag, value, help)
      ->check(whole_number(least, most))
      ->type_name("N")
      ->capture_default_str();
}

void add_engine_flags(CLI::App& command, ServeOptions& options) {
  ServingOptions& serving = options.serving;
  add_count(command, "--max-sequences", serving.max_sequences, 1, 1024, "Choices computed at once");
  add_count(
      command, "--max-step-tokens", serving.max_step_tokens, 0, 1 << 20,
      "Tokens computed in one step; long prompts are spread over several. 0: 512, on GPUs 2048");
  add_count(command, "--max-waiting", serving.max_waiting, 0, 1 << 20,
            "Requests that wait; more are refused with 429");
  add_count(command, "--cache-tokens", serving.cache_tokens, 0, kMaxTokens,
            "Size of the KV cache in tokens; 0: on a GPU what its memory allows, on a CPU 1024 for "
            "each sequence, at most the context")
      ->excludes(command.get_option("--kv-cache-memory"));
  command.add_flag("--no-prefix-cache", options.no_prefix_cache,
                   "Do not reuse what earlier requests computed of the same beginning");
  std::vector<std::string> parsers = {"auto"};
  for (const openai::ToolFormat& format : openai::tool_formats()) {
    parsers.emplace_back(format.name);
  }
  command
      .add_option("--tool-parser", options.server.tool_parser,
                  "How the model writes calls of tools; auto: what its chat template does")
      ->check(CLI::IsMember(parsers))
      ->capture_default_str();
  command.add_option("--served-model-name", options.served_model_name,
                     "What requests call the model. Default: its file's name");
}

void add_network_flags(CLI::App& command, ServeOptions& options) {
  server::ServerOptions& server = options.server;
  command.add_option("--host", server.host, "Address to listen on; 0.0.0.0 or :: is every one")
      ->capture_default_str();
  command.add_option("--port", server.port, "Port to listen on; 0 is any free one")
      ->check(whole_number(0, 65535))
      ->capture_default_str();
  add_count(command, "--http-threads", server.http_threads, 1, 64,
            "Threads that read and write connections");
  command.add_option("--tls-cert", server.tls_cert, "PEM file: certificate and its chain");
  command.add_option("--tls-key", server.tls_key, "PEM file: key of the certificate");
  command
      .add_option("--api-key", server.api_keys,
                  "Key that clients must send; may be given several times")
      ->take_all();
  command
      .add_option("--api-key-file", options.api_key_files,
                  "File with a key on each line; may be given several times")
      ->take_all();
  command
      .add_option("--cors-origin", server.cors_origins,
                  "Origin of web pages that may ask, such as https://chat.example; '*': every one; "
                  "may be given several times")
      ->take_all();
  command
      .add_option("--allowed-host", server.allowed_hosts,
                  "Name that requests may call this server, such as chat.example; '*': every one; "
                  "may be given several times. Default: localhost and addresses of this machine "
                  "where it listens only there and asks for no key, else every one")
      ->take_all();
  command.add_flag("--no-chat-page", options.no_chat_page, "Nothing at /");
}

void add_limit_flags(CLI::App& command, ServeOptions& options) {
  server::ServerOptions& server = options.server;
  add_count(command, "--max-connections", server.max_connections, 1, 1 << 20,
            "Connections open at once");
  add_count(command, "--max-body-bytes", server.max_body_bytes, 1024, 1 << 30,
            "Size of a request's body");
  add_count(command, "--max-pending-body-bytes", server.max_pending_body_bytes, 1024, kMaxBytes,
            "Size of all bodies that are read or answered");
  add_count(command, "--max-header-bytes", server.max_header_bytes, 1024, 1 << 20,
            "Size of a request's line and headers");
  add_seconds(command, "--read-timeout", options.read_timeout,
              "From a request's first byte to its last");
  add_seconds(command, "--write-timeout", options.write_timeout,
              "Until a client takes what is sent to it");
  add_seconds(command, "--idle-timeout", options.idle_timeout,
              "Without a request on an open connection");
  add_seconds(command, "--drain-timeout", options.drain_timeout,
              "For running requests after SIGTERM or Ctrl-C; then they are cancelled");
  server::RequestLimits& limits = server.request;
  add_count(command, "--max-choices", limits.max_choices, 1, 1024, "n of a request");
  add_count(command, "--max-prompts", limits.max_prompts, 1, 1 << 16, "Prompts of a request");
  add_count(command, "--max-logprobs", limits.max_logprobs, 0, 1 << 10,
            "top_logprobs of a request");
  add_count(command, "--max-stop", limits.max_stop, 0, 1 << 10, "Stop strings of a request");
  add_count(command, "--max-messages", limits.max_messages, 1, 1 << 20,
            "Messages of a conversation");
  add_count(command, "--max-tools", limits.max_tools, 0, 1 << 16, "Tools of a request");
  add_count(command, "--max-schema-bytes", limits.max_schema_bytes, 1, 1 << 24,
            "Size of a JSON schema, regular expression or grammar");
}

Status read_key_file(const std::string& path, std::vector<std::string>& keys) {
  std::ifstream file(path);
  if (!file) return error("--api-key-file: {}: cannot be read", path);
  const size_t before = keys.size();
  for (std::string line; std::getline(file, line);) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (!line.empty() && !line.starts_with('#')) keys.push_back(line);
  }
  if (keys.size() == before) return error("--api-key-file: {}: no key in it", path);
  return {};
}

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
}

}  // namespace

void add_serve_options(CLI::App& command, ServeOptions& options) {
  CLI::Option* place = command.add_option("MODEL", options.model.model,
                                          "GGUF file or Hugging Face folder, as with --model");
  place->configurable(false);
  add_model_options(command, options.model);
  command.get_option("--trace")->configurable(false);  // for a short run, not for a service
  command.get_option("--model")->excludes(place);
  add_engine_flags(command, options);
  add_network_flags(command, options);
  add_limit_flags(command, options);
  command.add_option("--log-format", options.log_format, "Lines on standard error")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  command
      .add_option("--log-level", options.log_level,
                  "info has a line for each request. Default: $NEREID_LOG, else info")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error", "off"}));
  CLI::Option* config = command.add_option("--config", options.config_file,
                                           "File with lines such as 'port = 8001' (TOML)");
  config->envname("NEREID_CONFIG")->configurable(false);
  name_environment(command);
  command.get_option("--model")->envname("");  // NEREID_MODEL is for when no model is named
}

Result<server::ServerOptions> server_options(const ServeOptions& options) {
  server::ServerOptions result = options.server;
  result.read_timeout = milliseconds(options.read_timeout);
  result.write_timeout = milliseconds(options.write_timeout);
  result.idle_timeout = milliseconds(options.idle_timeout);
  result.chat_page = !options.no_chat_page;
  for (const std::string& path : options.api_key_files) {
    NEREID_RETURN_IF_ERROR(read_key_file(path, result.api_keys));
  }
  for (const std::string& key : result.api_keys) {
    if (key.find_first_not_of(" \t") == std::string::npos) {
      return error("--api-key: found an empty key");
    }
  }
  for (const std::string& origin : result.cors_origins) {
    if (origin != "*" && (origin.find("://") == std::string::npos || origin.ends_with('/'))) {
      return error("--cors-origin: found '{}', expected an origin such as https://chat.example",
                   origin);
    }
  }
  for (const std::string& name : result.allowed_hosts) {
    const bool has_port =
        std::ranges::count(name, ':') == 1 || name.find("]:") != std::string::npos;
    if (name.empty() || name.find_first_of("/ ") != std::string::npos || has_port) {
      return error("--allowed-host: found '{}', expected a name without port, such as chat.example",
                   name);
    }
  }
  if (result.max_pending_body_bytes < result.max_body_bytes) {
    return error("--max-pending-body-bytes: {} is less than --max-body-bytes, {}",
                 result.max_pending_body_bytes, result.max_body_bytes);
  }
  return result;
}

ServingOptions serving_options(const ServeOptions& options) {
  ServingOptions serving = options.serving;
  serving.prefix_cache = !options.no_prefix_cache;
  return serving;
}

std::string served_name(const ServeOptions& options, const std::string& model_path) {
  if (!options.served_model_name.empty()) return options.served_model_name;
  std::filesystem::path path(model_path);
  if (path.filename().empty()) path = path.parent_path();  // "folder/"
  return path.extension() == ".gguf" ? path.stem().string() : path.filename().string();
}

void set_up_log(const ServeOptions& options) {
  if (!options.log_level.empty()) {
    set_log_level(log_level_named(options.log_level).value_or(LogLevel::kInfo));
  } else if (std::getenv("NEREID_LOG") == nullptr) {
    set_log_level(LogLevel::kInfo);
  }
  set_log_format(options.log_format == "json" ? LogFormat::kJson : LogFormat::kText);
}

}  // namespace nereid::commands
