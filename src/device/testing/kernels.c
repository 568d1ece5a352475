// Kernels with the entry ABI, written by hand: device tests need no compiler of ours.
#include <stdint.h>
#include <string.h>

struct NereidKernelInfo {
  uint32_t abi_version, num_args;
  uint64_t scratch_bytes;
  uint32_t scratch_align, reserved;
};

#define EXPORT __attribute__((visibility("default")))
#define INFO(name, args, scratch) \
  EXPORT const struct NereidKernelInfo name##_info = {1, args, scratch, 64, 0}

enum { kBlock = 64, kScratchBytes = 100000 };

static float slot_f32(uint64_t slot) {
  const uint32_t bits = (uint32_t)slot;
  float value;
  memcpy(&value, &bits, sizeof(value));
  return value;
}

// (x: f32 [n], out: f32 [n], n: i32, a: f32): out[e] = a * x[e] + out[e]; kBlock elements a
// program.
INFO(axpy, 4, 0);
EXPORT void axpy(const uint64_t* args, uint32_t pid_begin, uint32_t pid_end, const uint32_t grid[3],
                 void* scratch) {
  const float* x = (const float*)args[0];
  float* out = (float*)args[1];
  const int64_t n = (int32_t)args[2];
  const float a = slot_f32(args[3]);
  (void)grid;
  (void)scratch;
  for (uint32_t pid = pid_begin; pid < pid_end; ++pid) {
    for (int64_t e = (int64_t)pid * kBlock; e < n && e < ((int64_t)pid + 1) * kBlock; ++e) {
      out[e] += a * x[e];
    }
  }
}

// (counts: i32 [programs]): adds 1 + x + 16 * y + 256 * z of the program's coordinates.
INFO(count_programs, 1, 0);
EXPORT void count_programs(const uint64_t* args, uint32_t pid_begin, uint32_t pid_end,
                           const uint32_t grid[3], void* scratch) {
  int32_t* counts = (int32_t*)args[0];
  (void)scratch;
  for (uint32_t pid = pid_begin; pid < pid_end; ++pid) {
    const uint32_t x = pid % grid[0], y = pid / grid[0] % grid[1], z = pid / grid[0] / grid[1];
    counts[pid] += (int32_t)(1 + x + 16 * y + 256 * z);
  }
}

// (sums: i64 [programs], alignment: i64 [programs]): fills the scratch memory with the program's
// number, then adds it up; a thread that shared it would see another's. Address modulo 64 beside.
INFO(use_scratch, 2, kScratchBytes);
EXPORT void use_scratch(const uint64_t* args, uint32_t pid_begin, uint32_t pid_end,
                        const uint32_t grid[3], void* scratch) {
  int64_t* sums = (int64_t*)args[0];
  int64_t* alignment = (int64_t*)args[1];
  volatile uint32_t* words = (volatile uint32_t*)scratch;
  (void)grid;
  for (uint32_t pid = pid_begin; pid < pid_end; ++pid) {
    for (uint32_t at = 0; at < kScratchBytes / 4; ++at) words[at] = pid;
    int64_t sum = 0;
    for (uint32_t at = 0; at < kScratchBytes / 4; ++at) sum += words[at];
    sums[pid] = sum;
    alignment[pid] = (int64_t)((uintptr_t)scratch % 64);
  }
}

// (out: i32 [1]): writes the digit behind "NEREID-TAG-", which tests change in the object's bytes.
static const volatile char kTag[] = "NEREID-TAG-0";
INFO(read_tag, 1, 0);
EXPORT void read_tag(const uint64_t* args, uint32_t pid_begin, uint32_t pid_end,
                     const uint32_t grid[3], void* scratch) {
  (void)pid_begin, (void)pid_end, (void)grid, (void)scratch;
  *(int32_t*)args[0] = kTag[sizeof(kTag) - 2] - '0';
}

// (): nothing; for measuring a launch.
INFO(empty, 0, 0);
EXPORT void empty(const uint64_t* args, uint32_t pid_begin, uint32_t pid_end,
                  const uint32_t grid[3], void* scratch) {
  (void)args, (void)pid_begin, (void)pid_end, (void)grid, (void)scratch;
}

// Compiled against an ABI of the future.
EXPORT const struct NereidKernelInfo wrong_abi_info = {99, 0, 0, 64, 0};
EXPORT void wrong_abi(const uint64_t* args, uint32_t pid_begin, uint32_t pid_end,
                      const uint32_t grid[3], void* scratch) {
  empty(args, pid_begin, pid_end, grid, scratch);
}

// Without an info symbol.
EXPORT void no_info(const uint64_t* args, uint32_t pid_begin, uint32_t pid_end,
                    const uint32_t grid[3], void* scratch) {
  empty(args, pid_begin, pid_end, grid, scratch);
}
