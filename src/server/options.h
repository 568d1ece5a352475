// What can be set about the server: plain data, filled from flags, environment and configuration
// file by apps/nereid/serve_options.cc. docs/serving.md explains each.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace nereid::server {

// Bounds on what one request may ask for; the routes refuse more with a 400 that names the
// parameter.
struct RequestLimits {
  int32_t max_choices = 64;          // n, and best_of
  int32_t max_prompts = 64;          // prompts in one /v1/completions request
  int32_t max_logprobs = 20;         // top_logprobs, logprobs
  int32_t max_stop = 16;             // stop strings and stop_token_ids, each
  int32_t max_stop_bytes = 1024;     // of one stop string
  int32_t max_logit_bias = 1024;     // entries
  int32_t max_messages = 2048;       // of a conversation
  int32_t max_tools = 128;           // tools of one request
  int32_t max_schema_bytes = 65536;  // of a JSON schema, regular expression or grammar
  int32_t max_nesting = 64;          // of the JSON of a request, and of a schema
};

struct ServerOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 8000;  // 0: any free one
  int http_threads = 1;

  uint64_t max_body_bytes = uint64_t{8} << 20;
  uint64_t max_pending_body_bytes = uint64_t{256} << 20;  // of all requests together
  uint32_t max_header_bytes = 32768;                      // request line and headers
  uint32_t max_target_bytes = 4096;
  int32_t max_connections = 1024;
  std::chrono::milliseconds read_timeout{30'000};   // from a request's first byte to its last
  std::chrono::milliseconds write_timeout{30'000};  // of each write until the client has taken it
  std::chrono::milliseconds idle_timeout{75'000};   // between requests of a connection
  RequestLimits request;

  std::string tls_cert, tls_key;           // PEM files; both or none
  std::vector<std::string> api_keys;       // empty: everybody may
  std::vector<std::string> cors_origins;   // empty: off; "*": every origin
  std::vector<std::string> allowed_hosts;  // names that Host may say; "*": every one
  std::string tool_parser = "auto";        // how the model writes calls; openai/tool_format.h
  bool chat_page = true;                   // the page at /
};

}  // namespace nereid::server
