// A sink for tests: keeps everything a request produced, and lets a test wait for its end.
#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "src/engine/serving.h"

namespace nereid {

class CollectingSink final : public RequestSink {
 public:
  void on_prompt(std::span<const OutputToken> tokens) override {
    const std::lock_guard lock(mutex_);
    EXPECT_TRUE(prompt.empty());
    prompt.assign(tokens.begin(), tokens.end());
  }
  void on_token(int32_t choice, const OutputToken& token) override {
    const std::lock_guard lock(mutex_);
    EXPECT_FALSE(finishes.contains(choice)) << "a token after the end";
    tokens[choice].push_back(token);
    changed_.notify_all();
  }
  void on_finish(int32_t choice, const FinishInfo& info) override {
    const std::lock_guard lock(mutex_);
    EXPECT_TRUE(finishes.emplace(choice, info).second) << "choice " << choice << " ends twice";
  }
  void on_done(const RequestUsage& usage) override {
    const std::lock_guard lock(mutex_);
    EXPECT_FALSE(usage_) << "done twice";
    usage_ = usage;
    changed_.notify_all();
  }
  void on_step_end() override {}

  // False: it did not come to that in time.
  bool wait() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(60), [this] { return usage_.has_value(); });
  }
  bool wait_for_tokens(size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(60),
                             [&] { return tokens[0].size() >= count || usage_; });
  }
  std::vector<int32_t> ids(int32_t choice = 0) {
    const std::lock_guard lock(mutex_);
    std::vector<int32_t> ids;
    for (const OutputToken& token : tokens[choice]) ids.push_back(token.id);
    return ids;
  }
  const RequestUsage& usage() const { return *usage_; }

  std::vector<OutputToken> prompt;
  std::map<int32_t, std::vector<OutputToken>> tokens;  // by choice
  std::map<int32_t, FinishInfo> finishes;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<RequestUsage> usage_;
};

}  // namespace nereid
