// The promise of the project as a test. Watched is every allocation that the device has while a
// model runs: weights with their scales and minima, norms, RoPE tables, KV cache, activations,
// sampler and step buffers. Whatever changes between two points in time was written by a traced
// launch of a kernel whose code came from the pack, or is one of the buffers that take the
// integers, sampling parameters and masks of a step (Runner::input_buffers), and was uploaded to.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "src/engine/model_engine.h"

namespace nereid {
namespace {

using Allocations = std::map<DevicePtr, uint64_t>;  // start -> bytes
using Snapshot = std::map<DevicePtr, std::vector<std::byte>>;
using Kind = TraceEvent::Kind;

// What the device holds, from a trace that goes back to its opening.
Allocations live_allocations(const Trace& trace) {
  Allocations live;
  for (const TraceEvent& event : trace.events()) {
    if (event.kind == Kind::kAlloc) live[event.buffers.at(0).pointer] = event.bytes;
    if (event.kind == Kind::kFree) live.erase(event.buffers.at(0).pointer);
  }
  std::erase_if(live, [](const auto& allocation) { return allocation.second == 0; });
  return live;
}

// Kernels whose code lies in the pack.
std::set<const LoadedKernel*> kernels_of_pack(const Trace& trace, const Pack& pack) {
  std::set<const std::byte*> images;
  for (const PackVariant& variant : pack.variants()) {
    for (const PackChoice& choice : variant.choices) images.insert(choice.blob.data());
  }
  std::set<const LoadedKernel*> kernels;
  for (const TraceEvent& event : trace.events()) {
    if (event.kind == Kind::kLoad && images.contains(event.image)) kernels.insert(event.kernel);
  }
  return kernels;
}

class TritonOnly : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    auto loaded = ModelEngine::load({.model_path = std::string(NEREID_TEST_DATA) + "/" + GetParam(),
                                     .device = "cpu",
                                     .trace_path = testing::TempDir() + "triton_only_trace.json"});
    ASSERT_TRUE(loaded) << loaded.error().message;
    engine_ = std::move(*loaded);
    memory_ = live_allocations(*engine_->trace());
    kernels_ = kernels_of_pack(*engine_->trace(), *engine_->pack());
    for (const auto& entry : engine_->runner().decoder().buffers()) {
      names_[entry.buffer->ptr()] =
          entry.layer < 0 ? entry.name : fmt::format("{}[{}]", entry.name, entry.layer);
    }
    for (const Buffer* buffer : engine_->runner().input_buffers()) {
      names_[buffer->ptr()] = "input buffer";
      inputs_.insert(buffer->ptr());
    }
    for (const auto& [start, name] : names_) EXPECT_TRUE(memory_.contains(start)) << name;
  }

  // "logits"; what has no name by its place: "allocation 12 (4096 bytes)"
  std::string name_of(DevicePtr start) const {
    const auto named = names_.find(start);
    if (named != names_.end()) return named->second;
    const auto at = memory_.find(start);
    if (at == memory_.end()) return "unknown memory";
    return fmt::format("allocation {} ({} bytes)", std::distance(memory_.begin(), at), at->second);
  }

  DevicePtr address_of(const std::string& name) const {
    for (const auto& [start, found] : names_) {
      if (found == name) return start;
    }
    ADD_FAILURE() << "no buffer is called " << name;
    return 0;
  }

  Snapshot snapshot() {
    Snapshot result;
    for (const auto& [start, bytes] : memory_) {
      std::vector<std::byte> content(bytes);
      EXPECT_TRUE(engine_->device().download(content, start));
      result.emplace(start, std::move(content));
    }
    return result;
  }

  // A line for everything since the trace was cleared that the promise does not allow.
  std::vector<std::string> violations(const Snapshot& before) {
    std::vector<std::string> lines;
    std::set<DevicePtr> by_kernels, by_uploads;
    for (const TraceEvent& event : engine_->trace()->events()) {
      if (event.kind == Kind::kAlloc || event.kind == Kind::kFree) lines.emplace_back("new memory");
      if (event.kind == Kind::kLaunch && !kernels_.contains(event.kernel)) {
        lines.push_back(fmt::format("{} is not of the pack", event.label));
        continue;
      }
      for (const TraceBuffer& buffer : event.buffers) {
        const bool writes = buffer.access == Access::kWrite || buffer.access == Access::kReadWrite;
        if (event.kind == Kind::kLaunch && writes) by_kernels.insert(buffer.allocation);
        if (event.kind != Kind::kUpload) continue;
        by_uploads.insert(buffer.allocation);
        if (!inputs_.contains(buffer.allocation)) {
          lines.push_back(name_of(buffer.allocation) + " uploaded");
        }
      }
    }
    const Snapshot after = snapshot();
    for (const auto& [start, content] : before) {
      const bool explained = by_kernels.contains(start) || by_uploads.contains(start);
      if (content != after.at(start) && !explained) lines.push_back(name_of(start) + " changed");
    }
    return lines;
  }

  void generate(int32_t tokens, float temperature) {
    std::vector<int32_t> prompt(40, 5);
    prompt[3] = 17;
    const auto result = engine_->generate(
        {.prompt_ids = prompt,
         .max_tokens = tokens,
         .ignore_eos = true,
         .sampling = {
             .temperature = temperature, .repetition_penalty = 1.1f, .logit_bias = {{7, 1.5f}}}});
    ASSERT_TRUE(result) << result.error().message;
    ASSERT_EQ(result->token_ids.size(), static_cast<size_t>(tokens));
  }

  void score() {
    const std::vector<int32_t> ids(50, 9);
    const auto result = engine_->score({.ids = ids, .top_n = 3});
    ASSERT_TRUE(result) << result.error().message;
  }

  std::unique_ptr<ModelEngine> engine_;
  Allocations memory_;
  std::set<const LoadedKernel*> kernels_;
  std::map<DevicePtr, std::string> names_;
  std::set<DevicePtr> inputs_;
};

TEST_P(TritonOnly, EveryChangeOfMemoryIsAKernelsOrAnInput) {
  generate(2, 0.0f);
  const Snapshot before = snapshot();
  engine_->mutable_trace()->clear();
  generate(5, 0.8f);
  generate(2, 0.0f);
  score();
  ASSERT_TRUE(engine_->runner().exercise());  // what only serving uses
  EXPECT_THAT(violations(before), testing::IsEmpty());
  // The steps did something.
  const Snapshot after = snapshot();
  for (const char* name : {"logits", "k_cache[0]"}) {
    EXPECT_NE(before.at(address_of(name)), after.at(address_of(name))) << name;
  }
  EXPECT_TRUE(std::ranges::any_of(
      inputs_, [&](DevicePtr input) { return before.at(input) != after.at(input); }));
}

TEST_P(TritonOnly, WeightsAreAmongWhatIsWatched) {
  uint64_t weights = 0, watched = 0;
  auto source = open_model(std::string(NEREID_TEST_DATA) + "/" + GetParam());
  ASSERT_TRUE(source);
  for (const StoredTensor& tensor : (*source)->tensors()) weights += tensor.bytes.size();
  for (const auto& [start, bytes] : memory_) {
    if (!names_.contains(start)) watched += bytes;
  }
  // Some are among the named buffers, the rest is not: norms, biases, scales, minima, ...
  EXPECT_GT(watched, weights / 4);
  const auto layers = static_cast<size_t>(engine_->config().num_layers);
  EXPECT_GT(memory_.size(), names_.size() + 5 * layers);
}

TEST_P(TritonOnly, AWriteBehindTheTraceWouldBeNoticed) {
  generate(2, 0.0f);
  const Snapshot before = snapshot();
  engine_->mutable_trace()->clear();
  // The CPU driver's addresses are the host's.
  std::vector<std::string> expected;
  for (const auto& [start, bytes] : memory_) {
    auto* const last = reinterpret_cast<std::byte*>(start + bytes - 1);
    *last ^= std::byte{0x5a};
    expected.push_back(name_of(start) + " changed");
  }
  EXPECT_THAT(violations(before), testing::ElementsAreArray(expected));
}

TEST_P(TritonOnly, AnUploadElsewhereWouldBeNoticed) {
  generate(2, 0.0f);
  const Snapshot before = snapshot();
  engine_->mutable_trace()->clear();
  const std::vector<std::byte> junk(64, std::byte{0x5a});
  ASSERT_TRUE(engine_->device().upload(address_of("residual"), junk));
  EXPECT_THAT(violations(before), testing::ElementsAre("residual uploaded"));
}

TEST_P(TritonOnly, AKernelFromElsewhereWouldBeNoticed) {
  const Snapshot before = snapshot();
  engine_->mutable_trace()->clear();
  kernels_.clear();
  generate(1, 0.0f);
  EXPECT_THAT(violations(before), testing::Contains(testing::HasSubstr("is not of the pack")));
}

TEST_P(TritonOnly, NothingIsLoadedAfterReady) {
  bool ready = false;
  int loads = 0;
  generate(3, 0.8f);
  for (const TraceEvent& event : engine_->trace()->events()) {
    if (event.kind == Kind::kMark && event.label == "ready") ready = true;
    loads += event.kind == Kind::kLoad ? 1 : 0;
    if (!ready) continue;
    EXPECT_NE(event.kind, Kind::kLoad) << event.label << " loaded after ready";
    EXPECT_NE(event.kind, Kind::kAlloc) << "memory taken after ready";
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
