// See tls.h.
#include "src/server/tls.h"

#include <openssl/ssl.h>

#include <tuple>

namespace nereid::server {
namespace {

namespace ssl = boost::asio::ssl;

constexpr unsigned char kHttp1[] = "\x08http/1.1";

// Clients that offer protocols (ALPN) get HTTP/1.1; those that do not offer it go on without.
int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_size,
                    const unsigned char* offered, unsigned int offered_size, void*) {
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_size, kHttp1, sizeof(kHttp1) - 1, offered, offered_size) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_NOACK;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

}  // namespace

Result<std::unique_ptr<ssl::context>> make_tls_context(const std::string& cert_path,
                                                       const std::string& key_path) {
  if (cert_path.empty() && key_path.empty()) return nullptr;
  if (cert_path.empty() || key_path.empty()) {
    return error("TLS needs both a certificate and its key (--tls-cert, --tls-key)");
  }
  auto context = std::make_unique<ssl::context>(ssl::context::tls_server);
  boost::system::error_code failure;
  context->set_options(ssl::context::default_workarounds | ssl::context::no_sslv2 |
                       ssl::context::no_sslv3 | ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1 |
                       SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
  SSL_CTX_set_mode(context->native_handle(), SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_alpn_select_cb(context->native_handle(), choose_protocol, nullptr);
  // A key with a passphrase is an error rather than a question on the terminal.
  context->set_password_callback([](size_t, ssl::context::password_purpose) { return ""; });
  std::ignore = context->use_certificate_chain_file(cert_path, failure);
  if (failure) {
    return error("{}: not a PEM file with a certificate: {}", cert_path, failure.message());
  }
  std::ignore = context->use_private_key_file(key_path, ssl::context::pem, failure);
  if (failure) {
    return error("{}: not a PEM file with the key of {}: {}", key_path, cert_path,
                 failure.message());
  }
  return context;
}

}  // namespace nereid::server
