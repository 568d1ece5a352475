// What the host knows of a kernel declaration: the C++ image of kernels/spec.py's Kernel.
//
// `kernels/generate.py` writes one struct per kernel against this header:
//
//   struct RmsNorm {
//     struct Key { DType x_dtype; ...; int64_t dim; };             // key fields, declaration order
//     struct Args { DevicePtr x; ...; int32_t rows; float eps; };  // run-time arguments, same
//     order static const KernelDecl& decl(); static std::array<int64_t, 4> pack_key(const Key&
//     key);      // dtypes as their enumerator static std::array<uint64_t, 5> pack_args(const Args&
//     args);  // slots of the entry ABI
//   };
//
// All spans and strings point at objects that live for the whole program.
#pragma once

#include <bit>
#include <cstdint>
#include <span>

#include "src/device/device.h"
#include "src/device/dtype.h"

namespace nereid {

enum class KeyKind : uint8_t { kInt, kDType };

struct KeyFieldDecl {
  const char* name = "";
  KeyKind kind = KeyKind::kInt;
};

enum class ArgKind : uint8_t { kPtr, kI1, kI32, kI64, kU32, kU64, kF32, kF64 };
enum class Access : uint8_t { kNone, kRead, kWrite, kReadWrite };  // kNone: not a pointer

struct ArgDecl {
  const char* name = "";
  ArgKind kind = ArgKind::kPtr;
  Access access = Access::kNone;
  bool nullable = false;   // pointers: may be 0 (a key flag says that it is unused)
  bool streamed = false;   // of P programs, the p-th reads the p-th of P equal parts
  uint32_t divisible = 1;  // the address or integer is a multiple of this; 16 for pointers
  const char* shape = "";  // "rows, dim", for people
};

// What a launch may be told of the step that it is part of: sequences, each with its last `queries`
// of `context` positions. A step of sequences that differ has no such shape.
struct StepShape {
  int32_t sequences = 0, queries = 0, context = 0;
};

// What one launch asks of the machine at least: everything read and written counted once, and
// operations of the mathematics (multiply and add are two), whose factors are of type `products`.
struct LaunchCost {
  int64_t bytes = 0, operations = 0;
  DType products = DType::kF32;
};

struct KernelDecl {
  const char* name = "";
  const char* doc = "";
  std::span<const KeyFieldDecl> key_fields;
  std::span<const ArgDecl> args;
  std::span<const char* const> tile_names;  // the order of `tiles` below
  int select_arg = -1;  // index of the integer argument that picks among tile choices; -1: none
  bool uneven = false;  // programs differ much in work: handed out in smaller ranges
  // Values in declaration order: key fields, argument slots, tile constants of the choice.
  Grid (*grid)(const int64_t* key, const uint64_t* args, const int64_t* tiles) = nullptr;
  // The pointer that the launcher sets itself, -1: none; and how many bytes a launch wants behind
  // the flags there, 0: it takes null. See Kernel.workspace in kernels/spec.py.
  int workspace_arg = -1;
  int64_t (*workspace)(const int64_t* key, const uint64_t* args, const int64_t* tiles) = nullptr;
  // Null: the declaration does not say.
  LaunchCost (*cost)(const int64_t* key, const uint64_t* args, const StepShape& step) = nullptr;
};

// Argument slots of the entry ABI: pointers as they are, integers sign-extended, floats as bits.
inline uint64_t arg_slot(DevicePtr pointer) {
  return pointer;
}
inline uint64_t arg_slot(int32_t value) {
  return static_cast<uint64_t>(int64_t{value});
}
inline uint64_t arg_slot(int64_t value) {
  return static_cast<uint64_t>(value);
}
inline uint64_t arg_slot(uint32_t value) {
  return static_cast<uint64_t>(int64_t{static_cast<int32_t>(value)});
}
inline uint64_t arg_slot(bool value) {
  return value ? 1 : 0;
}
inline uint64_t arg_slot(float value) {
  return std::bit_cast<uint32_t>(value);
}
inline uint64_t arg_slot(double value) {
  return std::bit_cast<uint64_t>(value);
}

}  // namespace nereid
