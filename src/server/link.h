// A client's bytes with deadlines: reads ahead all the time, so that a client that disconnects is
// seen at once, and closes on a client that does not take what is sent to it.
#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "src/server/byte_stream.h"
#include "src/server/signal.h"

namespace nereid::server {

// All on the executor, one coroutine using it at a time. Lives as long as an operation is under
// way.
class Link : public std::enable_shared_from_this<Link> {
 public:
  using Clock = std::chrono::steady_clock;
  enum class Wait : uint8_t { kBytes, kGone, kTimeout };

  // Reading ahead pauses at this many bytes; a disconnect behind them is seen only when they have
  // been consumed, or by a write.
  static constexpr size_t kReadAhead = 64 * 1024;

  Link(std::unique_ptr<ByteStream> stream, boost::asio::any_io_executor executor,
       std::chrono::milliseconds write_timeout);

  // TLS handshake; reading starts. False: the connection is of no use.
  Awaitable<bool> open(std::chrono::milliseconds limit);

  std::string_view unread() const { return std::string_view(unread_).substr(consumed_); }
  void consume(size_t count);
  // Waits until more has been read than now, the client has gone, or the deadline.
  Awaitable<Wait> more(Clock::time_point deadline);
  // False: the client is not there any more, or did not take it within the write timeout.
  Awaitable<bool> send(std::string_view bytes);
  // Says that nothing more comes and lets the client read what was sent, for a moment.
  Awaitable<> finish();
  void close();

  // The client has closed its side, or the connection broke.
  bool gone() const { return gone_; }
  void on_gone(std::function<void()> callback);
  const boost::asio::any_io_executor& executor() const { return executor_; }
  const std::string& peer() const { return peer_; }  // address of the client

 private:
  Awaitable<> read_loop();
  void mark_gone();
  // What is under way must end in time, or the socket is closed.
  void begin_operation(std::chrono::milliseconds limit);
  void end_operation();
  void watch_operation();

  std::unique_ptr<ByteStream> stream_;
  boost::asio::any_io_executor executor_;
  std::chrono::milliseconds write_timeout_;
  std::string peer_;
  std::array<char, 16 * 1024> input_;
  std::string unread_;
  size_t consumed_ = 0;
  boost::asio::steady_timer bytes_;  // cancelled when bytes came
  Signal space_;                     // unread bytes were consumed
  boost::asio::steady_timer operation_timer_;
  Clock::time_point operation_deadline_ = Clock::time_point::max();  // max: nothing is under way
  bool operation_watched_ = false;
  bool gone_ = false, closed_ = false, discarding_ = false;
  std::function<void()> gone_callback_;
};

}  // namespace nereid::server
