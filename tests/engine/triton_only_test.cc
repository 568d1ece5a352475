// The promise of the project as a test: whatever of a model's memory changes while it runs was
// written by a traced launch of a kernel from the pack, or is one of the buffers that take the
// integers of a step.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

#include "src/engine/model_engine.h"

namespace nereid {
namespace {

using Snapshot = std::map<std::string, std::vector<std::byte>>;

std::string name_of(const nn::Decoder::NamedBuffer& entry) {
  return entry.layer < 0 ? entry.name : fmt::format("{}[{}]", entry.name, entry.layer);
}

Snapshot snapshot(ModelEngine& engine) {
  Snapshot result;
  for (const auto& entry : engine.runner().decoder().buffers()) {
    std::vector<std::byte> bytes(entry.buffer->bytes());
    EXPECT_TRUE(engine.device().download(bytes, entry.buffer->ptr()));
    result.emplace(name_of(entry), std::move(bytes));
  }
  return result;
}

// Start addresses of what was written since the trace was cleared, by kernels and by uploads.
struct Written {
  std::set<DevicePtr> by_kernels, by_uploads;
};

Written written(const Trace& trace) {
  Written result;
  for (const TraceEvent& event : trace.events()) {
    for (const TraceBuffer& buffer : event.buffers) {
      const bool writes = buffer.access == Access::kWrite || buffer.access == Access::kReadWrite;
      if (event.kind == TraceEvent::Kind::kUpload) result.by_uploads.insert(buffer.allocation);
      if (event.kind == TraceEvent::Kind::kLaunch && writes) {
        EXPECT_NE(event.decl, nullptr);
        result.by_kernels.insert(buffer.allocation);
      }
    }
  }
  return result;
}

// Names of model buffers that changed without a kernel having written them.
std::vector<std::string> unexplained(ModelEngine& engine, const Snapshot& before) {
  const Written writes = written(*engine.trace());
  const Snapshot after = snapshot(engine);
  std::vector<std::string> names;
  for (const auto& entry : engine.runner().decoder().buffers()) {
    const std::string name = name_of(entry);
    const bool changed = before.at(name) != after.at(name);
    if (changed && !writes.by_kernels.contains(entry.buffer->ptr())) names.push_back(name);
    if (writes.by_uploads.contains(entry.buffer->ptr())) names.push_back(name + " uploaded");
  }
  return names;
}

class TritonOnly : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    auto loaded = ModelEngine::load({.model_path = std::string(NEREID_TEST_DATA) + "/" + GetParam(),
                                     .device = "cpu",
                                     .trace_path = testing::TempDir() + "triton_only_trace.json"});
    ASSERT_TRUE(loaded) << loaded.error().message;
    engine_ = std::move(*loaded);
  }

  void generate(int32_t tokens, float temperature) {
    std::vector<int32_t> prompt(40, 5);
    prompt[3] = 17;
    const auto result =
        engine_->generate({.prompt_ids = prompt,
                           .max_tokens = tokens,
                           .ignore_eos = true,
                           .sampling = {.temperature = temperature, .repetition_penalty = 1.1f}});
    ASSERT_TRUE(result) << result.error().message;
    ASSERT_EQ(result->token_ids.size(), static_cast<size_t>(tokens));
  }

  std::unique_ptr<ModelEngine> engine_;
};

TEST_P(TritonOnly, EveryChangeOfAModelBufferIsAKernels) {
  generate(2, 0.0f);
  const Snapshot before = snapshot(*engine_);
  engine_->mutable_trace()->clear();
  generate(5, 0.8f);
  EXPECT_THAT(unexplained(*engine_, before), testing::IsEmpty());
  // The step did something: logits and the first layer's keys differ.
  const Snapshot after = snapshot(*engine_);
  EXPECT_NE(before.at("logits"), after.at("logits"));
  EXPECT_NE(before.at("k_cache[0]"), after.at("k_cache[0]"));
}

TEST_P(TritonOnly, AnyOtherWriteWouldBeNoticed) {
  generate(2, 0.0f);
  const Snapshot before = snapshot(*engine_);
  engine_->mutable_trace()->clear();
  const auto buffers = engine_->runner().decoder().buffers();
  const std::vector<std::byte> junk(64, std::byte{0x5a});
  ASSERT_TRUE(engine_->device().upload(buffers.front().buffer->ptr(), junk));
  EXPECT_THAT(unexplained(*engine_, before), testing::ElementsAre("residual", "residual uploaded"));
}

TEST_P(TritonOnly, NothingIsLoadedAfterReady) {
  bool ready = false;
  int loads = 0;
  generate(3, 0.8f);
  for (const TraceEvent& event : engine_->trace()->events()) {
    if (event.kind == TraceEvent::Kind::kMark && event.label == "ready") ready = true;
    loads += event.kind == TraceEvent::Kind::kLoad ? 1 : 0;
    if (!ready) continue;
    EXPECT_NE(event.kind, TraceEvent::Kind::kLoad) << event.label << " loaded after ready";
    EXPECT_NE(event.kind, TraceEvent::Kind::kAlloc) << "memory taken after ready";
  }
  EXPECT_TRUE(ready);
  EXPECT_GT(loads, 10);
}

INSTANTIATE_TEST_SUITE_P(Models, TritonOnly,
                         testing::Values("tiny_llama", "tiny_qwen3", "tiny_llama_q4_1.gguf"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::ranges::replace(name, '.', '_');
                           return name;
                         });

}  // namespace
}  // namespace nereid
