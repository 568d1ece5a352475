// Makes a TargetInfo from a CPU name with LLVM's tables and host detection.
#include "src/compiler/target.h"

#include <algorithm>
#include <set>

#include "llvm/ADT/StringExtras.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"

namespace nereid {
namespace {

constexpr std::string_view kX86Triple = "x86_64-unknown-linux-gnu";
constexpr std::string_view kArmTriple = "aarch64-unknown-linux-gnu";

// The subtarget of `cpu`, or null when LLVM has no such CPU for that triple.
std::unique_ptr<llvm::MCSubtargetInfo> find_subtarget(const std::string& triple_name,
                                                      const std::string& cpu) {
  llvm::Triple triple(triple_name);
  std::string message;
  const llvm::Target* target = llvm::TargetRegistry::lookupTarget(triple, message);
  if (!target) return nullptr;
  std::unique_ptr<llvm::MCSubtargetInfo> base(target->createMCSubtargetInfo(triple, "", ""));
  if (!base || !base->isCPUStringValid(cpu)) return nullptr;
  return std::unique_ptr<llvm::MCSubtargetInfo>(target->createMCSubtargetInfo(triple, cpu, ""));
}

void fill_x86(const std::set<std::string>& enabled, TargetInfo& info) {
  auto has = [&](const char* feature) { return enabled.contains(feature); };
  info.arch = Arch::kX86_64;
  info.has_avx512f = has("avx512f") && has("avx512bw") && has("avx512dq") && has("avx512vl");
  info.has_bf16_dot = info.has_avx512f && has("avx512bf16");
  info.has_avx2 = has("avx2");
  info.has_int8_dot = info.has_avx512f && has("avx512vnni");
  info.has_bf16_tiles = info.has_bf16_dot && has("amx-tile") && has("amx-bf16");
  info.has_int8_tiles = info.has_int8_dot && has("amx-tile") && has("amx-int8");
  info.vector_bytes = info.has_avx512f ? 64 : has("avx") ? 32 : 16;
  info.vector_registers = info.has_avx512f ? 32 : 16;
}

void fill_arm(const std::set<std::string>& enabled, TargetInfo& info) {
  info.arch = Arch::kAArch64;
  info.has_bf16_dot = enabled.contains("bf16");
  info.has_int8_dot = enabled.contains("dotprod");
  info.vector_bytes = 16;
  info.vector_registers = 32;
}

// Features LLVM detects on this machine, as "+a,-b" in a fixed order.
std::string host_features() {
  std::vector<std::string> words;
  for (const auto& feature : llvm::sys::getHostCPUFeatures())
    words.push_back((feature.getValue() ? "+" : "-") + feature.getKey().str());
  std::sort(words.begin(), words.end(),
            [](const std::string& a, const std::string& b) { return a.substr(1) < b.substr(1); });
  return llvm::join(words, ",");
}

std::set<std::string> enabled_features(const TargetInfo& info, const std::string& extra) {
  std::set<std::string> enabled;
  std::string message;
  llvm::Triple triple(info.triple);
  const llvm::Target* target = llvm::TargetRegistry::lookupTarget(triple, message);
  std::unique_ptr<llvm::MCSubtargetInfo> subtarget(
      target->createMCSubtargetInfo(triple, info.cpu, extra));
  for (const auto& feature : subtarget->getEnabledProcessorFeatures()) enabled.insert(feature.Key);
  return enabled;
}

}  // namespace

std::vector<std::string_view> common_target_names() {
  return {"native",      "x86-64-v3",   "x86-64-v4",      "znver3",         "znver4",
          "znver5",      "haswell",     "icelake-server", "sapphirerapids", "generic",
          "neoverse-n1", "neoverse-v2", "apple-m1"};
}

Result<TargetInfo> make_target(std::string_view name) {
  llvm::InitializeAllTargetInfos();
  llvm::InitializeAllTargetMCs();
  TargetInfo info;
  info.name = std::string(name);
  std::string extra;
  if (name == "native") {
    info.triple = llvm::sys::getDefaultTargetTriple();
    info.cpu = llvm::sys::getHostCPUName().str();
    extra = host_features();
  } else {
    std::string cpu(name);
    if (cpu.empty()) {  // LLVM takes it for a processor without any extension
      return error("--cpu: found '', expected 'native' or a CPU name of LLVM 22 ({}, ...)",
                   fmt::join(common_target_names(), ", "));
    }
    if (cpu != "generic" && find_subtarget(std::string(kX86Triple), cpu)) {
      info.triple = kX86Triple;
    } else if (find_subtarget(std::string(kArmTriple), cpu)) {  // "generic" means AArch64
      info.triple = kArmTriple;
    } else {
      return error("--cpu: found '{}', expected 'native' or a CPU name of LLVM 22 ({}, ...)", name,
                   fmt::join(common_target_names(), ", "));
    }
    info.cpu = cpu;
  }
  std::set<std::string> enabled = enabled_features(info, extra);
  llvm::Triple triple(info.triple);
  if (triple.isX86() && !enabled.contains("64bit"))
    return error("--cpu: found {}, expected a processor with 64 bits", name);
  if (triple.isX86() && triple.isArch64Bit())
    fill_x86(enabled, info);
  else if (triple.isAArch64())
    fill_arm(enabled, info);
  else
    return error("--cpu: found target {}, expected x86-64 or aarch64", info.triple);
  // One long register width: keep LLVM from shrinking our 512-bit vectors to 256 bits.
  std::vector<std::string> changes;
  if (info.has_avx512f) changes.emplace_back("-prefer-256-bit");
  // LLVM shifts bytes by its instructions. On a Zen these share the pipes of products, which shifts
  // and masks do not.
  if (enabled.contains("gfni") && llvm::StringRef(info.cpu).starts_with("znver"))
    changes.emplace_back("-gfni");
  // LLVM multiplies pairs and adds apart for Intel's processors, for whose latency that may be
  // better; dots here have sums enough to wait for none.
  if (info.has_int8_dot && triple.isX86()) changes.emplace_back("+fast-dpwssd");
  if (!extra.empty()) changes.insert(changes.begin(), extra);
  info.features = llvm::join(changes, ",");
  return info;
}

}  // namespace nereid
