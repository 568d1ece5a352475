// Pages of stored tensors for tests: remembers which were released.
#pragma once

#include <string>
#include <vector>

#include "src/quant/storage.h"

namespace nereid::quant {

class CountingPages : public TensorPages {
 public:
  void release(const StoredTensor& tensor) const override { released.push_back(tensor.name); }
  mutable std::vector<std::string> released;  // names, in the order of the calls
};

}  // namespace nereid::quant
