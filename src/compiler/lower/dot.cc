// tt.dot.
#include "src/compiler/lower/emitter.h"

namespace nereid::lower {
void Emitter::emit_dot(mlir::triton::DotOp op) { fail(op, "not supported yet", nullptr); }
}  // namespace nereid::lower
