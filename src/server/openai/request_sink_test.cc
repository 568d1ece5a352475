// The queue between the engine's thread and a reader: order, bounds, one wake-up a step.
#include "src/server/openai/request_sink.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace nereid::openai {
namespace {

TEST(QueueSink, OneWakeUpAStep) {
  int notified = 0;
  QueueSink sink({.notify = [&] { ++notified; }});
  TokenBatch batch;
  EXPECT_FALSE(sink.take(batch));
  sink.on_token(0, {.id = 1});
  sink.on_token(1, {.id = 2});
  EXPECT_FALSE(sink.take(batch));  // the step goes on
  sink.on_step_end();
  sink.on_step_end();  // nothing came: nothing is said
  EXPECT_EQ(notified, 1);
  sink.on_token(0, {.id = 3});
  sink.on_finish(0, {.reason = FinishReason::kLength});
  sink.on_step_end();
  ASSERT_TRUE(sink.take(batch));
  ASSERT_EQ(batch.tokens.size(), 3u);
  EXPECT_EQ(batch.tokens[1].choice, 1);
  EXPECT_EQ(batch.tokens[2].token.id, 3);
  EXPECT_EQ(batch.finishes.size(), 1u);
  EXPECT_FALSE(batch.done);
  sink.on_done({.output_tokens = 3});
  ASSERT_TRUE(sink.take(batch));
  EXPECT_EQ(batch.done->output_tokens, 3);
  EXPECT_TRUE(batch.tokens.empty());
}

TEST(QueueSink, SlowReaderLosesTokensNotMemory) {
  QueueSink sink({.max_tokens = 10, .notify = nullptr});
  for (int count = 0; count < 1000; ++count) {
    sink.on_token(0, {.id = count});
    sink.on_step_end();
  }
  sink.on_finish(0, {});
  sink.on_done({});
  TokenBatch batch;
  ASSERT_TRUE(sink.take(batch));
  EXPECT_TRUE(batch.overrun);
  EXPECT_EQ(batch.tokens.size(), 10u);
  EXPECT_TRUE(batch.done.has_value());
}

TEST(QueueSink, BytesAreBoundedToo) {
  QueueSink sink({.max_bytes = 10'000, .notify = nullptr});
  const OutputToken token{.id = 1, .top = std::vector<std::pair<int32_t, float>>(20)};
  for (int count = 0; count < 1000; ++count) {
    sink.on_token(0, token);
    sink.on_step_end();
  }
  TokenBatch batch;
  ASSERT_TRUE(sink.take(batch));
  EXPECT_TRUE(batch.overrun);
  EXPECT_EQ(batch.tokens.size(), 7u);  // of 64 * 21 bytes each
}

TEST(QueueSink, AReaderThatTakesHasAllTheRoomAgain) {
  QueueSink sink({.max_bytes = 1000, .notify = nullptr});
  TokenBatch batch;
  for (int count = 0; count < 100; ++count) {
    for (int id = 0; id < 15; ++id) sink.on_token(0, {.id = id});
    sink.on_step_end();
    ASSERT_TRUE(sink.take(batch));
    ASSERT_FALSE(batch.overrun) << count;
  }
}

TEST(QueueSink, DetachedSaysNothing) {
  int notified = 0, usages = 0;
  QueueSink sink(
      {.notify = [&] { ++notified; }, .on_usage = [&](const RequestUsage&) { ++usages; }});
  sink.detach();
  sink.on_token(0, {.id = 1});
  sink.on_step_end();
  sink.on_done({});
  TokenBatch batch;
  EXPECT_FALSE(sink.take(batch));
  EXPECT_EQ(notified, 0);
  EXPECT_EQ(usages, 1);
}

TEST(QueueSink, TwoThreads) {
  constexpr int kTokens = 20000;
  QueueSink sink({});
  std::thread engine([&] {
    for (int id = 0; id < kTokens; ++id) {
      sink.on_token(0, {.id = id});
      if (id % 3 == 0) sink.on_step_end();
    }
    sink.on_finish(0, {});
    sink.on_done({});
  });
  int next = 0;
  bool done = false, overrun = false;
  TokenBatch batch;
  while (!done) {
    if (!sink.take(batch)) continue;
    overrun |= batch.overrun;
    for (const ChoiceToken& token : batch.tokens) {
      if (!overrun) EXPECT_EQ(token.token.id, next++);
    }
    done = batch.done.has_value();
  }
  engine.join();
  EXPECT_TRUE(overrun || next == kTokens);
}

}  // namespace
}  // namespace nereid::openai
