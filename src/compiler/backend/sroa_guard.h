// Keeps LLVM 22's SROA from a transformation that is wrong.
#pragma once

namespace llvm {
class Module;
}

namespace nereid {

// SROA turns several vector stores into a stack slot and the one load of the whole slot into
// shuffles, which it puts before the store with the highest address; when that store is not the
// last one in program order, the shuffles use values that do not exist yet. A slot with two loads
// is not treated so; hence every vector load of a stack slot gets an unused twin, which later
// passes drop.
void guard_against_sroa_merge(llvm::Module& module);

}  // namespace nereid
