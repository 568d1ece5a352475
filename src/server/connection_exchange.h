// The Exchange of a connection: answers written as HTTP/1.1 over its link.
#pragma once

#include <optional>
#include <string>

#include "src/server/connection.h"
#include "src/server/response_head.h"

namespace nereid::server {

struct ExchangeSetup {
  Link& link;
  ConnectionShared& shared;
  const RequestParser* parser = nullptr;  // null: the request could not be read
  std::string path_argument = {};
  std::string_view route_path = {};  // for metrics; empty: none matched
  bool keep_alive = false;           // as far as the request goes
  Link::Clock::time_point started;
};

class ConnectionExchange : public Exchange {
 public:
  explicit ConnectionExchange(ExchangeSetup setup);
  ~ConnectionExchange() override;

  std::string_view method() const override;
  std::string_view path() const override;
  std::string_view query() const override;
  const std::string& path_argument() const override { return setup_.path_argument; }
  std::string_view header(std::string_view name) const override;
  const std::string& body() const override;
  const std::string& request_id() const override { return request_id_; }
  boost::asio::any_io_executor executor() const override { return setup_.link.executor(); }
  Awaitable<bool> respond(int status, std::string_view content_type, std::string body,
                          Headers headers) override;
  void begin_events(Headers headers) override;
  void add_event(std::string_view data, std::string_view name) override;
  Awaitable<bool> flush_events() override;
  Awaitable<bool> end_events() override;
  bool client_gone() const override { return setup_.link.gone(); }
  void on_client_gone(std::function<void()> callback) override {
    setup_.link.on_gone(std::move(callback));
  }

  bool answered() const { return phase_ != Phase::kNothing; }
  // The answer is whole and the connection can take another request.
  bool can_go_on() const;

 private:
  enum class Phase : uint8_t { kNothing, kEvents, kDone };

  ResponseHead head(int status, std::string_view content_type, const Headers& headers) const;
  Awaitable<bool> send(std::string bytes);
  // What is buffered, framed; with the end of the answer.
  std::string take_chunk(bool last);
  void log() const;

  ExchangeSetup setup_;
  std::string request_id_, allow_origin_;
  bool http_1_0_ = false, head_only_ = false, keep_alive_ = false;
  Phase phase_ = Phase::kNothing;
  std::string head_text_;  // of events, until the first flush
  std::string events_;     // buffered
  int status_ = 0;
  uint64_t bytes_sent_ = 0;
  bool sent_ = true;  // no write has failed
};

}  // namespace nereid::server
