// Linking with lld as a library.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string_view>

#include "lld/Common/Driver.h"
#include "llvm/Support/raw_ostream.h"
#include "src/base/atomic_file.h"
#include "src/base/mapped_file.h"
#include "src/compiler/backend/backend.h"
#include "src/compiler/target.h"

LLD_HAS_DRIVER(elf)

namespace nereid {
namespace {

// A file that is deleted when it goes out of scope.
class TemporaryFile {
 public:
  static Result<TemporaryFile> create(const std::string& beside, std::string_view bytes);
  TemporaryFile(TemporaryFile&& other) noexcept : path_(std::move(other.path_)) {
    other.path_.clear();
  }
  TemporaryFile& operator=(TemporaryFile&&) = delete;
  ~TemporaryFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  const std::string& path() const { return path_; }
  Status rename_to(const std::string& target) {
    if (std::rename(path_.c_str(), target.c_str()) != 0)
      return error("{}: cannot write: {}", target, std::strerror(errno));
    path_.clear();
    return {};
  }

 private:
  explicit TemporaryFile(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

Result<TemporaryFile> TemporaryFile::create(const std::string& beside, std::string_view bytes) {
  std::string path = beside + ".tmp-XXXXXX";
  int fd = ::mkstemp(path.data());
  if (fd < 0) return error("{}: cannot write: {}", beside, std::strerror(errno));
  TemporaryFile file(path);
  ::fchmod(fd, 0644);
  for (size_t done = 0; done < bytes.size();) {
    ssize_t count = ::write(fd, bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      int why = errno;
      ::close(fd);
      return error("{}: cannot write: {}", beside, std::strerror(why));
    }
    done += static_cast<size_t>(count);
  }
  if (::close(fd) != 0) return error("{}: cannot write: {}", beside, std::strerror(errno));
  return file;
}

}  // namespace

Status link_shared_object(const std::vector<std::string>& objects, const TargetInfo& target,
                          const std::string& output) {
  // lld writes files only: what is none gets the result afterwards.
  NEREID_TRY(const OutputPlace place, OutputPlace::find(output));
  const std::string beside =
      place.is_file ? place.path : (std::filesystem::temp_directory_path() / "nereid-cc").string();
  std::vector<TemporaryFile> files;
  for (const std::string& bytes : objects) {
    NEREID_TRY(TemporaryFile file, TemporaryFile::create(beside, bytes));
    files.push_back(std::move(file));
  }
  NEREID_TRY(TemporaryFile result, TemporaryFile::create(beside, ""));
  const char* emulation = target.arch == Arch::kAArch64 ? "aarch64linux" : "elf_x86_64";
  std::vector<const char*> arguments = {
      "ld.lld",      "-shared", "-m",          emulation, "--build-id=none",    "--hash-style=gnu",
      "--threads=1", "-z",      "noexecstack", "-o",      result.path().c_str()};
  for (const TemporaryFile& file : files) arguments.push_back(file.path().c_str());
  std::string messages;
  llvm::raw_string_ostream stream(messages);
  lld::Result linked = lld::lldMain(arguments, stream, stream, {{lld::Gnu, &lld::elf::link}});
  if (linked.retCode != 0)
    return error("{}: linking failed: {}", output, messages.substr(0, messages.find('\n')));
  if (place.is_file) return result.rename_to(place.path);
  NEREID_TRY(const MappedFile linked_file, MappedFile::open(result.path()));
  const auto bytes = linked_file.bytes();
  NEREID_TRY(AtomicFile file, AtomicFile::create(output));
  NEREID_RETURN_IF_ERROR(file.write(bytes));
  return file.commit();
}

}  // namespace nereid
