// memfd_create and dlopen.
#include "src/device/cpu/shared_object.h"

#include <dlfcn.h>
#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "src/device/elf_header.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

namespace nereid {
namespace {

struct ScopedFd {
  int fd = -1;
  ~ScopedFd() {
    if (fd >= 0) ::close(fd);
  }
};

Status write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return error("cannot copy it to memory: {}", std::strerror(errno));
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return {};
}

#if defined(__x86_64__)
constexpr uint16_t kMachine = EM_X86_64;
#elif defined(__aarch64__)
constexpr uint16_t kMachine = EM_AARCH64;
#endif

// The loader trusts the program headers: a segment that lies behind the end of the file kills the
// process. So they are checked first.
Status check_elf(std::span<const std::byte> bytes) {
  NEREID_TRY(const Elf64_Ehdr header, elf_header(bytes, kMachine, "this processor"));
  const uint64_t headers_bytes = uint64_t{header.e_phnum} * sizeof(Elf64_Phdr);
  if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phoff > bytes.size() ||
      headers_bytes > bytes.size() - header.e_phoff) {
    return error("program headers outside the object");
  }
  for (uint16_t at = 0; at < header.e_phnum; ++at) {
    Elf64_Phdr segment{};
    std::memcpy(&segment, bytes.data() + header.e_phoff + at * sizeof(segment), sizeof(segment));
    if (segment.p_offset > bytes.size() || segment.p_filesz > bytes.size() - segment.p_offset) {
      return error("segment {} outside the object: truncated", at);
    }
  }
  return {};
}

// A path to the descriptor that no earlier call returned. The loader takes two objects for the same
// when their paths are equal, even if the descriptor's number has been used anew: so a counter is
// written into the path in binary, "/" for 0 and "/." for 1, which name the same folder.
std::string unique_path(int fd) {
  static std::atomic<uint32_t> counter = 0;
  std::string path = "/proc/self/fd";
  uint32_t number = counter.fetch_add(1);
  for (int bit = 0; bit < 32; ++bit, number >>= 1) path += (number & 1) != 0 ? "/." : "/";
  return path + "/" + std::to_string(fd);
}

const char* loader_error() {
  const char* text = ::dlerror();
  return text != nullptr ? text : "unknown error";
}

}  // namespace

Result<std::unique_ptr<SharedObject>> SharedObject::load(std::span<const std::byte> bytes) {
  NEREID_RETURN_IF_ERROR(check_elf(bytes));
  ScopedFd memory{::memfd_create("nereid-kernel", MFD_CLOEXEC | MFD_EXEC)};
  if (memory.fd < 0) memory.fd = ::memfd_create("nereid-kernel", MFD_CLOEXEC);  // Linux before 6.3
  if (memory.fd < 0) return error("memfd_create: {}", std::strerror(errno));
  NEREID_RETURN_IF_ERROR(write_all(memory.fd, bytes));
  void* handle = ::dlopen(unique_path(memory.fd).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) return error("no loadable shared object: {}", loader_error());
  return std::unique_ptr<SharedObject>(new SharedObject(handle));
}

SharedObject::~SharedObject() {
  ::dlclose(handle_);
}

Result<CpuKernelFn> SharedObject::function(const std::string& entry) const {
  void* symbol = ::dlsym(handle_, entry.c_str());
  if (symbol == nullptr) return error("no symbol '{}'", entry);
  return reinterpret_cast<CpuKernelFn>(symbol);
}

Result<CpuKernelInfo> SharedObject::info(const std::string& entry) const {
  const void* symbol = ::dlsym(handle_, (entry + "_info").c_str());
  if (symbol == nullptr) return error("no symbol '{}_info'", entry);
  CpuKernelInfo info{};
  std::memcpy(&info, symbol, sizeof(info));
  return info;
}

}  // namespace nereid
