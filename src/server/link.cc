// See link.h.
#include "src/server/link.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <tuple>
#include <utility>

namespace nereid::server {
namespace {

namespace asio = boost::asio;

// How long a client may take to read the last answer before the connection is cut, and how much of
// what it still sends is read meanwhile.
constexpr std::chrono::milliseconds kLinger{2000};

}  // namespace

Link::Link(std::unique_ptr<ByteStream> stream, asio::any_io_executor executor,
           std::chrono::milliseconds write_timeout)
    : stream_(std::move(stream)),
      executor_(std::move(executor)),
      write_timeout_(write_timeout),
      bytes_(executor_),
      space_(executor_),
      operation_timer_(executor_) {
  boost::system::error_code ignored;
  auto& socket = stream_->socket();
  const auto endpoint = socket.remote_endpoint(ignored);
  peer_ = endpoint.address().to_string();
  std::ignore = socket.set_option(asio::ip::tcp::no_delay(true), ignored);
  std::ignore = socket.set_option(asio::socket_base::keep_alive(true), ignored);
}

Awaitable<bool> Link::open(std::chrono::milliseconds limit) {
  begin_operation(limit);
  const bool opened = co_await stream_->handshake();
  end_operation();
  if (!opened || closed_) {
    close();
    co_return false;
  }
  asio::co_spawn(
      executor_, [self = shared_from_this()] { return self->read_loop(); }, asio::detached);
  co_return true;
}

Awaitable<> Link::read_loop() {
  while (!closed_) {
    while (unread().size() >= kReadAhead && !discarding_ && !closed_) co_await space_.wait();
    const size_t count = closed_ ? 0 : co_await stream_->read_some(input_);
    if (count == 0) break;
    if (!discarding_) unread_.append(input_.data(), count);
    bytes_.cancel();
  }
  mark_gone();
}

void Link::mark_gone() {
  if (gone_) return;
  gone_ = true;
  bytes_.cancel();
  if (const auto callback = std::exchange(gone_callback_, nullptr)) callback();
}

void Link::on_gone(std::function<void()> callback) {
  gone_callback_ = std::move(callback);
  if (gone_ && gone_callback_) std::exchange(gone_callback_, nullptr)();
}

void Link::consume(size_t count) {
  consumed_ += count;
  if (consumed_ == unread_.size()) {
    unread_.clear();
    consumed_ = 0;
  } else if (consumed_ > kReadAhead) {
    unread_.erase(0, consumed_);
    consumed_ = 0;
  }
  if (unread().size() < kReadAhead) space_.notify();
}

Awaitable<Link::Wait> Link::more(Clock::time_point deadline) {
  const size_t before = unread().size();
  while (unread().size() == before) {
    if (gone_) co_return Wait::kGone;
    if (Clock::now() >= deadline) co_return Wait::kTimeout;
    bytes_.expires_at(deadline);
    co_await bytes_.async_wait(asio::as_tuple(asio::use_awaitable));
  }
  co_return Wait::kBytes;
}

Awaitable<bool> Link::send(std::string_view bytes) {
  if (closed_) co_return false;
  begin_operation(write_timeout_);
  const bool sent = co_await stream_->write(bytes);
  end_operation();
  if (!sent) close();
  co_return sent;
}

Awaitable<> Link::finish() {
  discarding_ = true;
  space_.notify();
  const auto deadline = Clock::now() + kLinger;
  if (!gone_ && !closed_) stream_->shutdown_send(shared_from_this());
  while (!gone_ && !closed_ && Clock::now() < deadline) {
    bytes_.expires_at(deadline);
    co_await bytes_.async_wait(asio::as_tuple(asio::use_awaitable));
  }
  close();
}

void Link::close() {
  if (closed_) return;
  closed_ = true;
  boost::system::error_code ignored;
  std::ignore = stream_->socket().close(ignored);
  operation_timer_.cancel();
  space_.notify();
  mark_gone();
}

void Link::begin_operation(std::chrono::milliseconds limit) {
  operation_deadline_ = Clock::now() + limit;
  if (!operation_watched_ || operation_timer_.expiry() > operation_deadline_) watch_operation();
}

void Link::end_operation() {
  operation_deadline_ = Clock::time_point::max();
}

// One timer serves all operations: it runs on after an operation has ended and is set again only
// when it fires during a later one, which keeps the cost of a timer away from each write.
void Link::watch_operation() {
  operation_watched_ = true;
  operation_timer_.expires_at(operation_deadline_);
  operation_timer_.async_wait([self =
                                   shared_from_this()](const boost::system::error_code& failure) {
    if (failure) return;  // closed, or set again
    if (self->operation_deadline_ <= Clock::now()) {
      boost::system::error_code ignored;
      std::ignore = self->stream_->socket().set_option(asio::socket_base::linger(true, 0), ignored);
      self->close();
    } else if (self->operation_deadline_ == Clock::time_point::max()) {
      self->operation_watched_ = false;
    } else {
      self->watch_operation();
    }
  });
}

}  // namespace nereid::server
