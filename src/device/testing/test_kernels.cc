// See test_kernels.h.
#include "src/device/testing/test_kernels.h"

#include <fstream>
#include <iterator>

#include "src/base/check.h"
#include "src/pack/testing/pack_builder.h"

namespace nereid::testing {
namespace {

constexpr int64_t kBlock = 64;  // of kernels.c

constexpr KeyFieldDecl kAxpyKey[] = {{.name = "dtype", .kind = KeyKind::kDType},
                                     {.name = "variant", .kind = KeyKind::kInt}};
constexpr ArgDecl kAxpyArgs[] = {
    {.name = "x", .kind = ArgKind::kPtr, .access = Access::kRead, .divisible = 16, .shape = "n"},
    {.name = "out",
     .kind = ArgKind::kPtr,
     .access = Access::kReadWrite,
     .divisible = 16,
     .shape = "n"},
    {.name = "n", .kind = ArgKind::kI32},
    {.name = "a", .kind = ArgKind::kF32}};
constexpr const char* kAxpyTiles[] = {"BLOCK"};

Grid axpy_grid(const int64_t*, const uint64_t* args, const int64_t* tiles) {
  const auto n = int64_t{static_cast<int32_t>(args[2])};
  return {.x = static_cast<uint32_t>((n + tiles[0] - 1) / tiles[0])};
}

// Of a step: each sequence its own scale, to have something of it in the numbers.
LaunchCost axpy_cost(const int64_t* key, const uint64_t* args, const StepShape& step) {
  const auto n = int64_t{static_cast<int32_t>(args[2])};
  return {.bytes = 12 * n,
          .operations = 2 * n * step.sequences,
          .products = static_cast<DType>(key[0])};
}

constexpr KernelDecl kAxpyDecl{.name = "axpy",
                               .doc = "out[e] = a * x[e] + out[e]",
                               .key_fields = kAxpyKey,
                               .args = kAxpyArgs,
                               .tile_names = kAxpyTiles,
                               .select_arg = 2,
                               .grid = axpy_grid,
                               .cost = axpy_cost};

constexpr KeyFieldDecl kCountKey[] = {
    {.name = "x"}, {.name = "y"}, {.name = "z"}, {.name = "uneven"}};
constexpr ArgDecl kCountArgs[] = {{.name = "counts",
                                   .kind = ArgKind::kPtr,
                                   .access = Access::kReadWrite,
                                   .divisible = 16,
                                   .shape = "x * y * z"}};

Grid count_grid(const int64_t* key, const uint64_t*, const int64_t*) {
  return {static_cast<uint32_t>(key[0]), static_cast<uint32_t>(key[1]),
          static_cast<uint32_t>(key[2])};
}

constexpr KernelDecl count_decl(bool uneven) {
  return {.name = "count_programs",
          .doc = "counts the runs of each program",
          .key_fields = kCountKey,
          .args = kCountArgs,
          .uneven = uneven,
          .grid = count_grid};
}
constexpr KernelDecl kCountDecl = count_decl(false);
constexpr KernelDecl kUnevenCountDecl = count_decl(true);

}  // namespace

const KernelDecl& Axpy::decl() {
  return kAxpyDecl;
}
std::array<int64_t, 2> Axpy::pack_key(const Key& key) {
  return {static_cast<int64_t>(key.dtype), key.variant};
}
std::array<uint64_t, 4> Axpy::pack_args(const Args& args) {
  return {arg_slot(args.x), arg_slot(args.out), arg_slot(args.n), arg_slot(args.a)};
}

const KernelDecl& CountPrograms::decl() {
  return kCountDecl;
}
const KernelDecl& CountPrograms::uneven_decl() {
  return kUnevenCountDecl;
}
std::array<int64_t, 4> CountPrograms::pack_key(const Key& key) {
  return {key.x, key.y, key.z, key.uneven ? 1 : 0};
}
std::array<uint64_t, 1> CountPrograms::pack_args(const Args& args) {
  return {arg_slot(args.counts)};
}

std::string test_object_bytes() {
  std::ifstream file(NEREID_TEST_KERNELS, std::ios::binary);
  NEREID_CHECK(file.good(), "cannot read {}", NEREID_TEST_KERNELS);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

void write_test_pack(const std::string& path, const std::string& target,
                     std::span<const CountPrograms::Key> grids) {
  PackBuilder builder(target);
  const std::string object = test_object_bytes();
  for (int64_t variant = 0; variant < 4; ++variant) {
    builder.add_variant("axpy", {{"dtype", "f32"}, {"variant", variant}});
    // The code has one block size; the choices differ in their bound only.
    for (const nlohmann::ordered_json& max :
         {nlohmann::ordered_json(64), nlohmann::ordered_json()}) {
      builder.add_choice({.entry = "axpy",
                          .num_args = 4,
                          .max = max,
                          .tiles = {{"BLOCK", kBlock}},
                          .blob = object});
    }
  }
  for (const CountPrograms::Key& grid : grids) {
    builder.add_variant("count_programs",
                        {{"x", grid.x}, {"y", grid.y}, {"z", grid.z}, {"uneven", grid.uneven}});
    builder.add_choice({.entry = "count_programs", .num_args = 1, .blob = object});
  }
  std::ofstream(path, std::ios::binary) << builder.bytes();
}

}  // namespace nereid::testing
