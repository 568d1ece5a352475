// Files that appear whole or not at all: written beside the target, then renamed over it.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "src/base/result.h"

namespace nereid {

// Several processes may write the same target at once: each has a temporary file of its own and the
// last rename wins. A writer destroyed before commit() leaves nothing behind.
class AtomicFile {
 public:
  // Whether create() could take this path: the folder is there and may be written to, and what the
  // path names, if anything, is a regular file. A device such as /dev/null would be replaced.
  static Status check_target(const std::string& path);
  // Checks the target and creates "<path>.tmp.<unique>" in its folder.
  static Result<AtomicFile> create(const std::string& path);

  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();

  Status write(std::span<const std::byte> bytes);
  Status write(std::string_view text);
  // fsync, rename to the target, fsync of the folder. No writing afterwards.
  Status commit();

 private:
  AtomicFile(std::string path, std::string temp_path, int fd)
      : path_(std::move(path)), temp_path_(std::move(temp_path)), fd_(fd) {}

  std::string path_, temp_path_;
  int fd_ = -1;
};

// create, write, commit.
Status write_file_atomically(const std::string& path, std::string_view content);

}  // namespace nereid
