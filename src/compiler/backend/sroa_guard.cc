// The workaround for SROA's tree-structured merge of LLVM 22.
#include "src/compiler/backend/sroa_guard.h"

#include "llvm/Analysis/ValueTracking.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/Instructions.h"
#include "llvm/IR/Module.h"

namespace nereid {

void guard_against_sroa_merge(llvm::Module& module) {
  llvm::SmallVector<llvm::LoadInst*> loads;
  for (llvm::Function& function : module)
    for (llvm::Instruction& instruction : llvm::instructions(function))
      if (auto* load = llvm::dyn_cast<llvm::LoadInst>(&instruction);
          load && load->getType()->isVectorTy() &&
          llvm::isa<llvm::AllocaInst>(llvm::getUnderlyingObject(load->getPointerOperand())))
        loads.push_back(load);
  for (llvm::LoadInst* load : loads) load->clone()->insertAfter(load->getIterator());
}

}  // namespace nereid
