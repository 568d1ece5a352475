// GET /: the chat page, under a policy that lets exactly its own script and style run.
#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <array>

#include "src/base/check.h"
#include "src/server/context.h"
#include "src/server/embedded.h"
#include "src/server/routes/handlers.h"

namespace nereid::server {
namespace {

// 'sha256-...' of what is between <tag> and </tag>, as Content-Security-Policy names it.
std::string policy_hash(std::string_view html, std::string_view tag) {
  const std::string open = fmt::format("<{}>", tag), close = fmt::format("</{}>", tag);
  const size_t start = html.find(open), end = html.find(close);
  NEREID_CHECK(start != std::string_view::npos && end != std::string_view::npos, "no {}", tag);
  const std::string_view text = html.substr(start + open.size(), end - start - open.size());
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  std::array<unsigned char, 64> base64{};
  const int size = EVP_EncodeBlock(base64.data(), digest.data(), digest.size());
  return fmt::format("'sha256-{}'", std::string_view(reinterpret_cast<const char*>(base64.data()),
                                                     static_cast<size_t>(size)));
}

const std::string& page_policy() {
  static const std::string policy = fmt::format(
      "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; img-src data:; "
      "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
      policy_hash(embedded::page_html, "script"), policy_hash(embedded::page_html, "style"));
  return policy;
}

}  // namespace

Awaitable<> handle_page(Exchange& exchange, ServerContext& context) {
  if (!context.options.chat_page) {
    co_await exchange.respond_error(404, {.message = "this server has no chat page"});
    co_return;
  }
  co_await exchange.respond(200, "text/html; charset=utf-8", std::string(embedded::page_html),
                            {{"Content-Security-Policy", page_policy()}});
}

}  // namespace nereid::server
