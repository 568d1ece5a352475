// Packs by content: the cache folder, and building what it lacks with kernels/pack.py.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/pack/pack.h"

namespace nereid {

// What a model needs, and the sources it needs it from. The first four name the pack.
struct PackRequest {
  std::string target;           // "cpu:znver4"
  std::string request_json;     // {"variants": [{"kernel": ..., "key": {...}}, ...]}
  std::string sources_sha256;   // kKernelSourcesSha256 of the generated header
  std::string toolchain;        // kToolchainId of the generated header
  std::string model = "MODEL";  // for the error's `nereid compile MODEL --target T{flags}`
  std::string flags;            // " --dtype f32"; only those that change request_json
};

struct PackBuildOptions {
  std::vector<std::string> targets;  // what the device runs; empty: `target` of the request
  int jobs = 0;                      // compiler processes; 0: one per core
  bool allow_build = true;
  // Called while a pack is built: variants done, variants in all, the last one.
  std::function<void(int done, int total, const std::string& what)> on_progress;
  // What the model needs of a pack for another of `targets`; null: the same kernels.
  std::function<Result<PackRequest>(const std::string& target)> request_for;
};

// "<cache>/packs/<target>-<digest>.pack"
Result<std::string> cached_pack_path(const PackRequest& request);

// The command that builds the pack where the toolchain is.
std::string compile_command(const PackRequest& request);

// A given pack, if this device runs it and it was made from this program's kernel sources. Whether
// it has all the variants is not looked at.
Result<Pack> open_pack(const std::string& path, const PackRequest& request,
                       const PackBuildOptions& options);

// From the cache, else built, else, where nothing can be built, from the cache for another one of
// `targets`. A damaged pack in the cache is built anew, or is an error if the
// toolchain is not there.
Result<Pack> open_or_build_pack(const PackRequest& request, const PackBuildOptions& options);

// Builds to `path` (atomically; concurrent builders do not disturb each other).
Status build_pack(const PackRequest& request, const PackBuildOptions& options,
                  const std::string& path);

// Where the toolchain is: NEREID_KERNELS_DIR, NEREID_PYTHON and NEREID_CC, else the places compiled
// in (nereid-cc: beside the running program first).
struct PackToolchain {
  std::string kernels_dir, python, compiler;
};
// The error says which part is missing.
Result<PackToolchain> find_toolchain();

}  // namespace nereid
