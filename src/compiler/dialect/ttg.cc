// The `ttg` dialect, of which TTIR holds barriers only.
#include "src/compiler/dialect/tt.h"

#include "src/compiler/dialect/ttg_dialect.cc.inc"
#define GET_OP_CLASSES
#include "src/compiler/dialect/ttg_ops.cc.inc"

namespace mlir::triton::gpu {

void TritonGpuDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "src/compiler/dialect/ttg_ops.cc.inc"
      >();
}

ParseResult BarrierOp::parse(OpAsmParser& parser, OperationState& result) {
  std::string spaces;
  do {
    StringRef space;
    if (parser.parseKeyword(&space)) return failure();
    spaces += (spaces.empty() ? "" : "|") + space.str();
  } while (succeeded(parser.parseOptionalVerticalBar()));
  result.addAttribute(getSpacesAttrName(result.name), parser.getBuilder().getStringAttr(spaces));
  return parser.parseOptionalAttrDict(result.attributes);
}

void BarrierOp::print(OpAsmPrinter& printer) {
  printer << " " << getSpaces();
  printer.printOptionalAttrDict((*this)->getAttrs(), {getSpacesAttrName()});
}

}  // namespace mlir::triton::gpu
