// See byte_stream.h.
#include "src/server/byte_stream.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <tuple>

namespace nereid::server {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

constexpr auto kAsTuple = asio::as_tuple(asio::use_awaitable);

class PlainStream : public ByteStream {
 public:
  explicit PlainStream(tcp::socket socket) : socket_(std::move(socket)) {}

  Awaitable<bool> handshake() override { co_return true; }
  Awaitable<size_t> read_some(std::span<char> into) override {
    const auto [failure, count] =
        co_await socket_.async_read_some(asio::buffer(into.data(), into.size()), kAsTuple);
    co_return failure ? 0 : count;
  }
  Awaitable<bool> write(std::string_view bytes) override {
    const auto [failure, count] =
        co_await asio::async_write(socket_, asio::buffer(bytes.data(), bytes.size()), kAsTuple);
    co_return !failure;
  }
  void shutdown_send(std::shared_ptr<void>) override {
    boost::system::error_code ignored;
    std::ignore = socket_.shutdown(tcp::socket::shutdown_send, ignored);
  }
  tcp::socket& socket() override { return socket_; }

 private:
  tcp::socket socket_;
};

class TlsStream : public ByteStream {
 public:
  TlsStream(tcp::socket socket, asio::ssl::context& tls) : stream_(std::move(socket), tls) {}

  Awaitable<bool> handshake() override {
    const auto [failure] =
        co_await stream_.async_handshake(asio::ssl::stream_base::server, kAsTuple);
    co_return !failure;
  }
  Awaitable<size_t> read_some(std::span<char> into) override {
    const auto [failure, count] =
        co_await stream_.async_read_some(asio::buffer(into.data(), into.size()), kAsTuple);
    co_return failure ? 0 : count;
  }
  Awaitable<bool> write(std::string_view bytes) override {
    const auto [failure, count] =
        co_await asio::async_write(stream_, asio::buffer(bytes.data(), bytes.size()), kAsTuple);
    co_return !failure;
  }
  void shutdown_send(std::shared_ptr<void> keep) override {
    // Sends close_notify and then waits for the client's, which nobody here does: the read loop
    // sees the end first, and a read after the end of a socket never returns (epoll tells it once).
    stream_.async_shutdown([keep = std::move(keep)](const boost::system::error_code&) {});
  }
  tcp::socket& socket() override { return stream_.next_layer(); }

 private:
  asio::ssl::stream<tcp::socket> stream_;
};

}  // namespace

std::unique_ptr<ByteStream> make_stream(tcp::socket socket, asio::ssl::context* tls) {
  if (tls == nullptr) return std::make_unique<PlainStream>(std::move(socket));
  return std::make_unique<TlsStream>(std::move(socket), *tls);
}

}  // namespace nereid::server
