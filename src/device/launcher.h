// Typed launches: from a kernel's key and named arguments to the compiled choice on a device.
//
// Design goals:
//   - in steady state a launch finds its code without allocating, in well under a microsecond;
//   - the variants that were launched are known afterwards: they are what a pack must hold.
// Non-goals:
//   - shapes and dtypes of tensors: src/ops checks those before it launches.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/device/device.h"
#include "src/device/kernel_decl.h"
#include "src/pack/pack.h"

namespace nereid {

// A kernel with its compile-time constants; `key` in declaration order.
struct KernelVariant {
  const KernelDecl* decl = nullptr;
  std::vector<int64_t> key;
};

// "rms_norm(x_dtype=f32,weight_dtype=f32,out_dtype=bf16,dim=576)"
std::string variant_text(const KernelDecl& decl, std::span<const int64_t> key);

// What kernels/pack.py takes: {"variants": [{"kernel": ..., "key": {...}}, ...]}, sorted, so that
// equal sets give equal text.
std::string pack_request_json(std::span<const KernelVariant> variants);

class Launcher {
 public:
  // `pack` null: launches are checked and recorded, grids are not evaluated (use the null device).
  // Both must outlive the launcher, and the launcher the trace labels it hands out.
  Launcher(Device& device, const Pack* pack);
  ~Launcher();
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;

  // launcher.launch<kernels::RmsNorm>({.dim = 576, ...}, {.x = x.ptr(), ...});
  // An error means that the pack lacks the variant or the device failed; wrong arguments are bugs.
  template <class K>
  Status launch(const typename K::Key& key, const typename K::Args& args) {
    const auto key_values = K::pack_key(key);
    const auto arg_slots = K::pack_args(args);
    return launch_slots(K::decl(), key_values, arg_slots);
  }
  Status launch_slots(const KernelDecl& decl, std::span<const int64_t> key,
                      std::span<const uint64_t> args);

  // What the launches that follow are for ("qkv", "head"), for those who measure them; lives for
  // the whole program.
  void set_role(const char* role) { role_ = role; }

  // Loads variants ahead of their first launch. A key of any other variant still loads when
  // launched.
  Status prepare(std::span<const KernelVariant> variants);

  // In the order of first use.
  std::vector<KernelVariant> variants() const;

  Device& device() const { return device_; }
  // What the kernels are compiled for: the pack's target, which may be an older processor than the
  // device is; without a pack the device's.
  const std::string& target() const;

 private:
  struct Choice;
  struct Variant;
  struct Slot {
    uint64_t hash = 0;
    const Variant* variant = nullptr;
  };

  Result<const Variant*> find_or_load(const KernelDecl& decl, std::span<const int64_t> key);
  Result<std::unique_ptr<Variant>> load(const KernelDecl& decl, std::span<const int64_t> key);
  Status load_choices(Variant& variant);
  void insert(const Variant* variant, uint64_t hash);
  Status add_workspace(const Variant& variant, Choice& choice);

  Device& device_;
  const Pack* pack_;
  const char* role_ = "";
  std::vector<std::unique_ptr<Variant>> variants_;
  std::vector<Slot> table_;  // open addressing, a power of two, at most half full
  // One after the other, each larger: a launch noted earlier may still use one.
  std::vector<DevicePtr> workspaces_;
  uint64_t workspace_bytes_ = 0;  // of the last
};

}  // namespace nereid
