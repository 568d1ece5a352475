// A folder of its own for a test, gone afterwards, and the files put into it.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace nereid::hostile {

class TempFolder {
 public:
  TempFolder() {
    // Thousands of small files: in memory where that is to be had.
    const std::filesystem::path shared_memory = "/dev/shm";
    const auto base = std::filesystem::is_directory(shared_memory)
                          ? shared_memory
                          : std::filesystem::temp_directory_path();
    std::string pattern = (base / "nereid_hostile_XXXXXX").string();
    EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
    path_ = pattern;
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }
  std::string write(std::string_view name, std::string_view content) const {
    std::ofstream(file(name), std::ios::binary) << content;
    return file(name);
  }

 private:
  std::string path_;
};

// A message without the path that it begins with, so that expectations can be written down.
inline std::string without(std::string message, const std::string& path) {
  for (size_t at; (at = message.find(path)) != std::string::npos;) {
    message.replace(at, path.size(), "PATH");
  }
  return message;
}

}  // namespace nereid::hostile
