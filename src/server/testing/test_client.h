// An HTTP client for tests of the server: sends any bytes, waits never longer than a few seconds.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace nereid::server {

struct TestResponse {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // chunks put together

  std::string header(const std::string& name) const {
    const auto at = headers.find(name);
    return at == headers.end() ? "" : at->second;
  }
};

// One connection.
class TestClient {
 public:
  struct Options {
    int receive_buffer = 0;                    // bytes of the socket's; 0: the system's
    std::chrono::milliseconds patience{5000};  // of each read
  };
  explicit TestClient(uint16_t port) : TestClient(port, Options{}) {}
  TestClient(uint16_t port, const Options& options);
  ~TestClient();
  TestClient(TestClient&& other) noexcept;
  TestClient(const TestClient&) = delete;

  bool send(std::string_view bytes);  // false: the connection is broken
  // The next whole answer; null when the connection ends or time is up before. `to_head`: the
  // answer to a HEAD request.
  std::shared_ptr<TestResponse> read_response(bool to_head = false);
  // What arrives until the text does, or the connection ends or time is up.
  std::string read_until(std::string_view text);
  std::string read_to_end();  // until the server closes
  bool closed_by_server();    // nothing more comes
  void shutdown_send();
  void close();
  void reset();  // closes with RST

  // A whole request on this connection.
  std::shared_ptr<TestResponse> get(std::string_view path, std::string_view headers = "");
  std::shared_ptr<TestResponse> post(std::string_view path, std::string_view json,
                                     std::string_view headers = "");

 private:
  bool receive();  // more into buffer_
  std::string read_chunks();
  int socket_ = -1;
  std::string buffer_;
};

std::string get_request(std::string_view path, std::string_view headers = "");
std::string post_request(std::string_view path, std::string_view json,
                         std::string_view headers = "");
// Takes the answer's head apart; the body is left to the caller.
TestResponse parse_head(std::string_view head);

}  // namespace nereid::server
