// See test_client.h.
#include "src/server/testing/test_client.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "src/base/check.h"

namespace nereid::server {

TestClient::TestClient(uint16_t port, const Options& options) {
  socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  NEREID_CHECK(socket_ >= 0, "no socket");
  if (options.receive_buffer > 0) {
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &options.receive_buffer,
                 sizeof(options.receive_buffer));
  }
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(options.patience);
  const timeval limit{.tv_sec = micros.count() / 1'000'000, .tv_usec = micros.count() % 1'000'000};
  ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  ::setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
    close();
}

TestClient::~TestClient() {
  close();
}

TestClient::TestClient(TestClient&& other) noexcept
    : socket_(std::exchange(other.socket_, -1)), buffer_(std::move(other.buffer_)) {}

bool TestClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(count));
  }
  return true;
}

bool TestClient::receive() {
  std::array<char, 16384> bytes;
  const ssize_t count = ::recv(socket_, bytes.data(), bytes.size(), 0);
  if (count <= 0) return false;
  buffer_.append(bytes.data(), static_cast<size_t>(count));
  return true;
}

std::string TestClient::read_until(std::string_view text) {
  size_t end = buffer_.find(text);
  while (end == std::string::npos && receive()) end = buffer_.find(text);
  const size_t size = end == std::string::npos ? buffer_.size() : end + text.size();
  std::string result = buffer_.substr(0, size);
  buffer_.erase(0, size);
  return result;
}

std::string TestClient::read_to_end() {
  while (receive()) {
  }
  return std::exchange(buffer_, {});
}

bool TestClient::closed_by_server() {
  char byte = 0;
  return buffer_.empty() && ::recv(socket_, &byte, 1, MSG_PEEK) == 0;
}

void TestClient::shutdown_send() {
  ::shutdown(socket_, SHUT_WR);
}

void TestClient::close() {
  if (socket_ >= 0) ::close(std::exchange(socket_, -1));
}

void TestClient::reset() {
  const linger now{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(socket_, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  close();
}

TestResponse parse_head(std::string_view head) {
  TestResponse response;
  if (!head.starts_with("HTTP/1.") || head.size() < 12) return response;
  response.status = std::stoi(std::string(head.substr(9, 3)));
  size_t at = head.find("\r\n");
  while (at != std::string_view::npos && at + 2 < head.size()) {
    const size_t end = head.find("\r\n", at + 2);
    const std::string_view line = head.substr(at + 2, end - at - 2);
    const size_t colon = line.find(": ");
    if (colon != std::string_view::npos) {
      std::string name(line.substr(0, colon));
      std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
      response.headers[name] = line.substr(colon + 2);
    }
    at = end;
  }
  return response;
}

std::shared_ptr<TestResponse> TestClient::read_response(bool to_head) {
  const std::string head = read_until("\r\n\r\n");
  if (!head.ends_with("\r\n\r\n")) return nullptr;
  auto whole = std::make_shared<TestResponse>(parse_head(head));
  TestResponse& response = *whole;
  if (to_head || response.status == 204 || response.status == 100) return whole;
  if (response.header("transfer-encoding") == "chunked") {
    response.body = read_chunks();
    return whole;
  }
  const std::string length = response.header("content-length");
  if (length.empty()) {
    response.body = read_to_end();
    return whole;
  }
  const auto size = static_cast<size_t>(std::stoull(length));
  while (buffer_.size() < size) {
    if (!receive()) return nullptr;
  }
  response.body = buffer_.substr(0, size);
  buffer_.erase(0, size);
  return whole;
}

// Broken off chunks end with what came; the terminating chunk adds nothing.
std::string TestClient::read_chunks() {
  std::string body;
  while (true) {
    const std::string line = read_until("\r\n");
    if (!line.ends_with("\r\n")) return body + "<broken off>";
    const size_t size = std::stoull(line, nullptr, 16);
    while (buffer_.size() < size + 2) {
      if (!receive()) return body + "<broken off>";
    }
    body += buffer_.substr(0, size);
    buffer_.erase(0, size + 2);
    if (size == 0) return body;
  }
}

std::shared_ptr<TestResponse> TestClient::get(std::string_view path, std::string_view headers) {
  if (!send(get_request(path, headers))) return nullptr;
  return read_response();
}

std::shared_ptr<TestResponse> TestClient::post(std::string_view path, std::string_view json,
                                               std::string_view headers) {
  if (!send(post_request(path, json, headers))) return nullptr;
  return read_response();
}

std::string get_request(std::string_view path, std::string_view headers) {
  return fmt::format("GET {} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", path, headers);
}

std::string post_request(std::string_view path, std::string_view json, std::string_view headers) {
  return fmt::format(
      "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
      "{}\r\n{}"
      "\r\n{}",
      path, json.size(), headers, json);
}

}  // namespace nereid::server
