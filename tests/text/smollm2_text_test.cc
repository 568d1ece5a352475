// SmolLM2's own vocabulary and chat template, read from its GGUF file, against transformers reading
// the same file (tools/golden/text_goldens.py). Skipped where `./dev setup` has not fetched the
// model.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "src/weights/source.h"

namespace nereid {
namespace {

using json = nlohmann::ordered_json;  // objects keep their order: templates show it
using Ids = std::vector<int32_t>;

constexpr char kModel[] = NEREID_SOURCE_DIR "/.cache/models/SmolLM2-135M-Instruct.Q4_1.gguf";

class SmolLm2Text : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(kModel)) GTEST_SKIP() << kModel << " is not there";
    auto source = open_model(kModel);
    ASSERT_TRUE(source) << source.error().message;
    source_ = std::move(*source);
    std::ifstream file(NEREID_SOURCE_DIR "/tests/text/smollm2_ids.json");
    golden_ = json::parse(file);
  }
  std::unique_ptr<ModelSource> source_;
  json golden_;
};

TEST_F(SmolLm2Text, Ids) {
  const auto tokenizer = source_->tokenizer();
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  ASSERT_GE(golden_["cases"].size(), 150u);
  for (const json& golden_case : golden_["cases"]) {
    const std::string text = golden_case["text"];
    SCOPED_TRACE(text);
    const Ids ids = golden_case["ids"];
    EXPECT_EQ((*tokenizer)->encode(text, {}).value(), ids);
    EXPECT_EQ((*tokenizer)->decode(ids, false).value(), golden_case["decoded"].get<std::string>());
    text::StreamDecoder decoder(*tokenizer, false);
    std::string streamed;
    for (const int32_t id : ids) streamed += decoder.push(id).value();
    EXPECT_EQ(streamed + decoder.finish(), golden_case["decoded"].get<std::string>());
  }
}

TEST_F(SmolLm2Text, ChatPrompts) {
  const auto tokenizer = source_->tokenizer();
  const auto chat_template = source_->chat_template();
  ASSERT_TRUE(tokenizer && chat_template && *chat_template);
  ASSERT_GE(golden_["chats"].size(), 5u);
  for (const json& chat : golden_["chats"]) {
    const json input = {{"messages", chat["messages"]}, {"add_generation_prompt", true}};
    const auto prompt = (*chat_template)->render(input.dump());
    ASSERT_TRUE(prompt) << prompt.error().message;
    EXPECT_EQ(*prompt, chat["prompt"].get<std::string>());
    EXPECT_EQ((*tokenizer)->encode(*prompt, {}).value(), chat["ids"].get<Ids>());
  }
}

}  // namespace
}  // namespace nereid
