#pragma once
// RequestReader: bytes of one connection -> HTTP/1.1 requests, or the status with which to refuse them.
// Sans-I/O: no sockets and no clock. Beast parses; a strict pass over each head goes first and refuses what
// smuggling lives on: both or several lengths, folded lines, bare CR or LF, blanks before a colon, control
// bytes, a missing or second Host. Thread: one owner. Invariants: memory is bounded by Limits; after an error
// nothing more is read; the body is only read when asked.

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "coordinator/http/http_message.h"
#include "coordinator/limits.h"

namespace leadline::coordinator {

struct ReadFailure {
  int status = 400;
  std::string message;
};

enum class ReadState {
  idle,       // between requests, nothing received
  head,       // part of a head was received
  head_done,  // request() has method, path, headers; call read_body() to go on
  body,
  complete,  // request() is whole; call next() to go on
  failed,    // failure(); the connection can only be answered and closed
};

class RequestReader {
 public:
  explicit RequestReader(const Limits& limits);
  ~RequestReader();

  // Takes bytes and goes as far as it can. Bytes beyond the present request wait inside (at most one head's
  // worth: see wants_bytes).
  ReadState feed(std::string_view bytes);
  ReadState read_body();  // REQUIRES: head_done
  ReadState next();       // REQUIRES: complete; begins the next request with the bytes that wait
  ReadState state() const { return state_; }

  // False while enough bytes of later, pipelined requests wait: reading on would only buffer.
  bool wants_bytes() const;
  std::size_t buffered_bytes() const { return buffer_.size() - consumed_; }

  HttpRequest& request() { return request_; }
  const ReadFailure& failure() const { return failure_; }
  bool expects_continue() const { return expects_continue_; }
  std::optional<std::uint64_t> content_length() const;

 private:
  struct Parser;
  ReadState advance();
  ReadState advance_head();
  ReadState advance_body();
  ReadState take_head(std::size_t head_size);
  ReadState refuse(int status, std::string message);
  std::optional<ReadFailure> read_target(std::string target);

  // constant after construction
  const Limits& limits_;
  // owned by the connection
  std::unique_ptr<Parser> parser_;
  std::string buffer_;
  std::size_t consumed_ = 0;  // of buffer_
  std::size_t scanned_ = 0;   // of buffer_: no end of head before it
  HttpRequest request_;
  ReadFailure failure_;
  ReadState state_ = ReadState::idle;
  bool expects_continue_ = false;
};

}  // namespace leadline::coordinator
