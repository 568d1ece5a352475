// TTIR text of any bytes: parsed, checked and brought into the form that the lowering expects.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "mlir/IR/MLIRContext.h"
#include "src/compiler/dialect/tt.h"
#include "src/compiler/front/front.h"

// With AVX2 and products of bytes, so that no rewrite is left out.
static const nereid::TargetInfo& target() {
  static const nereid::TargetInfo made = nereid::make_target("znver4").value();
  return made;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  mlir::MLIRContext context;
  nereid::prepare_context(context);
  std::string_view text(reinterpret_cast<const char*>(bytes), size);
  auto module = nereid::parse_ttir(context, text, "input");
  if (!module) return 0;
  if (!nereid::check_ttir(**module)) return 0;
  (void)nereid::run_front(**module, target(), nullptr);
  return 0;
}
