// See ids.h.
#include "src/server/openai/ids.h"

#include <random>

namespace nereid::openai {
namespace {

std::mt19937_64& generator() {
  thread_local std::mt19937_64 engine = [] {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device()};
    return std::mt19937_64(seed);
  }();
  return engine;
}

}  // namespace

std::string random_id(std::string_view prefix, size_t length) {
  constexpr std::string_view kAlphabet =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  std::uniform_int_distribution<size_t> pick(0, kAlphabet.size() - 1);
  std::string id(prefix);
  for (size_t count = 0; count < length; ++count) id += kAlphabet[pick(generator())];
  return id;
}

uint64_t random_seed() {
  return generator()();
}

}  // namespace nereid::openai
