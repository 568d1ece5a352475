// A client's byte stream, plain or TLS, behind one interface: the connection is compiled once.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <memory>
#include <span>
#include <string_view>

#include "src/server/exchange.h"

namespace nereid::server {

// One read and one write may be under way at a time; all calls on the socket's executor.
class ByteStream {
 public:
  virtual ~ByteStream() = default;
  virtual Awaitable<bool> handshake() = 0;
  // 0: the client has closed its side, or an error.
  virtual Awaitable<size_t> read_some(std::span<char> into) = 0;
  // All of it. False: error.
  virtual Awaitable<bool> write(std::string_view bytes) = 0;
  // Begins to tell the client that nothing more comes; it may still send. The stream lives until
  // `keep` is let go.
  virtual void shutdown_send(std::shared_ptr<void> keep) = 0;
  virtual boost::asio::ip::tcp::socket& socket() = 0;
};

// tls: null for plain TCP; outlives the stream.
std::unique_ptr<ByteStream> make_stream(boost::asio::ip::tcp::socket socket,
                                        boost::asio::ssl::context* tls);

}  // namespace nereid::server
