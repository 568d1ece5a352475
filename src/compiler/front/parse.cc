// Parsing of TTIR text, with guards against input that would exhaust the parser's stack.
#include "mlir/Parser/Parser.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

#include "src/compiler/dialect/tt.h"
#include "src/compiler/front/diagnostics.h"
#include "src/compiler/front/front.h"

namespace nereid {
namespace {

constexpr int kMaxNesting = 400;  // real kernels stay far below 50
constexpr size_t kMaxTextBytes = 256 << 20;

// Line of the first place nested deeper than kMaxNesting, or 0. Strings and comments are skipped.
int find_too_deep(std::string_view text) {
  int depth = 0, line = 1;
  for (size_t at = 0; at < text.size(); ++at) {
    char c = text[at];
    if (c == '\n') ++line;
    if (c == '"') {
      for (++at; at < text.size() && text[at] != '"' && text[at] != '\n'; ++at)
        if (text[at] == '\\') ++at;
    } else if (c == '/' && at + 1 < text.size() && text[at + 1] == '/') {
      while (at + 1 < text.size() && text[at + 1] != '\n') ++at;
    } else if (c == '-' && at + 1 < text.size() && text[at + 1] == '>') {
      ++at;  // an arrow, not a bracket
    } else if (c == '(' || c == '[' || c == '{' || c == '<') {
      if (++depth > kMaxNesting) return line;
    } else if ((c == ')' || c == ']' || c == '}' || c == '>') && depth > 0) {
      --depth;
    }
  }
  return 0;
}

}  // namespace

void prepare_context(mlir::MLIRContext& context) {
  context.disableMultithreading();
  context.loadDialect<mlir::triton::TritonDialect, mlir::triton::gpu::TritonGpuDialect,
                      mlir::LLVM::LLVMDialect>();
}

Result<mlir::OwningOpRef<mlir::ModuleOp>> parse_ttir(mlir::MLIRContext& context,
                                                     std::string_view text, std::string_view name) {
  if (text.size() > kMaxTextBytes)
    return error("{}: found {} bytes of text, expected at most {}", name, text.size(),
                 kMaxTextBytes);
  if (text.find('\0') != std::string_view::npos)
    return error("{}: found a zero byte, expected TTIR text", name);
  if (int line = find_too_deep(text))
    return error("{}:{}: nested deeper than {} brackets", name, line, kMaxNesting);
  DiagnosticCollector diagnostics(&context);
  mlir::ParserConfig config(&context, /*verifyAfterParse=*/true);
  auto module = mlir::parseSourceString<mlir::ModuleOp>(
      llvm::StringRef(text.data(), text.size()), config, llvm::StringRef(name.data(), name.size()));
  if (!module)
    return error("{}", diagnostics.first_error(fmt::format("{}: not a TTIR module", name)));
  return module;
}

}  // namespace nereid
