// Temporary file, fsync, rename; in place what is no regular file.
#include "src/base/atomic_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "src/base/check.h"

namespace nereid {

namespace {

namespace fs = std::filesystem;
constexpr int kMaxLinks = 40;  // as the kernel follows at most

// The folder of `path`, as system calls take it.
std::string folder_of(const std::string& path) {
  const std::string folder = fs::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

std::string write_failure(int code) {
  return code == EFBIG ? "larger than the limit on the size of files (ulimit -f)"
                       : std::strerror(code);
}

Result<OutputPlace> place_of(const std::string& path) {
  NEREID_TRY(OutputPlace place, OutputPlace::find(path));
  struct stat info{};
  if (place.is_file && ::stat(folder_of(place.path).c_str(), &info) == 0 &&
      !S_ISDIR(info.st_mode)) {
    return error("{}: cannot create: {}", path, std::strerror(ENOTDIR));
  }
  if (::access((place.is_file ? folder_of(place.path) : place.path).c_str(), W_OK) != 0) {
    return error("{}: cannot {}: {}", path, place.is_file ? "create" : "write",
                 std::strerror(errno));
  }
  return place;
}

}  // namespace

Result<OutputPlace> OutputPlace::find(const std::string& path) {
  struct stat info{};
  const bool exists = ::stat(path.c_str(), &info) == 0;
  if (exists && S_ISDIR(info.st_mode)) return error("{}: is a directory, expected a file", path);
  fs::path at = path;
  for (int links = 0; links < kMaxLinks; ++links) {
    std::error_code code;
    const fs::path target = fs::read_symlink(at, code);
    if (code) return OutputPlace{at.string(), !exists || S_ISREG(info.st_mode)};
    const fs::path folder = fs::canonical(folder_of(at.string()), code);
    // /dev/stdout and its like: an open file, whatever name the link shows for it.
    if (folder.string().starts_with("/proc/")) return OutputPlace{folder / at.filename(), false};
    at = at.parent_path() / target;
  }
  return error("{}: cannot create: {}", path, std::strerror(ELOOP));
}

Status AtomicFile::check_target(const std::string& path) {
  NEREID_RETURN_IF_ERROR(place_of(path));
  return {};
}

Result<AtomicFile> AtomicFile::create(const std::string& path) {
  NEREID_TRY(OutputPlace place, place_of(path));
  if (!place.is_file) {
    const int fd = ::open(place.path.c_str(), O_WRONLY | O_APPEND | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) return error("{}: cannot write: {}", path, std::strerror(errno));
    return AtomicFile(path, std::move(place.path), "", fd);
  }
  std::string temp_path = place.path + ".tmp.XXXXXX";
  const int fd = ::mkostemp(temp_path.data(), O_CLOEXEC);
  if (fd < 0) return error("{}: cannot create: {}", path, std::strerror(errno));
  ::fchmod(fd, 0644);
  return AtomicFile(path, std::move(place.path), std::move(temp_path), fd);
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      target_(std::move(other.target_)),
      temp_path_(std::move(other.temp_path_)),
      fd_(std::exchange(other.fd_, -1)) {}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  if (!temp_path_.empty()) ::unlink(temp_path_.c_str());
}

Status AtomicFile::write(std::span<const std::byte> bytes) {
  NEREID_CHECK(fd_ >= 0, "write to {} after commit", path_);
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return error("{}: cannot write: {}", path_, write_failure(errno));
    }
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return {};
}

Status AtomicFile::write(std::string_view text) {
  return write(std::as_bytes(std::span(text)));
}

Status AtomicFile::commit() {
  NEREID_CHECK(fd_ >= 0, "second commit of {}", path_);
  // A terminal or a pipe has nothing that fsync could bring to a disk, and says so.
  if (::fsync(fd_) != 0 && (!temp_path_.empty() || errno == EIO || errno == ENOSPC)) {
    return error("{}: cannot write: {}", path_, write_failure(errno));
  }
  if (temp_path_.empty()) {
    if (::close(std::exchange(fd_, -1)) == 0) return {};
    return error("{}: cannot write: {}", path_, write_failure(errno));
  }
  if (::rename(temp_path_.c_str(), target_.c_str()) != 0) {
    return error("{}: cannot replace: {}", path_, std::strerror(errno));
  }
  ::close(std::exchange(fd_, -1));
  // The rename itself survives a power cut only once the folder is on disk. Not every file system
  // can do this; the file is whole either way.
  const int folder_fd = ::open(folder_of(target_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder_fd >= 0) {
    ::fsync(folder_fd);
    ::close(folder_fd);
  }
  return {};
}

Status write_file_atomically(const std::string& path, std::string_view content) {
  NEREID_TRY(AtomicFile file, AtomicFile::create(path));
  NEREID_RETURN_IF_ERROR(file.write(content));
  return file.commit();
}

}  // namespace nereid
