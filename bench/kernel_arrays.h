// Device memory of one job: random numbers, more copies of some arrays than caches hold, and the
// workspace that a launcher would give.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "bench/kernel_jobs.h"
#include "src/base/result.h"
#include "src/device/device.h"

namespace nereid::bench {

class Arrays {
 public:
  static constexpr int kMaxCopies = 20;

  // `cold_bytes`: of the arrays that rotate, before the same bytes come again. Device and job must
  // outlive it.
  Arrays(Device& device, const Job& job, uint64_t cold_bytes);
  Arrays(const Arrays&) = delete;
  Arrays& operator=(const Arrays&) = delete;
  ~Arrays();

  Status place();
  Status reserve_workspace(uint64_t bytes);

  // Arguments of the launch number `turn`.
  std::vector<uint64_t> slots(size_t turn, bool with_workspace) const;

  // The beginning of each array that is written: as it was at first, and what it holds.
  Status restore();
  Result<std::vector<std::vector<std::byte>>> written();
  std::vector<DType> written_dtypes() const;

 private:
  template <typename F>
  Status each_compared(F visit);

  Device& device_;
  const Job& job_;
  size_t copies_ = 1;
  std::vector<DevicePtr> bases_;
  DevicePtr workspace_ = 0;
  uint64_t workspace_bytes_ = 0;
};

}  // namespace nereid::bench
