// Environment and file system helpers.
#include "src/base/paths.h"

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "src/base/mapped_file.h"

namespace nereid {

namespace fs = std::filesystem;

std::optional<std::string> environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return std::string(value);
}

Result<std::string> cache_dir() {
  if (auto dir = environment("NEREID_CACHE_DIR")) return *dir;
  if (auto dir = environment("XDG_CACHE_HOME")) return *dir + "/nereid";
  if (auto home = environment("HOME")) return *home + "/.cache/nereid";
  return error("no cache folder: none of NEREID_CACHE_DIR, XDG_CACHE_HOME and HOME is set");
}

Status make_directories(const std::string& path) {
  std::error_code code;
  fs::create_directories(path, code);
  if (code) return error("{}: cannot create folder: {}", path, code.message());
  if (!fs::is_directory(path, code)) return error("{}: is no folder", path);
  return {};
}

Result<std::string> executable_dir() {
  std::error_code code;
  const fs::path exe = fs::read_symlink("/proc/self/exe", code);
  if (code) return error("/proc/self/exe: cannot read: {}", code.message());
  return exe.parent_path().string();
}

bool is_file(const std::string& path) {
  std::error_code code;
  return fs::is_regular_file(path, code);
}

bool is_directory(const std::string& path) {
  std::error_code code;
  return fs::is_directory(path, code);
}

Result<std::string> read_file(const std::string& path, size_t max_bytes) {
  NEREID_TRY(MappedFile file, MappedFile::open(path));
  if (file.size() > max_bytes) {
    return error("{}: is {} bytes, expected at most {}", path, file.size(), max_bytes);
  }
  const auto bytes = file.bytes();
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

}  // namespace nereid
