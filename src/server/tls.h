// The server's certificate and what of TLS it speaks: 1.2 and newer.
#pragma once

#include <boost/asio/ssl/context.hpp>
#include <memory>
#include <string>

#include "src/base/result.h"

namespace nereid::server {

// PEM files: the certificate with its chain, and its key. Null when both names are empty. Errors:
// one of the two only, files that cannot be read, a key of another certificate.
Result<std::unique_ptr<boost::asio::ssl::context>> make_tls_context(const std::string& cert_path,
                                                                    const std::string& key_path);

}  // namespace nereid::server
