// A file mapped read-only: the way weights and packs are read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "src/base/result.h"

namespace nereid {

// The bytes live as long as the object. A file that another process truncates while it is mapped
// raises SIGBUS on access; nothing here can prevent that.
class MappedFile {
 public:
  // Regular files only (symlinks are followed); an empty file maps to an empty span.
  static Result<MappedFile> open(const std::string& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  uint64_t size() const { return size_; }
  const std::string& path() const { return path_; }

  // Drops the range's pages from memory (they are read again when touched). Only whole pages inside
  // the range are dropped; the range is cut to the file.
  void release(uint64_t offset, uint64_t size) const;

 private:
  MappedFile(std::string path, const std::byte* data, size_t size)
      : path_(std::move(path)), data_(data), size_(size) {}

  std::string path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace nereid
