// Lanes to and from memory: from the shape of the pointer's lanes to the cheapest access that
// touches no byte of a masked-off lane.
#include "src/compiler/lower/emitter.h"

namespace nereid::lower {

namespace {

bool contiguous(Pattern pattern, int64_t size, unsigned lanes) {
  for (unsigned lane = 0; lane < lanes; ++lane) {
    if ((pattern ? (*pattern)[lane] : 0) != lane * size) return false;
  }
  return true;
}

// Longest power-of-two runs of neighbouring elements that the pattern consists of.
unsigned run_length(const std::vector<int64_t>& pattern, int64_t size) {
  unsigned lanes = static_cast<unsigned>(pattern.size());
  for (unsigned run = lanes; run > 1; run /= 2) {
    if (lanes % run != 0) continue;
    bool all = true;
    for (unsigned lane = 0; lane < lanes && all; ++lane) {
      all = pattern[lane] == pattern[lane / run * run] + int64_t(lane % run) * size;
    }
    if (all) return run;
  }
  return 1;
}

// Runs of neighbouring elements that are dealt out to the lanes in turn, such as two rows for an
// instruction that takes pairs of them: how many; 1 if that is not what the pattern is.
unsigned interleaved_runs(const std::vector<int64_t>& pattern, int64_t size) {
  const auto lanes = static_cast<unsigned>(pattern.size());
  for (unsigned runs : {2U, 4U}) {
    if (lanes % runs != 0 || lanes / runs < 4) continue;
    bool all = true;
    for (unsigned lane = runs; lane < lanes && all; ++lane) {
      all = pattern[lane] == pattern[lane - runs] + size;
    }
    if (all) return runs;
  }
  return 1;
}

bool every_other(const std::vector<int64_t>& pattern, int64_t size) {
  for (size_t lane = 1; lane < pattern.size(); ++lane) {
    if (pattern[lane] != pattern[lane - 1] + 2 * size) return false;
  }
  return pattern.size() >= 4 && pattern[0] == 0;
}

}  // namespace

llvm::Value* Emitter::slice(llvm::Value* vector, unsigned begin, unsigned count) {
  auto* type = llvm::cast<llvm::FixedVectorType>(vector->getType());
  if (count == type->getNumElements()) return vector;
  if (count == 1) return builder_.CreateExtractElement(vector, uint64_t{begin});
  llvm::SmallVector<int, 64> mask;
  for (unsigned lane = 0; lane < count; ++lane) mask.push_back(static_cast<int>(begin + lane));
  return builder_.CreateShuffleVector(vector, mask);
}

// Vectors (or scalars) of one size, a power of two many, side by side.
llvm::Value* Emitter::concat(llvm::ArrayRef<llvm::Value*> parts) {
  if (parts.size() == 1) return parts[0];
  if (!parts[0]->getType()->isVectorTy()) {
    llvm::Value* vector = llvm::PoisonValue::get(
        llvm::FixedVectorType::get(parts[0]->getType(), static_cast<unsigned>(parts.size())));
    for (auto [lane, part] : llvm::enumerate(parts)) {
      vector = builder_.CreateInsertElement(vector, part, uint64_t{lane});
    }
    return vector;
  }
  llvm::Value* low = concat(parts.take_front(parts.size() / 2));
  llvm::Value* high = concat(parts.drop_front(parts.size() / 2));
  unsigned lanes = llvm::cast<llvm::FixedVectorType>(low->getType())->getNumElements();
  llvm::SmallVector<int, 64> mask;
  for (unsigned lane = 0; lane < 2 * lanes; ++lane) mask.push_back(static_cast<int>(lane));
  return builder_.CreateShuffleVector(low, high, mask);
}

llvm::Value* Emitter::from_memory(llvm::Value* value, mlir::Type element) {
  if (!element.isInteger(1)) return value;
  return builder_.CreateICmpNE(value, llvm::Constant::getNullValue(value->getType()));
}

llvm::Value* Emitter::to_memory(llvm::Value* value, mlir::Type element) {
  if (!element.isInteger(1)) return value;
  return builder_.CreateZExt(value, value->getType()->getWithNewType(memory_type(element)));
}

llvm::Value* Emitter::lane_pointer(const Lanes& pointer, unsigned lane) {
  if (pointer.uniform()) return pointer.value;
  if (pointer.vector()) return builder_.CreateExtractElement(pointer.value, uint64_t{lane});
  llvm::Value* offset = i64((*pointer.pattern)[lane]);
  if (pointer.scale) offset = builder_.CreateMul(offset, pointer.scale);
  return builder_.CreateGEP(builder_.getInt8Ty(), pointer.value, offset);
}

// Memory-typed values (see memory_type) of consecutive elements; mask and other may be null.
llvm::Value* Emitter::load_contiguous(llvm::Value* base, const Access& access, llvm::Value* mask,
                                      llvm::Value* other, unsigned lanes) {
  llvm::Type* type = widen(memory_type(access.element), lanes);
  llvm::Align align(access.align);
  if (!mask) return builder_.CreateAlignedLoad(type, base, align);
  if (lanes == 1) {
    llvm::Value* safe = builder_.CreateSelect(mask, base, dummy_slot());
    llvm::Value* value = builder_.CreateAlignedLoad(type, safe, align);
    return builder_.CreateSelect(mask, value, other ? other : llvm::Constant::getNullValue(type));
  }
  if (!other) other = llvm::Constant::getNullValue(type);
  return builder_.CreateMaskedLoad(type, base, align, mask, other);
}

void Emitter::store_contiguous(llvm::Value* base, const Access& access, llvm::Value* mask,
                               llvm::Value* value) {
  llvm::Align align(access.align);
  if (!mask) {
    builder_.CreateAlignedStore(value, base, align);
  } else if (!mask->getType()->isVectorTy()) {
    llvm::Value* safe = builder_.CreateSelect(mask, base, dummy_slot());
    builder_.CreateAlignedStore(value, safe, align);
  } else {
    builder_.CreateMaskedStore(value, base, align, mask);
  }
}

// All lanes read one address.
Lanes Emitter::load_uniform(const Access& access, const std::optional<Lanes>& other,
                            unsigned lanes) {
  llvm::Value* active = nullptr;
  if (access.mask) {
    active = access.mask->value;
    if (access.mask->vector()) active = builder_.CreateOrReduce(active);
    if (auto* known = llvm::dyn_cast<llvm::ConstantInt>(active); known && known->isOne()) {
      active = nullptr;
    }
  }
  bool simple_other = other && other->uniform() && access.mask && access.mask->uniform();
  llvm::Value* passed = simple_other ? to_memory(other->value, access.element) : nullptr;
  Access single = access;
  llvm::Value* value =
      from_memory(load_contiguous(access.pointer.value, single, active, passed, 1), access.element);
  if (!active || !access.mask || !other || simple_other) return Lanes::make_uniform(value);
  llvm::Value* mask = access.mask->uniform() && lanes > 1
                          ? builder_.CreateVectorSplat(lanes, access.mask->value)
                          : access.mask->value;
  llvm::Value* all = lanes == 1 ? value : builder_.CreateVectorSplat(lanes, value);
  return Lanes::make_vector(builder_.CreateSelect(mask, all, vector_of(*other, lanes)));
}

// Every other element, as the lower halves of integers of twice the size: no shuffle, and what
// follows often takes a half where it is. Null where such an integer may cross a page.
llvm::Value* Emitter::load_every_other(const Access& access, unsigned lanes) {
  const int64_t size = element_bytes(access.element);
  if (size > 2 || !every_other(*access.pointer.pattern, size)) return nullptr;
  if (known_align(access.pointer.value) < 2 * size) return nullptr;
  const auto bits = static_cast<unsigned>(8 * size);
  llvm::Value* pairs =
      builder_.CreateAlignedLoad(widen(builder_.getIntNTy(2 * bits), lanes), access.pointer.value,
                                 llvm::Align(static_cast<uint64_t>(size)));
  llvm::Value* halves = builder_.CreateTrunc(pairs, widen(builder_.getIntNTy(bits), lanes));
  return builder_.CreateBitCast(halves, widen(memory_type(access.element), lanes));
}

// Constant byte offsets between lanes: runs of neighbours, or a short span to be shuffled.
llvm::Value* Emitter::load_pattern(const Access& access, llvm::Value* mask, llvm::Value* other,
                                   unsigned lanes) {
  const std::vector<int64_t>& pattern = *access.pointer.pattern;
  int64_t size = element_bytes(access.element);
  llvm::Type* bytes = builder_.getInt8Ty();
  auto at = [&](int64_t offset) {
    return builder_.CreateGEP(bytes, access.pointer.value, i64(offset));
  };
  unsigned run = run_length(pattern, size);
  int64_t low = *llvm::min_element(pattern), high = *llvm::max_element(pattern);
  int64_t span = (high - low) / size + 1;
  bool grid = llvm::all_of(pattern, [&](int64_t offset) { return (offset - low) % size == 0; });
  const unsigned runs = mask ? 1 : interleaved_runs(pattern, size);
  if (runs > 1 && span > 2 * int64_t{lanes}) {
    const unsigned length = lanes / runs;
    llvm::SmallVector<llvm::Value*, 4> rows;
    for (unsigned first = 0; first < runs; ++first) {
      rows.push_back(load_contiguous(at(pattern[first]), access, nullptr, nullptr, length));
    }
    llvm::SmallVector<int, 64> order;
    for (unsigned lane = 0; lane < lanes; ++lane) {
      order.push_back(static_cast<int>(lane % runs * length + lane / runs));
    }
    return builder_.CreateShuffleVector(concat(rows), order);
  }
  if (!mask) {
    if (llvm::Value* halves = load_every_other(access, lanes)) return halves;
  }
  // Between two lanes that are read lies at most one page border, with both pages present.
  if (!mask && grid && span <= 4 * int64_t{lanes} && (run < 4 || span <= int64_t{lanes})) {
    unsigned count = static_cast<unsigned>(span);
    llvm::Value* all = load_contiguous(at(low), access, nullptr, nullptr, count);
    if (count == 1) return builder_.CreateVectorSplat(lanes, all);
    llvm::SmallVector<int, 64> order;
    for (int64_t offset : pattern) order.push_back(static_cast<int>((offset - low) / size));
    return builder_.CreateShuffleVector(all, order);
  }
  if (run == 1) return nullptr;
  llvm::SmallVector<llvm::Value*, 16> parts;
  std::map<int64_t, llvm::Value*> known;
  for (unsigned lane = 0; lane < lanes; lane += run) {
    llvm::Value* part = mask ? nullptr : known[pattern[lane]];
    if (!part) {
      part = load_contiguous(at(pattern[lane]), access, mask ? slice(mask, lane, run) : nullptr,
                             other ? slice(other, lane, run) : nullptr, run);
    }
    if (!mask) known[pattern[lane]] = part;
    parts.push_back(part);
  }
  return concat(parts);
}

// Every lane on its own, or a hardware gather for 4- and 8-byte elements; that of a few lanes takes
// longer than their loads.
llvm::Value* Emitter::load_gather(const Access& access, llvm::Value* mask, llvm::Value* other,
                                  unsigned lanes) {
  llvm::Type* type = memory_type(access.element);
  llvm::Align align(access.align);
  unsigned size = element_bytes(access.element);
  if (target_.has_avx512f && size >= 4 && lanes >= (mask ? 4 : 9) &&
      type->getScalarSizeInBits() >= 32) {
    llvm::Value* all =
        mask ? mask : llvm::Constant::getAllOnesValue(widen(builder_.getInt1Ty(), lanes));
    llvm::Type* wide = widen(type, lanes);
    if (!other) other = llvm::Constant::getNullValue(wide);
    return builder_.CreateMaskedGather(wide, vector_of(access.pointer, lanes), align, all, other);
  }
  llvm::SmallVector<llvm::Value*, 64> values;
  for (unsigned lane = 0; lane < lanes; ++lane) {
    llvm::Value* pointer = lane_pointer(access.pointer, lane);
    if (mask) {
      llvm::Value* active = builder_.CreateExtractElement(mask, uint64_t{lane});
      pointer = builder_.CreateSelect(active, pointer, dummy_slot());
    }
    values.push_back(builder_.CreateAlignedLoad(type, pointer, align));
  }
  llvm::Value* gathered = concat(values);
  if (!mask) return gathered;
  if (!other) other = llvm::Constant::getNullValue(gathered->getType());
  return builder_.CreateSelect(mask, gathered, other);
}

Lanes Emitter::load_lanes(const Access& access, const std::optional<Lanes>& other, unsigned lanes) {
  Access plain = access;
  plain.pointer = settle(access.pointer);
  if (plain.mask && !plain.mask->affine()) {
    auto* known = llvm::dyn_cast<llvm::Constant>(plain.mask->value);
    if (known && known->isAllOnesValue()) plain.mask.reset();
  }
  if (plain.pointer.uniform()) return load_uniform(plain, other, lanes);
  llvm::Value* mask = plain.mask ? vector_of(*plain.mask, lanes) : nullptr;
  llvm::Value* passed =
      mask && other ? to_memory(vector_of(*other, lanes), access.element) : nullptr;
  llvm::Value* value = nullptr;
  if (plain.pointer.affine() && !plain.pointer.scale) {
    int64_t size = element_bytes(access.element);
    if (contiguous(plain.pointer.pattern, size, lanes)) {
      value = load_contiguous(plain.pointer.value, plain, mask, passed, lanes);
    } else {
      value = load_pattern(plain, mask, passed, lanes);
    }
  }
  if (!value) value = load_gather(plain, mask, passed, lanes);
  return Lanes::make_vector(from_memory(value, access.element));
}

bool Emitter::store_pattern(const Access& access, llvm::Value* mask, llvm::Value* value,
                            unsigned lanes) {
  const std::vector<int64_t>& pattern = *access.pointer.pattern;
  unsigned run = run_length(pattern, element_bytes(access.element));
  if (run == 1) return false;
  for (unsigned lane = 0; lane < lanes; lane += run) {
    llvm::Value* base =
        builder_.CreateGEP(builder_.getInt8Ty(), access.pointer.value, i64(pattern[lane]));
    store_contiguous(base, access, mask ? slice(mask, lane, run) : nullptr,
                     slice(value, lane, run));
  }
  return true;
}

void Emitter::store_scatter(const Access& access, llvm::Value* mask, llvm::Value* value,
                            unsigned lanes) {
  llvm::Align align(access.align);
  unsigned bits = value->getType()->getScalarSizeInBits();
  if (target_.has_avx512f && bits >= 32 && lanes >= 4 && access.pointer.vector()) {
    llvm::Value* all =
        mask ? mask : llvm::Constant::getAllOnesValue(widen(builder_.getInt1Ty(), lanes));
    builder_.CreateMaskedScatter(value, access.pointer.value, align, all);
    return;
  }
  for (unsigned lane = 0; lane < lanes; ++lane) {
    llvm::Value* pointer = lane_pointer(access.pointer, lane);
    if (mask) {
      llvm::Value* active = builder_.CreateExtractElement(mask, uint64_t{lane});
      pointer = builder_.CreateSelect(active, pointer, dummy_slot());
    }
    builder_.CreateAlignedStore(builder_.CreateExtractElement(value, uint64_t{lane}), pointer,
                                align);
  }
}

void Emitter::store_lanes(const Access& target, const Lanes& value, unsigned lanes) {
  Access access = target;
  access.pointer = settle(target.pointer);
  llvm::Value* mask = nullptr;
  if (access.mask) {
    mask = access.mask->value;
    auto* known = llvm::dyn_cast<llvm::Constant>(mask);
    if (known && known->isNullValue()) return;
    if (known && known->isAllOnesValue()) mask = nullptr;
  }
  if (lanes == 1 ||
      (access.pointer.uniform() && value.uniform() && (!mask || !mask->getType()->isVectorTy()))) {
    llvm::Value* one = to_memory(lanes == 1 ? vector_of(value, 1) : value.value, access.element);
    store_contiguous(lane_pointer(access.pointer, 0), access, mask, one);
    return;
  }
  llvm::Value* vector = to_memory(vector_of(value, lanes), access.element);
  const bool in_a_row = access.pointer.affine() && !access.pointer.scale &&
                        contiguous(access.pointer.pattern, element_bytes(access.element), lanes);
  // Masked stores of AVX2 take many cycles: with one mask for all lanes, all go elsewhere instead.
  const bool one_mask = in_a_row && mask && access.mask && access.mask->uniform() &&
                        !target_.has_avx512f &&
                        lanes * element_bytes(access.element) <= kNowhereBytes;
  if (mask && access.mask && !one_mask) mask = vector_of(*access.mask, lanes);
  if (in_a_row) {
    store_contiguous(access.pointer.value, access, mask, vector);
    return;
  }
  if (access.pointer.affine() && !access.pointer.scale) {
    if (store_pattern(access, mask, vector, lanes)) return;
  }
  store_scatter(access, mask, vector, lanes);
}

}  // namespace nereid::lower
