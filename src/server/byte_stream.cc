// See byte_stream.h.
#include "src/server/byte_stream.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

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
  Awaitable<> shutdown_send() override {
    boost::system::error_code ignored;
    socket_.shutdown(tcp::socket::shutdown_send, ignored);
    co_return;
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
  Awaitable<> shutdown_send() override {
    // Sends close_notify and would wait for the client's; the connection's deadline ends that.
    co_await stream_.async_shutdown(kAsTuple);
    boost::system::error_code ignored;
    socket().shutdown(tcp::socket::shutdown_send, ignored);
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
