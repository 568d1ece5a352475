// The one op of Triton's GPU dialect that its language emits into TTIR: tl.debug_barrier().
#ifndef NEREID_TTG
#define NEREID_TTG

include "mlir/IR/OpBase.td"

def TritonGpu_Dialect : Dialect {
  let name = "ttg";
  let cppNamespace = "::mlir::triton::gpu";
}

// A barrier among the threads of one program; text: `ttg.barrier all` or `ttg.barrier local|global`.
def TTG_BarrierOp : Op<TritonGpu_Dialect, "barrier", []> {
  let arguments = (ins StrAttr:$spaces);
  let hasCustomAssemblyFormat = 1;
}

#endif
