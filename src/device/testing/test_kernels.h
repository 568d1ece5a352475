// Declarations of testing/kernels.c, as kernels/generate.py would write them, and a pack of them.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "src/device/kernel_decl.h"

namespace nereid::testing {

// out[e] = a * x[e] + out[e]
struct Axpy {
  struct Key {
    DType dtype;
    int64_t variant;
  };
  struct Args {
    DevicePtr x;    // f32 (n); in
    DevicePtr out;  // f32 (n); in/out
    int32_t n;
    float a;
  };
  static const KernelDecl& decl();
  static std::array<int64_t, 2> pack_key(const Key& key);
  static std::array<uint64_t, 4> pack_args(const Args& args);
};

// Adds 1 + x + 16 * y + 256 * z to each program's count, on a grid that the key gives.
struct CountPrograms {
  struct Key {
    int64_t x, y, z;
    bool uneven;
  };
  struct Args {
    DevicePtr counts;  // i32 (x * y * z); in/out
  };
  static const KernelDecl& decl();
  static const KernelDecl& uneven_decl();  // the same, handed out in the smallest ranges
  static std::array<int64_t, 4> pack_key(const Key& key);
  static std::array<uint64_t, 1> pack_args(const Args& args);
};

// The shared object with the kernels.
std::string test_object_bytes();

// A pack for `target` with Axpy at variants 0 to 3 (one choice for n <= 64, one beyond) and
// CountPrograms for the given grids. `path` is written.
void write_test_pack(const std::string& path, const std::string& target,
                     std::span<const CountPrograms::Key> grids);

}  // namespace nereid::testing
