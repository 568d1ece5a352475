// How the engine's thread wakes a handler: notify() from any thread, wait() in the coroutine.
#pragma once

#include <boost/asio/experimental/concurrent_channel.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "src/server/exchange.h"

namespace nereid::server {

// Notifications between two waits are one. Typical use: a RequestSink appends to a queue under a
// mutex and adds the Wake to the server's StepWakes; the handler loops { wait; take all;
// add_event...; flush }. on_client_gone may notify too, so that one wait covers both. Who notifies
// must have ended before the executor does: StepWakes sees to that for the engine's thread.
class Wake {
 public:
  explicit Wake(const boost::asio::any_io_executor& executor) : channel_(executor, 1) {}

  void notify() { channel_.try_send(boost::system::error_code{}); }

  // Returns after the next notify(), or at once when there was one since the last wait. One waiter.
  Awaitable<void> wait() {
    boost::system::error_code ignored;
    co_await channel_.async_receive(
        boost::asio::redirect_error(boost::asio::use_awaitable, ignored));
  }

 private:
  boost::asio::experimental::concurrent_channel<void(boost::system::error_code)> channel_;
};

}  // namespace nereid::server
