// See launch_checks.h.
#include "src/device/launch_checks.h"

#include <limits>

#include "src/base/check.h"

namespace nereid {

Result<uint64_t> count_programs(const LaunchParams& params) {
  constexpr uint64_t kMaxPrograms = std::numeric_limits<int32_t>::max();
  NEREID_CHECK(params.kernel != nullptr, "launch of '{}' without a kernel", params.label);
  NEREID_CHECK(params.args.size() == params.kernel->num_args, "{}: {} arguments, expected {}",
               params.label, params.args.size(), params.kernel->num_args);
  const Grid& grid = params.grid;
  const uint64_t plane = uint64_t{grid.x} * grid.y;  // fits; the third factor may not
  if (plane == 0 || grid.z == 0) return 0;
  if (plane > kMaxPrograms / grid.z) {
    return error("{}: grid {} x {} x {} has more than {} programs", params.label, grid.x, grid.y,
                 grid.z, kMaxPrograms);
  }
  return plane * grid.z;
}

}  // namespace nereid
