// Filling and handing out the memory of a job.
#include "bench/kernel_arrays.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <numeric>
#include <random>
#include <span>

namespace nereid::bench {
namespace {

constexpr uint64_t kFlagBytes = uint64_t{64} << 10;     // of a workspace, kernels/spec.py
constexpr uint64_t kComparedBytes = uint64_t{1} << 20;  // of each array that is written
constexpr uint64_t kRandomBytes = uint64_t{32} << 20;   // repeated in larger arrays

// The same kRandomBytes for every array of a type, made once.
std::span<const std::byte> random_bytes(DType dtype) {
  static std::map<DType, std::vector<std::byte>> all;
  std::vector<std::byte>& made = all[dtype];
  if (!made.empty()) return made;
  made.resize(kRandomBytes);
  std::mt19937_64 random(dtype_size(dtype));
  std::uniform_real_distribution<float> unit(-1, 1);
  for (uint64_t at = 0; at < made.size(); at += dtype_size(dtype)) {
    uint64_t bits = random();
    const auto value = std::bit_cast<uint32_t>(unit(random));
    if (dtype == DType::kF32) bits = value;
    if (dtype == DType::kBF16) bits = value >> 16;
    if (dtype == DType::kF16) bits = 0x3000U | (bits & 0x8BFFU);  // 1/8 to 1/2, either sign
    std::memcpy(&made[at], &bits, dtype_size(dtype));
  }
  return made;
}

// Places of tokens: 0, 1, 2, ...
std::span<const std::byte> counting_bytes() {
  static const std::vector<int32_t> all = [] {
    std::vector<int32_t> made(kRandomBytes / sizeof(int32_t));
    std::iota(made.begin(), made.end(), 0);
    return made;
  }();
  return std::as_bytes(std::span(all));
}

uint64_t stride(const JobArg& arg) {
  return (arg.bytes + 255) / 256 * 256;
}

}  // namespace

Arrays::Arrays(Device& device, const Job& job, uint64_t cold_bytes)
    : device_(device), job_(job), bases_(job.args.size(), 0) {
  uint64_t turn = 1;
  for (const JobArg& arg : job.args) turn += arg.rotates ? arg.bytes : 0;
  copies_ = static_cast<size_t>(std::clamp<uint64_t>(cold_bytes / turn + 1, 1, kMaxCopies));
}

Arrays::~Arrays() {
  for (const DevicePtr base : bases_) device_.free(base);
  device_.free(workspace_);
}

Status Arrays::place() {
  for (size_t at = 0; at < job_.args.size(); ++at) {
    const JobArg& arg = job_.args[at];
    if (arg.kind != JobArg::Kind::kArray) continue;
    const uint64_t bytes = stride(arg) * (arg.rotates ? copies_ : 1);
    NEREID_TRY(bases_[at], device_.alloc(bytes));
    const auto block = arg.counts ? counting_bytes() : random_bytes(arg.dtype);
    for (uint64_t done = 0; done < bytes; done += block.size()) {
      const uint64_t rest = std::min<uint64_t>(block.size(), bytes - done);
      NEREID_RETURN_IF_ERROR(device_.upload(bases_[at] + done, block.first(rest)));
    }
  }
  return {};
}

Status Arrays::reserve_workspace(uint64_t bytes) {
  if (bytes <= workspace_bytes_) return {};
  device_.free(workspace_);
  workspace_ = 0;
  NEREID_TRY(workspace_, device_.alloc(kFlagBytes + bytes));
  workspace_bytes_ = bytes;
  return device_.upload(workspace_, std::vector<std::byte>(kFlagBytes));
}

std::vector<uint64_t> Arrays::slots(size_t turn, bool with_workspace) const {
  std::vector<uint64_t> made;
  for (size_t at = 0; at < job_.args.size(); ++at) {
    const JobArg& arg = job_.args[at];
    const uint64_t copy = arg.rotates ? turn % copies_ : 0;
    uint64_t slot = 0;
    if (arg.kind == JobArg::Kind::kSlot) slot = arg.slot;
    if (arg.kind == JobArg::Kind::kArray) slot = bases_[at] + copy * stride(arg);
    if (arg.kind == JobArg::Kind::kWorkspace && with_workspace) slot = workspace_;
    made.push_back(slot);
  }
  return made;
}

template <typename F>
Status Arrays::each_compared(F visit) {
  for (size_t at = 0; at < job_.args.size(); ++at) {
    const JobArg& arg = job_.args[at];
    if (arg.kind != JobArg::Kind::kArray || !arg.written) continue;
    NEREID_RETURN_IF_ERROR(visit(at, std::min(arg.bytes, kComparedBytes)));
  }
  return {};
}

Status Arrays::restore() {
  return each_compared([this](size_t at, uint64_t bytes) {
    return device_.upload(bases_[at], random_bytes(job_.args[at].dtype).first(bytes));
  });
}

Result<std::vector<std::vector<std::byte>>> Arrays::written() {
  std::vector<std::vector<std::byte>> result;
  NEREID_RETURN_IF_ERROR(each_compared([&](size_t at, uint64_t bytes) {
    result.emplace_back(bytes);
    return device_.download(result.back(), bases_[at]);
  }));
  return result;
}

std::vector<DType> Arrays::written_dtypes() const {
  std::vector<DType> result;
  for (const JobArg& arg : job_.args) {
    if (arg.kind == JobArg::Kind::kArray && arg.written) result.push_back(arg.dtype);
  }
  return result;
}

}  // namespace nereid::bench
