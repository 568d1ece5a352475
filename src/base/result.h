// Result<T>: the way failures of the outside world (files, flags, network, input) travel.
//
// Design goals:
//   - every message names the file or field, what was found and what was expected;
//   - context is added on the way up, outermost first: "model.gguf: tensor 'x': ...".
// Non-goals:
//   - reporting bugs: those are NEREID_CHECK (check.h).
#pragma once

#include <fmt/format.h>
#include <expected>
#include <string>
#include <utility>

namespace nereid {

struct Error {
  std::string message;  // one line, no trailing newline
};

template <typename T>
using Result = std::expected<T, Error>;
using Status = std::expected<void, Error>;

// error("{}: found {}, expected {}", name, found, expected)
template <typename... Args>
std::unexpected<Error> error(fmt::format_string<Args...> format, Args&&... args) {
  return std::unexpected(Error{fmt::format(format, std::forward<Args>(args)...)});
}

// Puts "context: " before the message.
inline std::unexpected<Error> with_context(Error inner, std::string_view context) {
  return std::unexpected(Error{fmt::format("{}: {}", context, inner.message)});
}

}  // namespace nereid

#define NEREID_CONCAT_INNER(a, b) a##b
#define NEREID_CONCAT(a, b) NEREID_CONCAT_INNER(a, b)

// NEREID_TRY(auto x, expr): x = value of expr, or return its error from this function.
#define NEREID_TRY(decl, expr) NEREID_TRY_IMPL(NEREID_CONCAT(nereid_try_, __COUNTER__), decl, expr)
#define NEREID_TRY_IMPL(tmp, decl, expr)                          \
  auto tmp = (expr);                                              \
  if (!tmp) return std::unexpected(::nereid::Error{tmp.error()}); \
  decl = std::move(*tmp)

// NEREID_RETURN_IF_ERROR(expr): for Status.
#define NEREID_RETURN_IF_ERROR(expr)                                                    \
  do {                                                                                  \
    auto nereid_status = (expr);                                                        \
    if (!nereid_status) return std::unexpected(::nereid::Error{nereid_status.error()}); \
  } while (0)

// NEREID_TRY_CONTEXT(auto x, expr, "model.gguf"): the same with context put before the message.
#define NEREID_TRY_CONTEXT(decl, expr, context) \
  NEREID_TRY_CONTEXT_IMPL(NEREID_CONCAT(nereid_try_, __COUNTER__), decl, expr, context)
#define NEREID_TRY_CONTEXT_IMPL(tmp, decl, expr, context)        \
  auto tmp = (expr);                                             \
  if (!tmp) return ::nereid::with_context(tmp.error(), context); \
  decl = std::move(*tmp)
