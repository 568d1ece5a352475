// Precompiled header of the compiler: the heavy MLIR and LLVM headers that most of its files use.
#pragma once

#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/Module.h"
#include "src/compiler/dialect/tt.h"
