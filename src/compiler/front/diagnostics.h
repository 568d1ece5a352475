// Collects MLIR diagnostics as one-line messages that name the place in the TTIR or Python source.
#pragma once

#include <string>
#include <vector>

#include "mlir/IR/Diagnostics.h"

namespace nereid {

// "matmul.py:31:20" for nested locations; "matmul.py:31:20 (called from matmul.py:70:9)" after
// inlining; "" when unknown.
std::string describe_location(mlir::Location location);

// While alive, errors of the context land here instead of on stderr.
class DiagnosticCollector {
 public:
  explicit DiagnosticCollector(mlir::MLIRContext* context);
  // The first error, "place: message", or `fallback` when none was reported.
  std::string first_error(const std::string& fallback) const;

 private:
  std::vector<std::string> errors_;
  mlir::ScopedDiagnosticHandler handler_;
};

}  // namespace nereid
