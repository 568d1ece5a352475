// Turns MLIR locations and diagnostics into one line of text each.
#include "src/compiler/front/diagnostics.h"

#include <algorithm>

#include "mlir/IR/Location.h"
#include "mlir/IR/MLIRContext.h"

namespace nereid {
namespace {

// The file position inside `location`, innermost callee first; null when it has none.
mlir::FileLineColLoc find_file_location(mlir::Location location) {
  if (auto file = mlir::dyn_cast<mlir::FileLineColLoc>(location)) return file;
  if (auto name = mlir::dyn_cast<mlir::NameLoc>(location))
    return find_file_location(name.getChildLoc());
  if (auto call = mlir::dyn_cast<mlir::CallSiteLoc>(location))
    return find_file_location(call.getCallee());
  if (auto fused = mlir::dyn_cast<mlir::FusedLoc>(location))
    for (mlir::Location part : fused.getLocations())
      if (auto file = find_file_location(part)) return file;
  return nullptr;
}

std::string file_text(mlir::FileLineColLoc file) {
  return file.getFilename().str() + ":" + std::to_string(file.getLine()) + ":" +
         std::to_string(file.getColumn());
}

// The outermost caller of an inlined operation; null when it was not inlined.
mlir::FileLineColLoc find_outermost_caller(mlir::Location location) {
  mlir::FileLineColLoc caller = nullptr;
  while (true) {
    if (auto name = mlir::dyn_cast<mlir::NameLoc>(location)) {
      location = name.getChildLoc();
    } else if (auto call = mlir::dyn_cast<mlir::CallSiteLoc>(location)) {
      caller = find_file_location(call.getCaller());
      location = call.getCaller();
    } else {
      return caller;
    }
  }
}

std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  while (!text.empty() && text.back() == ' ') text.pop_back();
  constexpr size_t kMaxLength = 600;  // an op printed in a message may be very long
  if (text.size() > kMaxLength) text = text.substr(0, kMaxLength) + "...";
  return text;
}

}  // namespace

std::string describe_location(mlir::Location location) {
  mlir::FileLineColLoc file = find_file_location(location);
  if (!file) return "";
  std::string text = file_text(file);
  mlir::FileLineColLoc caller = find_outermost_caller(location);
  if (caller && caller != file) text += " (called from " + file_text(caller) + ")";
  return text;
}

DiagnosticCollector::DiagnosticCollector(mlir::MLIRContext* context)
    : handler_(context, [this](mlir::Diagnostic& diagnostic) {
        if (diagnostic.getSeverity() != mlir::DiagnosticSeverity::Error) return mlir::success();
        std::string place = describe_location(diagnostic.getLocation());
        errors_.push_back(
            one_line(place.empty() ? diagnostic.str() : place + ": " + diagnostic.str()));
        return mlir::success();
      }) {}

std::string DiagnosticCollector::first_error(const std::string& fallback) const {
  return errors_.empty() ? fallback : errors_.front();
}

}  // namespace nereid
