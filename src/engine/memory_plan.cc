// See memory_plan.h.
#include "src/engine/memory_plan.h"

#include <algorithm>
#include <cmath>

#include "src/base/check.h"
#include "src/base/numbers.h"

namespace nereid {

namespace {

constexpr double kDefaultShare = 0.9;
// More pages cost the host more than their use for later requests is worth.
constexpr int64_t kMostFilledPages = int64_t{1} << 21;

class Planner {
 public:
  Planner(const MemoryNeeds& needs, const CacheDemand& demand, const MemoryOptions& options,
          const DeviceMemory& device)
      : needs_(needs), demand_(demand), options_(options), device_(device) {
    // Who names the size of the cache also answers for what is left.
    const bool exact = options.kv_cache_memory > 0 || demand.exact > 0;
    share_ = options.memory_utilization > 0 ? options.memory_utilization
             : exact                        ? 1.0
                                            : kDefaultShare;
    budget_ = static_cast<uint64_t>(share_ * static_cast<double>(device.free));
    fixed_ = needs.weights + needs.activations;
    rest_ = budget_ - std::min(budget_, fixed_);
  }

  Result<MemoryPlan> plan() const {
    const int64_t least = pages_for(demand_.least), pages = std::max(choose_pages(), int64_t{1});
    if (options_.kv_cache_memory > 0 && pages < least) {
      return error(
          "--kv-cache-memory: {} hold {} tokens, expected at least {} for {} tokens ({}); "
          "--max-model-len lowers that",
          format_bytes(options_.kv_cache_memory),
          pages_in(options_.kv_cache_memory) * page_tokens(), format_bytes(cache_bytes(least)),
          demand_.least, sequences());
    }
    if (fixed_ + cache_bytes(pages) > budget_) return error("{}", account(pages));
    return MemoryPlan{.total = device_.total,
                      .free = device_.free,
                      .share = share_,
                      .weights = needs_.weights,
                      .activations = needs_.activations,
                      .kv_cache = cache_bytes(pages),
                      .token_bytes = token_bytes(),
                      .num_pages = static_cast<int32_t>(pages),
                      .page_tokens = needs_.page_tokens};
  }

 private:
  int64_t page_tokens() const { return needs_.page_tokens; }
  uint64_t token_bytes() const {
    return needs_.page_bytes * static_cast<uint64_t>(needs_.num_buffers) /
           static_cast<uint64_t>(needs_.page_tokens);
  }
  int64_t pages_for(int64_t tokens) const { return (tokens + page_tokens() - 1) / page_tokens(); }

  // Slots are 32-bit integers in the kernels.
  int64_t most_pages() const { return INT32_MAX / page_tokens(); }

  // Every buffer is an allocation of its own, which the device rounds up.
  uint64_t cache_bytes(int64_t pages) const {
    const uint64_t bytes = static_cast<uint64_t>(pages) * needs_.page_bytes;
    const uint64_t unit = bytes < device_.allocation_unit ? 1 : device_.allocation_unit;
    return (bytes + unit - 1) / unit * unit * static_cast<uint64_t>(needs_.num_buffers);
  }
  int64_t pages_in(uint64_t bytes) const {
    uint64_t buffer = bytes / static_cast<uint64_t>(needs_.num_buffers);
    if (buffer >= device_.allocation_unit) buffer -= buffer % device_.allocation_unit;
    return static_cast<int64_t>(
        std::min<uint64_t>(buffer / needs_.page_bytes, static_cast<uint64_t>(most_pages())));
  }

  int64_t choose_pages() const {
    if (options_.kv_cache_memory > 0) return pages_in(options_.kv_cache_memory);
    if (demand_.exact > 0) return std::min(pages_for(demand_.exact), most_pages());
    const int64_t least = pages_for(demand_.least);
    const bool told = options_.memory_utilization > 0;
    if (demand_.fills && (device_.gpu || told)) {
      return std::max(least, std::min(pages_in(rest_), kMostFilledPages));
    }
    // A processor's memory is for others too: half of what is left.
    const uint64_t bound = device_.gpu || told ? rest_ : rest_ / 2;
    return std::max(least, std::min(pages_for(demand_.usual), pages_in(bound)));
  }

  std::string sequences() const {
    return demand_.sequences == 1 ? "one sequence" : fmt::format("{} sequences", demand_.sequences);
  }

  std::string account(int64_t pages) const {
    return fmt::format(
        "out of memory: {} wanted, {} of the {} free on {} may be taken (--memory-utilization "
        "{:.2f}): "
        "weights {}, activations {}, KV cache {} for {} tokens ({} a token, at least {} for {}); "
        "{}",
        format_bytes(fixed_ + cache_bytes(pages)), format_bytes(budget_),
        format_bytes(device_.free), device_.name, share_, format_bytes(needs_.weights),
        format_bytes(needs_.activations), format_bytes(cache_bytes(pages)), pages * page_tokens(),
        format_bytes(token_bytes()), format_bytes(cache_bytes(pages_for(demand_.least))),
        sequences(), advice(pages));
  }

  // Which flag to change, most likely first.
  std::string advice(int64_t pages) const {
    const uint64_t wanted = fixed_ + cache_bytes(pages);
    const double enough = std::ceil(100.0 * static_cast<double>(wanted) /
                                    static_cast<double>(std::max<uint64_t>(device_.free, 1))) /
                          100;
    std::string text;
    const bool no_room = pages_in(rest_) < demand_.sequences;
    if (no_room) {
      text = needs_.weights > budget_
                 ? "a model with fewer or smaller weights would fit, or another --device"
                 : "a lower --max-model-len, fewer sequences (--max-sequences, --batch) or, for "
                   "serve and bench, a lower --max-step-tokens take less for activations";
    } else if (options_.kv_cache_memory > 0) {
      text = fmt::format("--kv-cache-memory {} would fit", rest_);
    } else if (demand_.exact > 0) {
      text = fmt::format("--cache-tokens {} would fit", pages_in(rest_) * page_tokens());
    } else {
      text = fmt::format("--max-model-len {} would fit",
                         pages_in(rest_) / demand_.sequences * page_tokens());
    }
    if (share_ < enough && enough <= 1) {
      text += fmt::format("; --memory-utilization {:.2f} would do", enough);
    }
    return text;
  }

  const MemoryNeeds& needs_;
  const CacheDemand& demand_;
  const MemoryOptions& options_;
  const DeviceMemory& device_;
  double share_ = 0;
  uint64_t budget_ = 0, fixed_ = 0, rest_ = 0;
};

}  // namespace

std::string MemoryPlan::text() const {
  return fmt::format(
      "weights {}, activations {}, KV cache {} for {} tokens ({} each); {:.2f} of {} free may be "
      "taken",
      format_bytes(weights), format_bytes(activations), format_bytes(kv_cache), cache_tokens(),
      format_bytes(token_bytes), share, format_bytes(free));
}

Result<MemoryPlan> plan_memory(const MemoryNeeds& needs, const CacheDemand& demand,
                               const MemoryOptions& options, const DeviceMemory& device) {
  NEREID_CHECK(needs.page_bytes > 0 && needs.num_buffers > 0 && needs.page_tokens > 0,
               "pages of {} bytes in {} buffers", needs.page_bytes, needs.num_buffers);
  return Planner(needs, demand, options, device).plan();
}

}  // namespace nereid
