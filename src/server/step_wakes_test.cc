// A step's wakes reach all their waiters by one post.
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>

#include "src/server/step_wakes.h"

namespace nereid::server {
namespace {

namespace asio = boost::asio;

TEST(StepWakes, PostsOnceForAllOfAStep) {
  asio::io_context io;
  StepWakes step(io.get_executor());
  std::vector<std::shared_ptr<Wake>> wakes;
  int woken = 0;
  for (int index = 0; index < 3; ++index) {
    wakes.push_back(std::make_shared<Wake>(io.get_executor()));
    asio::co_spawn(
        io,
        [&woken, wake = wakes.back()]() -> Awaitable<> {
          co_await wake->wait();
          ++woken;
        },
        asio::detached);
  }
  io.poll();
  for (const auto& wake : wakes) step.add(wake);
  EXPECT_EQ(io.poll(), 0u);  // nothing before the step's end
  step.flush();
  EXPECT_EQ(io.poll_one(), 1u);  // the one post, which wakes all
  io.poll();
  EXPECT_EQ(woken, 3);
  step.flush();
  EXPECT_EQ(io.poll(), 0u);
}

TEST(StepWakes, OutlivesWaitersThatHaveGone) {
  asio::io_context io;
  StepWakes step(io.get_executor());
  auto wake = std::make_shared<Wake>(io.get_executor());
  step.add(wake);
  wake.reset();  // its request has ended
  step.flush();
  EXPECT_EQ(io.poll_one(), 1u);
}

}  // namespace
}  // namespace nereid::server
