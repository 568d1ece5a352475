// Reads the committed expected results of this folder's tests.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "src/text/tokenizer.h"

namespace nereid::text {

inline std::string read_testdata(const std::string& name) {
  std::ifstream file(std::string(NEREID_TEXT_DATA "/") + name, std::ios::binary);
  EXPECT_TRUE(file) << name << " is missing";
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

inline nlohmann::ordered_json read_json_testdata(const std::string& name) {
  return nlohmann::ordered_json::parse(read_testdata(name));
}

inline GgufVocabulary vocabulary_of(const nlohmann::ordered_json& json) {
  GgufVocabulary vocabulary;
  vocabulary.model = json.at("model");
  vocabulary.pre = json.at("pre");
  vocabulary.tokens = json.at("tokens").get<std::vector<std::string>>();
  vocabulary.types = json.at("types").get<std::vector<int32_t>>();
  if (json.contains("scores")) vocabulary.scores = json["scores"].get<std::vector<float>>();
  if (json.contains("merges")) vocabulary.merges = json["merges"].get<std::vector<std::string>>();
  vocabulary.bos_id = json.value("bos_id", -1);
  vocabulary.eos_id = json.value("eos_id", -1);
  vocabulary.unk_id = json.value("unk_id", -1);
  if (json.contains("add_bos")) vocabulary.add_bos = json["add_bos"].get<bool>();
  return vocabulary;
}

inline std::string stream(const std::shared_ptr<Tokenizer>& tokenizer,
                          const std::vector<int32_t>& ids, bool skip_special_tokens) {
  StreamDecoder decoder(tokenizer, skip_special_tokens);
  std::string text;
  for (const int32_t id : ids) text += decoder.push(id).value();
  return text + decoder.finish();
}

}  // namespace nereid::text
