// Runs the emitted math functions on values spread over all of f32 and compares them with libm in
// double precision; conversions are compared with exact references.
#include "src/compiler/math/math.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "src/compiler/backend/backend.h"
#include "src/compiler/target.h"

namespace nereid {
namespace {

constexpr unsigned kLanes = 16;
using EmitBody = std::function<llvm::Value*(llvm::IRBuilder<>&, llvm::Value*, const TargetInfo&)>;

// A compiled loop out[i] = body(in[i]) over vectors of kLanes elements.
class VectorLoop {
 public:
  VectorLoop(const std::string& cpu, unsigned in_bits, unsigned out_bits, const EmitBody& body) {
    TargetInfo target = make_target(cpu).value();
    llvm::LLVMContext context;
    llvm::Module module("nereid", context);
    EXPECT_TRUE(prepare_module(module, target).has_value());
    llvm::IRBuilder<> b(context);
    llvm::Type* pointer = b.getPtrTy();
    auto* type = llvm::FunctionType::get(b.getVoidTy(), {pointer, pointer, b.getInt64Ty()}, false);
    auto* function =
        llvm::Function::Create(type, llvm::GlobalValue::ExternalLinkage, "run", module);
    auto* entry = llvm::BasicBlock::Create(context, "entry", function);
    auto* loop = llvm::BasicBlock::Create(context, "loop", function);
    auto* done = llvm::BasicBlock::Create(context, "done", function);
    b.SetInsertPoint(entry);
    b.CreateBr(loop);
    b.SetInsertPoint(loop);
    auto* at = b.CreatePHI(b.getInt64Ty(), 2);
    at->addIncoming(b.getInt64(0), entry);
    auto* in_type = llvm::FixedVectorType::get(b.getIntNTy(in_bits), kLanes);
    auto* out_type = llvm::FixedVectorType::get(b.getIntNTy(out_bits), kLanes);
    auto* x = b.CreateAlignedLoad(
        in_type, b.CreateGEP(b.getIntNTy(in_bits), function->getArg(0), at), llvm::Align(1));
    llvm::Value* y = b.CreateBitCast(body(b, x, target), out_type);
    b.CreateAlignedStore(y, b.CreateGEP(b.getIntNTy(out_bits), function->getArg(1), at),
                         llvm::Align(1));
    auto* next = b.CreateAdd(at, b.getInt64(kLanes));
    at->addIncoming(next, b.GetInsertBlock());
    b.CreateCondBr(b.CreateICmpULT(next, function->getArg(2)), loop, done);
    b.SetInsertPoint(done);
    b.CreateRetVoid();
    auto optimized = optimize_module(module, target);
    EXPECT_TRUE(optimized.has_value()) << optimized.error().message;
    std::string object = emit_code(module, target, CodeKind::kObject).value();
    static int serial = 0;  // dlopen knows a library by its path
    std::string path = testing::TempDir() + "/math_test_" + std::to_string(::getpid()) + "_" +
                       std::to_string(serial++) + ".so";
    auto linked = link_shared_object({object}, target, path);
    EXPECT_TRUE(linked.has_value()) << linked.error().message;
    handle_ = ::dlopen(path.c_str(), RTLD_NOW);
    EXPECT_NE(handle_, nullptr) << ::dlerror();
    ::unlink(path.c_str());
    run_ = reinterpret_cast<Run*>(::dlsym(handle_, "run"));
  }
  ~VectorLoop() { ::dlclose(handle_); }

  template <typename Out, typename In>
  std::vector<Out> operator()(const std::vector<In>& in) const {
    std::vector<Out> out(in.size());
    run_(in.data(), out.data(), in.size());
    return out;
  }

 private:
  using Run = void(const void*, void*, uint64_t);
  void* handle_ = nullptr;
  Run* run_ = nullptr;
};

std::vector<float> spread_values() {
  std::vector<float> values = {0.0f,       -0.0f,   1.0f,     -1.0f,   INFINITY,
                               -INFINITY,  NAN,     1e-45f,   -1e-45f, 1.17549435e-38f,
                               88.722839f, 88.73f,  -87.336f, -103.9f, -104.1f,
                               128.0f,     -149.0f, -150.0f,  -151.0f, 3.4028235e38f};
  for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += 3001)
    values.push_back(std::bit_cast<float>(static_cast<uint32_t>(bits)));
  for (int step = -200000; step < 200000; ++step) values.push_back(step * 5e-4f);
  values.resize(values.size() / kLanes * kLanes);
  return values;
}

double ulp_error(float got, double expected) {
  float rounded = static_cast<float>(expected);
  if (std::isnan(expected)) return std::isnan(got) ? 0 : 1e9;
  if (std::isinf(rounded) || std::isinf(got)) return got == rounded ? 0 : 1e9;
  int exponent;
  std::frexp(rounded, &exponent);
  double ulp = std::ldexp(1.0, std::max(exponent, -125) - 24);
  return std::abs(got - expected) / ulp;
}

struct Function {
  MathFn fn;
  double (*reference)(double);
  double max_ulp;
};

class MathTest : public testing::TestWithParam<std::tuple<const char*, int>> {};

const Function kFunctions[] = {
    {MathFn::kExp, [](double x) { return std::exp(x); }, 1.5},
    {MathFn::kExp2, [](double x) { return std::exp2(x); }, 1.5},
    {MathFn::kLog, [](double x) { return std::log(x); }, 1.5},
    {MathFn::kLog2, [](double x) { return std::log2(x); }, 2.5},
    {MathFn::kSin, [](double x) { return std::sin(x); }, 1.6},
    {MathFn::kCos, [](double x) { return std::cos(x); }, 1.6},
    {MathFn::kTanh, [](double x) { return std::tanh(x); }, 2.0},
    {MathFn::kErf, [](double x) { return std::erf(x); }, 2.0},
    {MathFn::kSqrt, [](double x) { return std::sqrt(x); }, 0.5001},
    {MathFn::kRsqrt, [](double x) { return 1.0 / std::sqrt(x); }, 1.5},
    {MathFn::kFloor, [](double x) { return std::floor(x); }, 0},
    {MathFn::kCeil, [](double x) { return std::ceil(x); }, 0},
};

TEST_P(MathTest, IsAccurateOverAllOfF32) {
  auto [cpu, index] = GetParam();
  const Function& function = kFunctions[index];
  auto body = [&](llvm::IRBuilder<>& b, llvm::Value* x, const TargetInfo& target) {
    auto* type = llvm::FixedVectorType::get(b.getFloatTy(), kLanes);
    return emit_math(b, function.fn, b.CreateBitCast(x, type), target);
  };
  VectorLoop loop(cpu, 32, 32, body);
  std::vector<float> values = spread_values();
  std::vector<float> results = loop.operator()<float>(values);
  double worst = 0;
  float worst_at = 0;
  for (size_t at = 0; at < values.size(); ++at) {
    double error = ulp_error(results[at], function.reference(values[at]));
    if (error > worst) worst = error, worst_at = values[at];
  }
  RecordProperty("worst_ulp", std::to_string(worst));
  EXPECT_LE(worst, function.max_ulp) << "at " << worst_at;
}

INSTANTIATE_TEST_SUITE_P(Functions, MathTest,
                         testing::Combine(testing::Values("native", "x86-64-v3"),
                                          testing::Range(0, int{std::size(kFunctions)})));

// Value of an fp8 code by definition: sign * mantissa * 2^exponent.
double fp8_value(int code, int mantissa_bits, int bias) {
  int exponent = (code & 0x7f) >> mantissa_bits, mantissa = code & ((1 << mantissa_bits) - 1);
  double magnitude =
      exponent == 0 ? std::ldexp(mantissa, 1 - bias - mantissa_bits)
                    : std::ldexp((1 << mantissa_bits) + mantissa, exponent - bias - mantissa_bits);
  return code & 0x80 ? -magnitude : magnitude;
}

struct Fp8 {
  FloatKind kind;
  int mantissa_bits, bias, max_code;
};
const Fp8 kFp8[] = {{FloatKind::kE4m3fn, 3, 7, 0x7e},
                    {FloatKind::kE4m3fnuz, 3, 8, 0x7f},
                    {FloatKind::kE5m2, 2, 15, 0x7b},
                    {FloatKind::kE5m2fnuz, 2, 16, 0x7f}};

class Fp8Test : public testing::TestWithParam<std::tuple<const char*, int, Rounding>> {};

TEST_P(Fp8Test, RoundsAndSaturates) {
  auto [cpu, index, rounding] = GetParam();
  const Fp8& format = kFp8[index];
  VectorLoop narrow(cpu, 32, 8, [&](llvm::IRBuilder<>& b, llvm::Value* x, const TargetInfo& t) {
    auto* type = llvm::FixedVectorType::get(b.getFloatTy(), kLanes);
    return convert_float(b, b.CreateBitCast(x, type), FloatKind::kF32, format.kind, rounding, t);
  });
  VectorLoop widen(cpu, 8, 32, [&](llvm::IRBuilder<>& b, llvm::Value* x, const TargetInfo& t) {
    return convert_float(b, x, format.kind, FloatKind::kF32, Rounding::kNearestEven, t);
  });
  std::vector<uint8_t> codes(256);
  for (int code = 0; code < 256; ++code) codes[code] = static_cast<uint8_t>(code);
  std::vector<float> widened = widen.operator()<float>(codes);
  for (int code = 0; code <= format.max_code; ++code) {
    EXPECT_EQ(widened[code], fp8_value(code, format.mantissa_bits, format.bias)) << code;
    if (code != 0) {
      EXPECT_EQ(widened[code | 0x80], -widened[code]) << code;
    }
  }
  std::vector<float> values = spread_values();
  std::vector<uint8_t> results = narrow.operator()<uint8_t>(values);
  for (size_t at = 0; at < values.size(); ++at) {
    float value = values[at];
    float back = widened[results[at]];
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(back)) << value;
      continue;
    }
    // The chosen code is at least as near as its neighbours, ties to even; or truncates.
    double magnitude = std::min<double>(std::abs(value), widened[format.max_code]);
    int code = results[at] & 0x7f;
    double here = widened[code];
    ASSERT_EQ(back, std::copysign(back, value)) << value;
    if (rounding == Rounding::kTowardZero) {
      ASSERT_LE(here, magnitude) << value;
      if (code < format.max_code) {
        ASSERT_GT(widened[code + 1], magnitude) << value;
      }
      continue;
    }
    double error = std::abs(here - magnitude);
    for (int other : {code - 1, code + 1}) {
      if (other < 0 || other > format.max_code) continue;
      double other_error = std::abs(widened[other] - magnitude);
      ASSERT_LE(error, other_error) << value;
      if (error == other_error) {
        ASSERT_EQ(code % 2, 0) << value;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Formats, Fp8Test,
    testing::Combine(testing::Values("native", "x86-64-v3"), testing::Range(0, 4),
                     testing::Values(Rounding::kNearestEven, Rounding::kTowardZero)));

uint16_t bf16_reference(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

TEST(ConvertTest, Bf16RoundsToNearestEven) {
  for (const char* cpu : {"native", "x86-64-v3"}) {
    VectorLoop narrow(cpu, 32, 16, [](llvm::IRBuilder<>& b, llvm::Value* x, const TargetInfo& t) {
      auto* type = llvm::FixedVectorType::get(b.getFloatTy(), kLanes);
      return convert_float(b, b.CreateBitCast(x, type), FloatKind::kF32, FloatKind::kBf16,
                           Rounding::kNearestEven, t);
    });
    std::vector<float> values = spread_values();
    std::vector<uint16_t> results = narrow.operator()<uint16_t>(values);
    for (size_t at = 0; at < values.size(); ++at) {
      float back = std::bit_cast<float>(uint32_t{results[at]} << 16);
      if (std::isnan(values[at])) {
        ASSERT_TRUE(std::isnan(back));
      } else {
        ASSERT_EQ(results[at], bf16_reference(values[at])) << values[at];
      }
    }
  }
}

TEST(ConvertTest, F64ToF16RoundsOnce) {
  VectorLoop narrow("native", 64, 16,
                    [](llvm::IRBuilder<>& b, llvm::Value* x, const TargetInfo& t) {
                      auto* type = llvm::FixedVectorType::get(b.getDoubleTy(), kLanes);
                      return convert_float(b, b.CreateBitCast(x, type), FloatKind::kF64,
                                           FloatKind::kF16, Rounding::kNearestEven, t);
                    });
  // Just above, at and just below the middle of 1 and 1 + 2^-10; twice rounding loses the middle.
  double middle = 1.0 + std::ldexp(1.0, -11), bit = std::ldexp(1.0, -40);
  std::vector<double> values(kLanes, 0.0);
  values = {
      middle + bit, middle,   middle - bit, -(middle + bit), 65504.0, 65520.0, 65519.999, 1e300,
      -1e300,       INFINITY, NAN,          5.96e-8,         2.98e-8, 2.99e-8, 0.0,       -0.0};
  std::vector<uint16_t> expected = {0x3c01, 0x3c00, 0x3c00, 0xbc01, 0x7bff, 0x7c00, 0x7bff, 0x7c00,
                                    0xfc00, 0x7c00, 0x7e00, 0x0001, 0x0000, 0x0001, 0x0000, 0x8000};
  EXPECT_EQ(narrow.operator()<uint16_t>(values), expected);
}

}  // namespace
}  // namespace nereid
