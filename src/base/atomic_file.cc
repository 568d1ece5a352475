// Temporary file, fsync, rename.
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

// The folder of `path`, as system calls take it.
std::string folder_of(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

}  // namespace

Status AtomicFile::check_target(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    return error("{}: is {}, expected a regular file or none", path,
                 S_ISDIR(info.st_mode) ? "a directory" : "a device, pipe or socket");
  }
  if (::access(folder_of(path).c_str(), W_OK) != 0) {
    return error("{}: cannot create: {}", path, std::strerror(errno));
  }
  return {};
}

Result<AtomicFile> AtomicFile::create(const std::string& path) {
  NEREID_RETURN_IF_ERROR(check_target(path));
  std::string temp_path = path + ".tmp.XXXXXX";
  const int fd = ::mkostemp(temp_path.data(), O_CLOEXEC);
  if (fd < 0) return error("{}: cannot create: {}", path, std::strerror(errno));
  ::fchmod(fd, 0644);
  return AtomicFile(path, std::move(temp_path), fd);
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      temp_path_(std::move(other.temp_path_)),
      fd_(std::exchange(other.fd_, -1)) {}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temp_path_.c_str());
}

Status AtomicFile::write(std::span<const std::byte> bytes) {
  NEREID_CHECK(fd_ >= 0, "write to {} after commit", path_);
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return error("{}: cannot write: {}", path_, std::strerror(errno));
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
  if (::fsync(fd_) != 0) return error("{}: cannot write: {}", path_, std::strerror(errno));
  if (::rename(temp_path_.c_str(), path_.c_str()) != 0) {
    return error("{}: cannot replace: {}", path_, std::strerror(errno));
  }
  ::close(std::exchange(fd_, -1));
  // The rename itself survives a power cut only once the folder is on disk. Not every file system
  // can do this; the file is whole either way.
  const int folder_fd = ::open(folder_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
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
