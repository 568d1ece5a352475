// Long work off the HTTP threads, so that one request's tokenisation does not stall the others'
// streams.
#pragma once

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <type_traits>
#include <utility>

#include "src/server/exchange.h"

namespace nereid::server {

// auto ids = co_await offload(context.workers, [&] { return tokenizer->encode(text, {}); });
// What `work` captures lives as long as the caller's coroutine, which waits for it.
template <typename Work>
Awaitable<std::invoke_result_t<Work>> offload(boost::asio::thread_pool& workers, Work work) {
  using R = std::invoke_result_t<Work>;
  auto body = [](Work inner) -> Awaitable<R> { co_return inner(); };
  co_return co_await boost::asio::co_spawn(workers, body(std::move(work)),
                                           boost::asio::use_awaitable);
}

}  // namespace nereid::server
