// See token_bytes.h.
#include "src/server/openai/token_bytes.h"

#include <fmt/format.h>

#include <array>
#include <optional>
#include <string_view>

#include "src/server/openai/json_text.h"

namespace nereid::openai {
namespace {

constexpr int kAlphabet = 0x144;  // code points of GPT-2's alphabet lie below

// GPT-2's alphabet: printable Latin-1 bytes stand for themselves, the others for U+0100 and up.
std::array<int, kAlphabet> bytes_of_characters() {
  std::array<int, kAlphabet> bytes{};
  bytes.fill(-1);
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
    bytes[printable ? byte : next++] = byte;
  }
  return bytes;
}

int code_point(std::string_view text, size_t at, size_t length) {
  const auto byte = [&](size_t index) { return static_cast<unsigned char>(text[index]); };
  if (length == 1) return byte(at);
  int value = byte(at) & (0xff >> (length + 1));
  for (size_t index = at + 1; index < at + length; ++index) {
    value = value << 6 | (byte(index) & 0x3f);
  }
  return value;
}

// Nothing where a character is not of the alphabet: an added token, written as it is.
std::optional<std::string> from_alphabet(std::string_view text) {
  static const std::array<int, kAlphabet> kBytes = bytes_of_characters();
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t length = utf8_length(text, at);
    const int point = length == 0 ? kAlphabet : code_point(text, at, length);
    if (point >= kAlphabet || kBytes[point] < 0) return std::nullopt;
    out += static_cast<char>(kBytes[point]);
    at += length;
  }
  return out;
}

// SentencePiece: "<0x0A>" is a byte, U+2581 a space.
std::string from_piece(std::string_view text) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; };
  if (text.size() == 6 && text.starts_with("<0x") && text.ends_with('>')) {
    return std::string(1, static_cast<char>(digit(text[3]) * 16 + digit(text[4])));
  }
  constexpr std::string_view kSpace = "\u2581";
  std::string out;
  for (size_t at = 0; at < text.size();) {
    if (text.substr(at).starts_with(kSpace)) {
      out += ' ';
      at += kSpace.size();
    } else {
      out += text[at++];
    }
  }
  return out;
}

}  // namespace

TokenBytes::TokenBytes(std::shared_ptr<const text::Tokenizer> tokenizer)
    : tokenizer_(std::move(tokenizer)),
      byte_level_(tokenizer_->token_to_id("\u0120") >= 0 && tokenizer_->token_to_id("\u2581") < 0) {
}

std::string TokenBytes::of(int32_t id) const {
  std::string text = tokenizer_->id_to_token(id);
  if (tokenizer_->is_special(id)) return text;
  if (!byte_level_) return from_piece(text);
  if (auto bytes = from_alphabet(text)) return std::move(*bytes);
  return text;
}

std::string token_name(const std::string& bytes) {
  if (is_utf8(bytes)) return bytes;
  std::string name = "bytes:";
  for (const char byte : bytes) name += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
  return name;
}

}  // namespace nereid::openai
