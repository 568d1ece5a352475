// Small helpers shared by the files of math/: splat constants, element types, helper functions.
#pragma once

#include <functional>
#include <string>

#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/Module.h"

namespace nereid::math {

inline unsigned lanes_of(llvm::Type* type) {
  auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(type);
  return vector ? vector->getNumElements() : 1;
}

// `scalar` widened to the lane count of `like`.
inline llvm::Type* with_lanes(llvm::Type* scalar, llvm::Type* like) {
  auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(like);
  return vector ? llvm::FixedVectorType::get(scalar, vector->getNumElements()) : scalar;
}

inline llvm::Type* int_type_like(llvm::IRBuilderBase& b, unsigned bits, llvm::Type* like) {
  return with_lanes(b.getIntNTy(bits), like);
}

// Emits strict floating-point IR into one function: a * b + c is fused where the CPU can.
class MathEmitter {
 public:
  MathEmitter(llvm::IRBuilderBase& builder, llvm::Type* float_type)
      : b(builder), type(float_type) {}

  llvm::Constant* number(double value) const { return llvm::ConstantFP::get(type, value); }
  llvm::Type* int_type(unsigned bits = 32) const { return int_type_like(b, bits, type); }
  llvm::Constant* integer(int64_t value, unsigned bits = 32) const {
    return llvm::ConstantInt::getSigned(int_type(bits), value);
  }
  llvm::Value* bits_of(llvm::Value* value) const {
    return b.CreateBitCast(value, int_type(value->getType()->getScalarSizeInBits()));
  }
  llvm::Value* as_float(llvm::Value* value) const { return b.CreateBitCast(value, type); }
  llvm::Value* fma(llvm::Value* x, llvm::Value* y, llvm::Value* z) const {
    return b.CreateIntrinsic(llvm::Intrinsic::fmuladd, {x->getType()}, {x, y, z});
  }
  llvm::Value* fma(llvm::Value* x, double y, llvm::Value* z) const {
    return fma(x, llvm::ConstantFP::get(x->getType(), y), z);
  }
  llvm::Value* abs(llvm::Value* x) const {
    return b.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, x);
  }
  llvm::Value* copysign(llvm::Value* magnitude, llvm::Value* sign) const {
    return b.CreateBinaryIntrinsic(llvm::Intrinsic::copysign, magnitude, sign);
  }
  // c[0] + c[1] x + c[2] x^2 + ...
  llvm::Value* polynomial(llvm::Value* x, std::initializer_list<double> coefficients) const {
    const double* first = std::data(coefficients);
    size_t last = coefficients.size() - 1;
    llvm::Value* sum = llvm::ConstantFP::get(x->getType(), first[last]);
    for (size_t power = last; power-- > 0;)
      sum = fma(sum, x, llvm::ConstantFP::get(x->getType(), first[power]));
    return sum;
  }
  // x limited to [low, high]; NaN stays NaN.
  llvm::Value* clamp(llvm::Value* x, double low, double high) const {
    x = b.CreateSelect(b.CreateFCmpOGT(x, number(high)), number(high), x);
    return b.CreateSelect(b.CreateFCmpOLT(x, number(low)), number(low), x);
  }

  llvm::IRBuilderBase& b;
  llvm::Type* type;
};

// Calls the internal function "nereid.<name>.<type>", making it with `body` on first use. The body
// returns the value for the function's arguments; it has the first one's type unless told
// otherwise.
using BodyEmitter = std::function<llvm::Value*(llvm::IRBuilder<>&, llvm::Function*)>;
llvm::Value* call_helper(llvm::IRBuilderBase& builder, const std::string& name,
                         llvm::ArrayRef<llvm::Value*> arguments, bool always_inline,
                         const BodyEmitter& body, llvm::Type* result_type = nullptr);

}  // namespace nereid::math
