// One post to the HTTP threads for all requests that a step of the engine has something for, where
// each request's Wake alone would cost a post and perhaps a system call.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/post.hpp>
#include <memory>
#include <utility>
#include <vector>

#include "src/server/wake.h"

namespace nereid::server {

// Used on the engine's thread only: add() by the sinks of a step, flush() as the engine's delivery
// listener. The wakes are notified on the executor.
class StepWakes {
 public:
  explicit StepWakes(boost::asio::any_io_executor executor) : executor_(std::move(executor)) {}

  void add(std::shared_ptr<Wake> wake) { added_.push_back(std::move(wake)); }
  void flush() {
    if (added_.empty()) return;
    std::vector<std::shared_ptr<Wake>> wakes;
    wakes.reserve(added_.size());
    wakes.swap(added_);
    boost::asio::post(executor_, [wakes = std::move(wakes)] {
      for (const std::shared_ptr<Wake>& wake : wakes) wake->notify();
    });
  }

 private:
  boost::asio::any_io_executor executor_;
  std::vector<std::shared_ptr<Wake>> added_;
};

}  // namespace nereid::server
