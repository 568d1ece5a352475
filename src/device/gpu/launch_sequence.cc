// Lists of words; capture and instantiation.
#include "src/device/gpu/launch_sequence.h"

#include <bit>

namespace nereid::gpu {
namespace {

constexpr size_t kHeadWords = 4;  // kernel, x and y of the grid, z of it, number of arguments

}  // namespace

void LaunchList::add(const NotedLaunch& launch) {
  words_.push_back(static_cast<uint64_t>(reinterpret_cast<uintptr_t>(launch.kernel)));
  words_.push_back(uint64_t{launch.grid.x} << 32 | launch.grid.y);
  words_.push_back(launch.grid.z);
  words_.push_back(launch.args.size());
  words_.insert(words_.end(), launch.args.begin(), launch.args.end());
}

size_t LaunchList::read(size_t at, NotedLaunch& launch) const {
  // NOLINTNEXTLINE(performance-no-int-to-ptr): add() put it there.
  launch.kernel = reinterpret_cast<const Kernel*>(static_cast<uintptr_t>(words_[at]));
  launch.grid = {.x = static_cast<uint32_t>(words_[at + 1] >> 32),
                 .y = static_cast<uint32_t>(words_[at + 1]),
                 .z = static_cast<uint32_t>(words_[at + 2])};
  launch.args = std::span(words_).subspan(at + kHeadWords, words_[at + 3]);
  return at + kHeadWords + launch.args.size();
}

uint64_t LaunchList::hash() const {
  uint64_t hash = words_.size();
  for (const uint64_t word : words_) {
    hash = (std::rotl(hash, 5) ^ word) * 0x9E3779B97F4A7C15U;
  }
  return hash;
}

void GraphCache::clear() {
  for (const auto& [hash, entry] : entries_) {
    if (entry.graph != nullptr) session_.library().run(&Calls::graph_exec_destroy, entry.graph);
  }
  entries_.clear();
}

GraphCache::Entry& GraphCache::entry_of(const LaunchList& list) {
  const uint64_t hash = list.hash();
  const auto found = entries_.find(hash);
  if (found != entries_.end() && found->second.words == list.words()) return found->second;
  // Many different lists: those in use come back soon enough.
  if (found != entries_.end() || entries_.size() >= kMaxGraphs) clear();
  Entry& entry = entries_[hash];
  entry.words = list.words();
  return entry;
}

Result<Handle> GraphCache::end_capture(Handle stream, const Status& enqueued) {
  Handle graph = nullptr, executable = nullptr;
  const Status captured = session_.call(&Calls::capture_end, stream, &graph);
  Status made = enqueued;
  if (made) made = captured;
  if (made) {
    made = session_.call(&Calls::graph_instantiate, &executable, graph, 0ULL);
  }
  if (graph != nullptr) session_.library().run(&Calls::graph_destroy, graph);
  if (!made) return std::unexpected(made.error());
  return executable;
}

}  // namespace nereid::gpu
