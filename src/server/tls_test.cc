// TLS over the loopback, with a certificate made on the spot.
#include "src/server/tls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <tuple>

#include "src/server/testing/test_server.h"

namespace nereid::server {
namespace {

namespace asio = boost::asio;
using testing::HasSubstr;

// A key and a certificate for it, in files that go with it.
class Certificate {
 public:
  Certificate() {
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* certificate = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME* name = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>("localhost"), -1, -1, 0);
    X509_set_issuer_name(certificate, name);
    X509_sign(certificate, key, EVP_sha256());
    write(cert_path, [&](std::FILE* file) { PEM_write_X509(file, certificate); });
    write(key_path, [&](std::FILE* file) {
      PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
    });
    X509_free(certificate);
    EVP_PKEY_free(key);
  }
  ~Certificate() {
    std::filesystem::remove(cert_path);
    std::filesystem::remove(key_path);
  }

  std::string cert_path = temporary("cert"), key_path = temporary("key");

 private:
  static std::string temporary(const char* what) {
    static int count = 0;
    return testing::TempDir() + fmt::format("nereid-{}-{}-{}.pem", what, getpid(), count++);
  }
  template <typename Write>
  static void write(const std::string& path, Write content) {
    std::FILE* file = std::fopen(path.c_str(), "w");
    content(file);
    std::fclose(file);
  }
};

// One request over TLS of these versions; empty: no handshake.
std::string get_over_tls(uint16_t port, const std::string& request, int min_version,
                         int max_version) {
  asio::io_context io;
  asio::ssl::context context(asio::ssl::context::tls_client);
  SSL_CTX_set_min_proto_version(context.native_handle(), min_version);
  SSL_CTX_set_max_proto_version(context.native_handle(), max_version);
  SSL_CTX_set_security_level(context.native_handle(), 0);  // so that it is the server who refuses
  asio::ssl::stream<asio::ip::tcp::socket> stream(io, context);
  stream.next_layer().connect({asio::ip::address_v4::loopback(), port});
  boost::system::error_code failure;
  std::ignore = stream.handshake(asio::ssl::stream_base::client, failure);
  if (failure) return "";
  asio::write(stream, asio::buffer(request), failure);
  std::string answer;
  asio::read(stream, asio::dynamic_buffer(answer), failure);  // until the server closes
  return answer;
}

TEST(Tls, ServesBothVersions) {
  const Certificate certificate;
  TestServer server({.server = {.tls_cert = certificate.cert_path, .tls_key = certificate.key_path},
                     .routes = test_routes()});
  EXPECT_THAT(server.server().url(), testing::StartsWith("https://"));
  const std::string request = post_request("/echo", R"({"x":1})", "Connection: close\r\n");
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    const std::string answer = get_over_tls(server.port(), request, version, version);
    EXPECT_THAT(answer, HasSubstr("200 OK"));
    EXPECT_THAT(answer, testing::EndsWith(R"({"x":1})"));
  }
  const std::string stream =
      get_over_tls(server.port(), post_request("/generate", "abc", "Connection: close\r\n"),
                   TLS1_3_VERSION, TLS1_3_VERSION);
  EXPECT_THAT(stream, testing::EndsWith("0\r\n\r\n"));
  EXPECT_EQ(get_over_tls(server.port(), request, TLS1_VERSION, TLS1_1_VERSION), "");
  EXPECT_TRUE(server.wait_connections(0));
}

TEST(Tls, EndsWhatIsNoTls) {
  const Certificate certificate;
  TestServer server({.server = {.read_timeout = std::chrono::milliseconds(100),
                                .tls_cert = certificate.cert_path,
                                .tls_key = certificate.key_path}});
  TestClient plain = server.connect(), silent = server.connect();
  plain.send(get_request("/health"));
  EXPECT_THAT(plain.read_to_end(), testing::Not(HasSubstr("HTTP/1.1 200")));
  EXPECT_EQ(silent.read_to_end(), "");
  EXPECT_TRUE(server.wait_connections(0));
}

TEST(Tls, CancelsWhenTheClientGoes) {
  const Certificate certificate;
  TestServer server({.server = {.tls_cert = certificate.cert_path, .tls_key = certificate.key_path},
                     .engine = {.step = std::chrono::milliseconds(20)},
                     .routes = test_routes()});
  asio::io_context io;
  asio::ssl::context context(asio::ssl::context::tls_client);
  {
    asio::ssl::stream<asio::ip::tcp::socket> stream(io, context);
    stream.next_layer().connect({asio::ip::address_v4::loopback(), server.port()});
    stream.handshake(asio::ssl::stream_base::client);
    asio::write(stream, asio::buffer(post_request("/generate", "abc")));
    std::string answer;
    asio::read_until(stream, asio::dynamic_buffer(answer), "data: a\n\n");
  }
  EXPECT_TRUE(server.engine().wait_cancelled(1, std::chrono::milliseconds(1000)));
  EXPECT_TRUE(server.wait_connections(0));
}

TEST(Tls, SaysWhatIsWrongWithFiles) {
  const Certificate one, other;
  const auto message = [](const std::string& cert, const std::string& key) {
    const auto context = make_tls_context(cert, key);
    return context ? std::string("none") : context.error().message;
  };
  EXPECT_EQ(message("", ""), "none");
  EXPECT_THAT(message(one.cert_path, ""), HasSubstr("--tls-key"));
  EXPECT_THAT(message("/no/such.pem", one.key_path), HasSubstr("/no/such.pem"));
  EXPECT_THAT(message(one.cert_path, one.cert_path), HasSubstr(one.cert_path));
  EXPECT_THAT(message(one.cert_path, other.key_path), HasSubstr(other.key_path));
}

}  // namespace
}  // namespace nereid::server
