// A GGUF file of any bytes: opened as a model and its vocabulary read.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <span>
#include <string>

#include "src/base/check.h"
#include "src/weights/gguf_config.h"
#include "src/weights/gguf_reader.h"
#include "src/weights/source.h"

namespace {

// An anonymous file with the bytes, by a path that can be opened.
class MemoryFile {
 public:
  explicit MemoryFile(std::span<const uint8_t> bytes) : fd_(::memfd_create("fuzz", MFD_CLOEXEC)) {
    NEREID_CHECK(fd_ >= 0, "memfd_create failed");
    NEREID_CHECK(::write(fd_, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()),
                 "short write");
  }
  ~MemoryFile() { ::close(fd_); }
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const MemoryFile file({data, size});
  const auto source = nereid::open_model(file.path());
  if (source) {
    for (const nereid::StoredTensor& tensor : (*source)->tensors()) {
      NEREID_CHECK((*source)->find(tensor.name) == &tensor, "{} is not found", tensor.name);
    }
    (void)(*source)->metadata();
  }
  const auto parsed = nereid::gguf::parse(std::as_bytes(std::span(data, size)));
  if (parsed) (void)nereid::gguf::read_vocabulary(*parsed);
  return 0;
}
