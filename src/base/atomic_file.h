// Files that appear whole or not at all: written beside the target, then renamed over it.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "src/base/result.h"

namespace nereid {

// Where the bytes for a path that a person named have to go.
struct OutputPlace {
  std::string path;      // with symbolic links followed, also one that leads to nothing yet
  bool is_file = false;  // a regular file or nothing so far: may be renamed over

  // Errors: a directory, links in a circle.
  static Result<OutputPlace> find(const std::string& path);
};

// Several processes may write the same target at once: each has a temporary file of its own and the
// last rename wins. A writer destroyed before commit() leaves nothing behind.
//
// What is no regular file (a device, a pipe, a socket's or another open file under /proc) cannot be
// replaced without destroying it: it is written to as it is, byte by byte as write() is called.
class AtomicFile {
 public:
  // Whether create() could take this path: it is no directory, and its folder, or the device
  // itself, may be written to.
  static Status check_target(const std::string& path);
  // Checks the target and creates "<target>.tmp.<unique>" in its folder, or opens the device. Waits
  // for a reader where the target is a named pipe.
  static Result<AtomicFile> create(const std::string& path);

  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();

  Status write(std::span<const std::byte> bytes);
  Status write(std::string_view text);
  // fsync, rename to the target, fsync of the folder. No writing afterwards.
  Status commit();

 private:
  AtomicFile(std::string path, std::string target, std::string temp_path, int fd)
      : path_(std::move(path)),
        target_(std::move(target)),
        temp_path_(std::move(temp_path)),
        fd_(fd) {}

  std::string path_;  // as it was given, for messages
  std::string target_;
  std::string temp_path_;  // empty: written in place
  int fd_ = -1;
};

// create, write, commit.
Status write_file_atomically(const std::string& path, std::string_view content);

}  // namespace nereid
